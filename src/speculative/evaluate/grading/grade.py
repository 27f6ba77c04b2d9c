r"""One grader for all doors: `grade(text, gold)` says whether a text's answer is the right one, and why.

    >>> grade(r"So it is $\boxed{033}$.", "33", kind="integer").correct
    True

It is given what stands after the thinking, and nothing else; it knows no markers. The answer is in the last box. Three kinds:
`integer` (AIME, GSM8K) and `letter` (choices) need no package; `math` is for all else and needs the extra `eval`. The
text is a stranger's: it is never evaluated as code, and what is hostile is wrong within five seconds.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache
from typing import get_args

from msgspec import Struct

from speculative.answers import WINDOW, ballot, find_answer, squeeze, tidy
from speculative.errors import UnknownName, UsageError
from speculative.evaluate.grading.choices import Kind, box_aime, box_gsm8k, letter, shuffle_options
from speculative.evaluate.grading.compare import differ, leaves
from speculative.evaluate.grading.forms import Equation, Form, Number
from speculative.evaluate.grading.reader import Asked, base_named, read
from speculative.evaluate.grading.sandbox import Late, checker, require

__all__ = ["Kind", "Verdict", "agrade", "box_aime", "box_gsm8k", "check_gold", "close", "grade", "shuffle_options", "vote_key"]

_PERCENT = re.compile(r"(?:what|which|how many|by|as an?|nearest|in)\s+(?:\w+\s+){0,2}percent(?:age)?\b", re.IGNORECASE)
_BASE = re.compile(r"(?:in|to|the)\s+base[-\s]*\$?\{?([0-9]{1,2}|[a-z]+)", re.IGNORECASE)
_CHOICE_GOLD = re.compile(r"\\text\{ ?\(?([A-Z])\)? ?\}|\(([A-Z])\)|([A-Z])")


class Verdict(Struct, frozen=True):
    """Whether the answer is right, the answer as it was written (None if there is none), and why."""

    correct: bool
    answer: str | None
    why: str


def grade(text: str, gold: str, kind: Kind = "math", *, question: str = "") -> Verdict:
    """Grades `text`, which is all that stands after the thinking. Never raises for what a text or a gold holds.

    With the `question`, a percent sign may be left out or added where percents are asked for, and the base where one base is;
    without it 50% is one half, and 52 is not 52 in base 8. Raises `UsageError` for `math` without math-verify. Blocks for
    at most `grading_process.DEADLINE` seconds, after its turn came and the process is up; may be called from any thread.
    """
    _known(kind)
    if kind == "math":
        require()
    answer = find_answer(text)
    if answer is None:
        return Verdict(False, None, "no box and no final answer")
    if not answer:
        return Verdict(False, answer, "the box is empty")
    try:
        why = {"math": _mathematics, "integer": _integer, "letter": _letter}[kind](answer, gold, question)
    except Late as late:
        why = str(late)
    except (RecursionError, ValueError):  # nested too deeply; half a character
        why = "cannot be read"
    return Verdict(not why, answer, why or "equal to the gold answer")


async def agrade(text: str, gold: str, kind: Kind = "math", *, question: str = "") -> Verdict:
    """`grade` for asynchronous callers: the event loop goes on meanwhile."""
    return await asyncio.to_thread(grade, text, gold, kind, question=question)


def check_gold(gold: str, kind: Kind = "math") -> None:
    """Raises `UsageError` for a gold answer that cannot be graded against: called for all of them before a run starts."""
    _known(kind)
    bad = UsageError(f"the gold answer {gold!r} cannot be read as {kind}; correct the data, or choose another kind of grading")
    if kind == "letter":
        if letter(gold) is None:
            raise bad
        return
    if kind == "integer":
        if _whole(gold) is None:
            raise bad
        return
    require()
    plain = tidy(gold.encode(errors="replace").decode())
    if not re.search(r"[A-Za-z0-9\\]", plain) or len(gold) > WINDOW:
        raise bad
    if _CHOICE_GOLD.fullmatch(plain):
        return
    try:
        parts = leaves(read(plain))
    except (RecursionError, ValueError):
        raise bad from None
    if any(_broken(part.latex) for part in parts):
        raise bad
    parts = [part for part in parts if not part.opaque]
    if parts:
        with checker.sitting() as ask:
            try:
                good = all(ask("parses", part.latex).yes for part in parts)
            except Late:
                good = False
        if not good:
            raise bad


def vote_key(answer: str | None, kind: Kind = "math") -> str | None:
    """What answers are counted by in a majority vote: a cheap common spelling (033 and 33, 5 m and 5; `B` and `(b)`), else the `ballot`.

    None for what is no answer, as an empty box.
    """
    if answer is None:
        return None
    if kind == "letter":
        return letter(answer)
    try:
        if kind == "integer" and (whole := _whole(answer)) is not None:
            return str(whole)
        form = read(tidy(answer))
    except (RecursionError, ValueError):
        form = None
    return str(form.value) if isinstance(form, Number) else ballot(answer) or None


def close() -> None:
    """Ends the grading process, if there is one; the interpreter's exit does so too."""
    checker.close()


