"""The program that compares two LaTeX expressions with math-verify: one JSON line in, one JSON line out.

It is a program of its own, started by `sandbox`: it imports what it needs, once, and forks the process that works,
under a memory limit. Each request brings its limit of processor time, at which the system ends the process, and the next one
is forked. Text is parsed by a grammar only, `math_verify.parse` too: it is never allowed to read plain arithmetic, which it hands to
sympy's `parse_expr`, which evaluates code.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time
from contextlib import suppress
from importlib import import_module
from typing import Any, BinaryIO

# modules without types of their own
sympy: Any = import_module("sympy")
math_verify: Any = import_module("math_verify")
grammar: Any = import_module("latex2sympy2_extended.latex2sympy2")


def tree(latex: str) -> Any:
    """The expression as sympy has it, not evaluated. Raises whatever the grammar raises."""
    # r and R are different; 2(3) is a product
    config = grammar.ConversionConfig(lowercase_symbols=False, interpret_as_mixed_fractions=False)
    return grammar.latex2sympy(latex, is_real=True, normalization_config=None, conversion_config=config)


def flat(node: Any, kind: type) -> list[Any]:
    """The terms of a sum, or the factors of a product, through nested ones."""
    return [leaf for part in node.args for leaf in (flat(part, kind) if isinstance(part, kind) else [part])]


def plain(node: Any) -> bool:
    """Whether it is made of rational numbers alone, by products and whole powers."""
    if isinstance(node, sympy.Pow):
        return plain(node.base) and bool(node.exp.is_Integer)
    return isinstance(node, sympy.Number) or (isinstance(node, sympy.Mul) and all(plain(part) for part in node.args))


def unfinished(expression: Any) -> bool:
    """Whether arithmetic was left undone: 30+3, 3*11, 10+8+2*pi. A denominator and a power of ten are part of a number."""
    for node in sympy.preorder_traversal(expression):
        if isinstance(node, sympy.Add) and sum(plain(term) for term in flat(node, sympy.Add)) > 1:
            return True
        if isinstance(node, sympy.Mul):
            powers = [factor for factor in flat(node, sympy.Mul) if isinstance(factor, sympy.Pow)]
            given = [factor for factor in flat(node, sympy.Mul) if plain(factor) and factor not in powers and abs(factor) != 1]
            given += [power for power in powers if plain(power) and power.exp.is_positive and power.base != 10]
            if len(given) > 1:
                return True
    return False


def constant(node: Any) -> bool:
    """Whether it is a finite number, once worked out."""
    return isinstance(node, sympy.Expr) and bool(node.is_number) and node.is_finite is not False


def coincide(gold: Any, answer: Any) -> bool:
    """Whether two constants agree to fifty places of their own size. (math-verify takes 15 places after the point.)

    Decimals were made fractions before, so a rounded value does not come near.
    """
    difference, size = abs((gold - answer).doit().evalf(60)), abs(gold.doit().evalf(60))
    return bool(difference <= size * sympy.Float("1e-50", 60))


def equal(gold_latex: str, answer_latex: str) -> tuple[bool, str]:
    """Whether the two are the same, and if not, why."""
    gold, answer = tree(gold_latex), tree(answer_latex)
    if not isinstance(gold, sympy.Basic) or not isinstance(answer, sympy.Basic):
        return math_verify.verify(gold, answer, timeout_seconds=None), "not equal"
    if unfinished(answer) and not unfinished(gold):
        return False, "arithmetic left undone"
    imaginary = {symbol: sympy.I for symbol in gold.free_symbols | answer.free_symbols if symbol.name == "i"}
    if imaginary:
        gold, answer = gold.xreplace(imaginary), answer.xreplace(imaginary)
    if isinstance(gold, sympy.Equality) and isinstance(answer, sympy.Equality):
        # the same equation, up to a factor; solving both would call any two without solutions equal
        ratio = sympy.simplify((gold.lhs - gold.rhs) / (answer.lhs - answer.rhs))
        same = bool(ratio.is_number and ratio.is_finite and ratio != 0)
        return same, "not the same equation"
    if isinstance(gold, sympy.Symbol) or isinstance(answer, sympy.Symbol):
        return bool(sympy.simplify(gold - answer) == 0), "not equal"
    if constant(gold) and constant(answer):
        return coincide(gold, answer), "not equal"
    return math_verify.verify(gold, answer, timeout_seconds=None), "not equal"


def close(one_latex: str, other_latex: str, absolute: float, relative: float) -> bool:
    """Whether two constants differ by less than that; what is no constant is not held against anybody."""
    one, other = tree(one_latex), tree(other_latex)
    if not (constant(one) and constant(other)):
        return absolute < 1 and not relative
    difference, size = abs((one - other).doit().evalf(60)), abs(one.doit().evalf(60))
    if relative:
        return bool(difference <= relative * size)
    return bool(difference < absolute) if absolute else coincide(one, other)


def library(gold_latex: str, answer_latex: str) -> bool:
    """Whether math-verify calls two answers equal that it reads by itself; constants are not left to its rounding."""
    config = [math_verify.LatexExtractionConfig()]
    gold, answer = (
        math_verify.parse(f"${latex}$", extraction_config=config, fallback_mode="no_fallback", parsing_timeout=None)
        for latex in (gold_latex, answer_latex)
    )
    if not gold or not answer or (constant(gold[0]) and constant(answer[0])):
        return False
    return bool(math_verify.verify(gold, answer, timeout_seconds=None))


def reply(request: list[str]) -> dict[str, Any]:
    """The answer to `["equal" or "library", gold, answer]`, `["close", one, other, absolute, relative]` or `["parses", latex]`."""
    try:
        match request[0]:
            case "parses":
                return {"yes": tree(request[1]) is not None}
            case "close":
                return {"yes": close(request[1], request[2], float(request[3]), float(request[4]))}
            case "library":
                return {"yes": library(request[1], request[2])}
            case _:
                yes, why = equal(request[1], request[2])
                return {"yes": bool(yes), "why": "" if yes else why}
    except MemoryError:
        return {"yes": False, "undecided": True, "why": "cannot be compared (MemoryError)"}
    except (Exception, RecursionError) as error:  # noqa: BLE001  what cannot be read or compared is not equal
        return {"yes": False, "why": f"cannot be compared ({type(error).__name__})"}


def confine(memory: int) -> None:
    """Limits the address space, and writes no core file."""
    for limit, value in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CORE, 0)):
        with suppress(OSError, ValueError):  # a system that has no such limit
            resource.setrlimit(limit, (value, value))


def serve(out: BinaryIO, ended: str) -> None:
    """Answers line by line until the pipe closes; first it says who it is, and how the one before it ended.

    A line holds the seconds of processor time that the request may take, and the request. At the limit SIGPROF ends the process,
    in the middle of whatever it computes.
    """
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    out.write(json.dumps({"pid": os.getpid(), "ended": ended}).encode() + b"\n")
    out.flush()
    for line in sys.stdin.buffer:
        seconds, *request = json.loads(line)
        begin = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, seconds)
        replied = reply(request)
        signal.setitimer(signal.ITIMER_PROF, 0)
        out.write(json.dumps(replied | {"seconds": time.process_time() - begin}).encode() + b"\n")
        out.flush()


def main(memory: int) -> None:
    """Forks a process that serves, and another one for each that is killed, until one has come to the end of its input."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not get between the replies
    confine(memory)
    # what the first comparison loads and caches (the grammar's tables are half a second of it), each fork then has
    reply(["equal", r"\frac{x+1}{2} - \sqrt{3}\pi", r"\frac{x}{2} + \frac{1}{2} - \sqrt{3}\pi"])
    reply(["library", r"x \in (1,2) \cup (2,3)", r"1 < x < 3, x \ne 2"])
    code, ended = 1, ""
    while code:
        child = os.fork()
        if not child:
            with suppress(OSError):
                serve(out, ended)
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        ended = "time" if code == -signal.SIGPROF else "killed"


if __name__ == "__main__":
    main(int(sys.argv[1]))
