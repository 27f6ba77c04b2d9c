"""Compares two LaTeX expressions with math-verify, in its own program.

`sandbox` starts it. It imports its packages once and forks a working process with a memory limit. Each request has a limit of
processor time; a process that exceeds it is ended and replaced. Text is parsed by a grammar only. `math_verify.parse` must not read
plain arithmetic, since sympy's `parse_expr` would evaluate it as code.
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
    """Parses LaTeX into sympy without evaluation. Raises the errors of the grammar."""
    # r and R are different; 2(3) is a product
    config = grammar.ConversionConfig(lowercase_symbols=False, interpret_as_mixed_fractions=False)
    return grammar.latex2sympy(latex, is_real=True, normalization_config=None, conversion_config=config)


def flat(node: Any, kind: type) -> list[Any]:
    """Returns the terms of a sum or the factors of a product, nested ones included."""
    return [leaf for part in node.args for leaf in (flat(part, kind) if isinstance(part, kind) else [part])]


def plain(node: Any) -> bool:
    """Returns True for products and integer powers of rational numbers."""
    if isinstance(node, sympy.Pow):
        return plain(node.base) and bool(node.exp.is_Integer)
    return isinstance(node, sympy.Number) or (isinstance(node, sympy.Mul) and all(plain(part) for part in node.args))


def unfinished(expression: Any) -> bool:
    """Returns True if arithmetic is left to do: 30+3, 3*11, 10+8+2*pi.

    Denominators and powers of ten do not count.
    """
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
    """Returns True if an expression has a finite numeric value."""
    return isinstance(node, sympy.Expr) and bool(node.is_number) and node.is_finite is not False


def coincide(gold: Any, answer: Any) -> bool:
    """Returns True if two constants agree in fifty significant digits.

    (math-verify compares 15 decimals.)

    Decimals are exact fractions here, so a rounded value differs.
    """
    difference, size = abs((gold - answer).doit().evalf(60)), abs(gold.doit().evalf(60))
    return bool(difference <= size * sympy.Float("1e-50", 60))


def equal(gold_latex: str, answer_latex: str) -> tuple[bool, str]:
    """Returns True if the two are equal, and the reason if not."""
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
    """Returns True if two constants differ by less than that.

    Other expressions pass a comparison of rounded values.
    """
    one, other = tree(one_latex), tree(other_latex)
    if not (constant(one) and constant(other)):
        return absolute < 1 and not relative
    difference, size = abs((one - other).doit().evalf(60)), abs(one.doit().evalf(60))
    if relative:
        return bool(difference <= relative * size)
    return bool(difference < absolute) if absolute else coincide(one, other)


def library(gold_latex: str, answer_latex: str) -> bool:
    """Returns True if math-verify parses two answers itself and finds them equal.

    It does not decide on constants.
    """
    config = [math_verify.LatexExtractionConfig()]
    gold, answer = (
        math_verify.parse(f"${latex}$", extraction_config=config, fallback_mode="no_fallback", parsing_timeout=None)
        for latex in (gold_latex, answer_latex)
    )
    if not gold or not answer or (constant(gold[0]) and constant(answer[0])):
        return False
    return bool(math_verify.verify(gold, answer, timeout_seconds=None))


def reply(request: list[str]) -> dict[str, Any]:
    """Replies to one request.

    Requests are `["equal" or "library", gold, answer]`, `["close", one, other, absolute, relative]` and `["parses",
    latex]`.
    """
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
    except (Exception, RecursionError) as error:  # noqa: BLE001  unreadable expressions are not equal
        return {"yes": False, "why": f"cannot be compared ({type(error).__name__})"}


def confine(memory: int) -> None:
    """Limits the address space, and writes no core file."""
    for limit, value in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CORE, 0)):
        with suppress(OSError, ValueError):  # the system lacks this limit
            resource.setrlimit(limit, (value, value))


def serve(out: BinaryIO, ended: str) -> None:
    """Replies line by line until the pipe closes.

    The first line has the pid, and how the previous process ended.

    A request line holds its limit of processor time in seconds, and the request. At the limit SIGPROF ends the process.
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
    """Forks working processes until one reaches the end of the input."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # the output of libraries must not mix with the replies
    confine(memory)
    # each fork inherits the caches of these first comparisons (the grammar's tables take half a second)
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