def _known(kind: str) -> None:
    if kind not in get_args(Kind):
        raise UnknownName("kind of grading", kind, list(get_args(Kind)))


def _broken(latex: str) -> bool:
    opened, closed = (sum(latex.count(sign) for sign in signs) for signs in ("([{", ")]}"))
    return not latex.strip() or opened != closed


def _letter(answer: str, gold: str, question: str) -> str:
    chosen, right = letter(answer), letter(gold)
    if chosen is None or right is None:
        return "no single letter"
    return "" if chosen == right else f"{chosen} for {right}"


def _whole(text: str) -> int | None:
    """The integer that a text says, whatever its spelling (033, 33.0, 1,000, m+n = 33, 33 apples); None if it says another thing."""
    form = read(tidy(text))
    value = form.value if isinstance(form, Equation) else form
    return int(value.value) if isinstance(value, Number) and value.value.denominator == 1 else None


def _integer(answer: str, gold: str, question: str) -> str:
    value, right = _whole(answer), _whole(gold)
    if value is None or right is None:
        return "not an integer"
    return "" if value == right else "not equal"


def _asked(question: str) -> Asked:
    base = _BASE.findall(question)
    return Asked(bool(_PERCENT.search(question)), base_named(base[-1]) if base else None)


def _readings(text: str, asked: Asked) -> Iterator[Form]:
    """100,200 is a number or a list: both are tried, and both are read where the gold is written so."""
    yield read(text, True, asked)
    if re.search("[0-9],[0-9]", text):
        yield read(text, False, asked)


def _mathematics(answer: str, gold: str, question: str) -> str:
    right, plain = tidy(gold), tidy(answer)
    if choice := _CHOICE_GOLD.fullmatch(right):
        wanted = choice[1] or choice[2] or choice[3]
        bare = re.sub(r"\\text\{|[{} ]", "", plain)
        half = bare in {f"({wanted}", f"{wanted})"}  # a bracket too few is no spelling of a gold answer
        return "" if letter(answer) == wanted and wanted in bare and not half else f"not the choice {wanted}"
    if squeeze(right) == squeeze(plain):
        return ""
    asked = _asked(question)
    pairs = [(one, other) for one in _readings(right, asked) for other in _readings(plain, asked)]
    with ExitStack() as stack:
        # the process is asked, and started, only where shapes and exact numbers leave something open
        sitting = cache(lambda: stack.enter_context(checker.sitting()))

        def ask(one: str, other: str) -> str:
            reply = sitting()("equal", one, other)
            return "" if reply.yes else reply.why

        return min((differ(one, other, ask) for one, other in pairs), key=bool)
