r"""Grades answers by `grade(text, gold)`.

    >>> grade(r"So it is $\boxed{033}$.", "33", kind="integer").correct
    True

The text is the part after the thinking, and its answer is the last box. There are three kinds of grading: `integer` (AIME, GSM8K)
and `letter` (choices) need no package; `math` is for all others and needs the extra `eval`. The text is not trusted and is never
evaluated as code. A comparison that exceeds its limits of processor time or memory is undecided; other load on the machine has no effect.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache
from typing import get_args

from msgspec import Struct, structs

from speculative.answers import WINDOW, extract_answer, find_phrase, last_box, normalize_answer, normalize_latex, strip_spaces
from speculative.errors import UnknownNameError, UsageError
from speculative.evaluate.grading.choices import Kind, box_aime, box_gsm8k, find_choice, letter, shuffle_options
from speculative.evaluate.grading.compare import OPEN, Mathematics, leaves, mismatch_reason
from speculative.evaluate.grading.forms import NO_HINTS, Based, Equation, Form, Math, Number, QuestionHints, Rounded, balanced, read
from speculative.evaluate.grading.question import read_hints
from speculative.evaluate.grading.sandbox import CheckReply, GradingTimeoutError, checker, require
from speculative.evaluate.grading.spelled import merge_spelled
from speculative.evaluate.grading.units import is_scale, stem

__all__ = [
    "GOLD_ADVICE",
    "Kind",
    "Verdict",
    "box_aime",
    "box_gsm8k",
    "check_gold",
    "close",
    "grade",
    "grade_async",
    "shuffle_options",
    "vote_key",
]

_VAGUE = re.compile(r"[%$]|\\text|[0-9)] ?_|[0-9]\.[0-9]|\\pm|\\mp|\\approx")
"""Matches texts that math-verify reads inexactly: it drops units and bases, and rounds decimals."""
_CLOSED_INFINITY = re.compile(r"\[\s*[-+]?\\infty|\\infty\s*(?:\\right)?\s*\]")
"""An end of an interval at infinity that is written as if it belonged to it. math-verify reads it as an open one."""
_CHOICE_GOLD = re.compile(r"\\text\{ ?\(?([A-Z])\)? ?\}|\(([A-Z])\)|([A-Z])")

GOLD_ADVICE = "correct the data, or choose another kind of grading"

_GOLD = QuestionHints(percent=True, trusted=True)
"""The hints by which a gold answer that is a whole number is read."""


class Verdict(Struct, frozen=True):
    """The result of a grade.

    Attributes:
        correct: True if the answer is right.
        answer: the answer as it was written, or None without one.
        why: the reason.
        undecided: True if the comparison exceeded its limits, so that the answer may be right or wrong.
    """

    correct: bool
    answer: str | None
    why: str
    undecided: bool = False


def grade(text: str, gold: str, kind: Kind = "math", *, question: str = "", tolerance: float = 0) -> Verdict:
    """Grades a text.

    It may be called from any thread; comparisons run one after the other.

    Args:
        text: the text after the thinking. No content of it raises an error.
        gold: the reference answer.
        kind: the kind of grading.
        question: the question, which settles percents and number bases. Without it 50% is one half, and 52 is not 52 in base 8.
        tolerance: the allowed relative difference of a rounded decimal (`math` only).

    Raises:
        UsageError: math-verify is missing, for `math`.
    """
    _check_kind(kind)
    if kind == "math":
        require()
    answer = _located(text, kind)
    if answer is None:
        return Verdict(False, None, "no box and no final answer")
    if not answer:
        return Verdict(False, answer, "the box is empty")
    if len(answer) > WINDOW and kind != "letter":
        return Verdict(False, answer, f"too long for an answer: {len(answer)} characters, more than {WINDOW}")
    try:
        why = _compared(answer, gold, kind, read_hints(question), tolerance)
    except GradingTimeoutError as late:
        return Verdict(False, answer, str(late), undecided=True)
    except (RecursionError, ValueError):  # nested too deeply, or half a character
        why = "cannot be read"
    return Verdict(not why, answer, why or "equal to the gold answer")


def _located(text: str, kind: Kind) -> str | None:
    """Returns the answer of a text.

    If the last box holds no choice, an explicit answer after it counts; without a box, a choice that another sentence names.
    """
    answer = extract_answer(text)
    if kind != "letter" or (answer is not None and letter(answer)):
        return answer
    box, opened = last_box(text)
    later = find_phrase(text[box.end :]) if box else None if opened else find_choice(text)
    return later if later and letter(later) else answer


def _compared(answer: str, gold: str, kind: Kind, hints: QuestionHints, tolerance: float) -> str:
    """Returns an empty text for a right answer, else the reason.

    Raises `GradingTimeoutError` if it is undecided, and `ValueError`.
    """
    if kind == "letter":
        return _letter(answer, gold)
    if kind == "integer":
        return _integer(answer, gold, hints)
    try:
        return _mathematics(answer, gold, hints, tolerance)
    except GradingTimeoutError:
        return _mathematics(answer, gold, hints, tolerance)


async def grade_async(text: str, gold: str, kind: Kind = "math", *, question: str = "", tolerance: float = 0) -> Verdict:
    """Grades in a thread, as `grade` does, without blocking the event loop."""
    return await asyncio.to_thread(grade, text, gold, kind, question=question, tolerance=tolerance)


def check_gold(gold: str, kind: Kind = "math") -> None:
    """Raises `UsageError` for an unreadable gold answer.

    All are checked before a run starts.
    """
    _check_kind(kind)
    bad = UsageError(f"the gold answer {gold!r} cannot be read as {kind}; {GOLD_ADVICE}")
    if kind == "letter":
        if letter(gold) is None:
            raise bad
        return
    if kind == "integer":
        if _whole(gold, _GOLD) is None:
            raise bad
        return
    require()
    plain = normalize_latex(gold.encode(errors="replace").decode())
    if not re.search(r"[A-Za-z0-9\\]", plain) or len(gold) > WINDOW:
        raise bad
    if _CHOICE_GOLD.fullmatch(plain):
        return
    try:
        parts = leaves(read(plain, True, _GOLD))
    except (RecursionError, ValueError):
        raise bad from None
    if any(_is_broken(part.latex) for part in parts):
        raise bad
    parts = [part for part in parts if not part.opaque]
    if parts:
        with checker.session() as ask:
            try:
                good = all(ask("parses", part.latex).yes for part in parts)
            except GradingTimeoutError:
                good = False
        if not good:
            raise bad


def vote_key(answer: str | None, kind: Kind = "math", question: str = "") -> str | None:
    """Returns the spelling by which a majority vote counts an answer.

    It is 33 for 033, 5 for 5 m and B for `(b)`; else `normalize_answer`.

    None stands for no answer, such as an empty box.
    """
    if answer is None:
        return None
    if kind == "letter":
        return letter(answer)
    hints = read_hints(question)
    try:
        if len(answer) > WINDOW:
            return normalize_answer(answer) or None
        if kind == "integer" and (whole := _whole(answer, hints)) is not None:
            return str(whole)
        form = read(merge_spelled(normalize_latex(answer)), True, hints)
    except (RecursionError, ValueError):
        form = None
    if isinstance(form, Based) and form.base == hints.base:
        return form.digits
    return str(form.value) if isinstance(form, Number) else normalize_answer(answer) or None


def close() -> None:
    """Ends the grading process. The exit of the interpreter ends it too."""
    checker.close()


def _check_kind(kind: str) -> None:
    if kind not in get_args(Kind):
        raise UnknownNameError("kind of grading", kind, list(get_args(Kind)))


def _is_broken(latex: str) -> bool:
    return not latex.strip() or not balanced(re.sub(r"\\[{}]", "", latex))


def _letter(answer: str, gold: str) -> str:
    chosen, right = letter(answer), letter(gold)
    if chosen is None or right is None:
        return "no single letter"
    return "" if chosen == right else f"{chosen} for {right}"


def _whole(text: str, hints: QuestionHints = NO_HINTS) -> int | None:
    """Returns the integer of a text in any spelling (033, 1,000), or None."""
    form = read(merge_spelled(normalize_latex(text)), True, hints)
    value = form.value if isinstance(form, Equation) else form
    if isinstance(form, Equation) and (form.unsolved or Math(r"\pi") in form.others):
        return None  # 2x = 42 states no value, and pi is no name
    if isinstance(form, Equation) and any(isinstance(other, Number) and other != value for other in form.others):
        return None  # 43 = 42 is neither
    if isinstance(value, Rounded):
        return None
    return int(value.value) if isinstance(value, Number) and value.value.denominator == 1 else None


def _integer(answer: str, gold: str, hints: QuestionHints) -> str:
    value, right = _whole(answer, structs.replace(_with_words(hints, gold), base=None)), _whole(gold, _GOLD)
    if value is None or right is None:
        return "not an integer"
    return "" if value == right else "not equal"


def _with_words(hints: QuestionHints, gold: str) -> QuestionHints:
    """Adds the words of a gold answer, which are units in an answer too."""
    words = frozenset(stem(word) for word in re.findall("[A-Za-z]{2,}", gold) if not is_scale(word))
    return structs.replace(hints, nouns=hints.nouns | words)


def _readings(text: str, hints: QuestionHints) -> Iterator[Form]:
    """Yields the forms of a text.

    100,200 may be a number or a list, so both are tried.
    """
    yield read(text, True, hints)
    if re.search("[0-9],[0-9]", text):
        yield read(text, False, hints)


def _mathematics(answer: str, gold: str, hints: QuestionHints, tolerance: float) -> str:
    right, plain = normalize_latex(gold), merge_spelled(normalize_latex(answer))
    if choice := _CHOICE_GOLD.fullmatch(right):
        wanted = choice[1] or choice[2] or choice[3]
        bare = re.sub(r"\\text\{|[{} ]", "", plain)
        half = bare in {f"({wanted}", f"{wanted})"}  # a missing bracket is not a spelling of the gold answer
        return "" if letter(answer) == wanted and wanted in bare and not half else f"not the choice {wanted}"
    if strip_spaces(right) == strip_spaces(plain):
        return ""
    pairs: list[tuple[Form, Form]] = []
    for percent in {hints.percent, False}:  # where a percent is asked for, 20% is 20 as well as one fifth
        of_gold = structs.replace(hints, percent=percent, trusted=True)
        of_answer = structs.replace(_with_words(hints, right), percent=percent)
        pairs += [(one, other) for one in _readings(right, of_gold) for other in _readings(plain, of_answer)]
    with ExitStack() as stack:
        # the process starts only if shapes and exact numbers do not decide
        session = cache(lambda: stack.enter_context(checker.session()))

        def ask(*request: str) -> CheckReply:
            return session()(*request)

        mathematics = Mathematics(ask, tolerance, hints.base, hints.point)
        why = min((mismatch_reason(one, other, mathematics) for one, other in pairs), key=bool)
        comparable = not _VAGUE.search(right + plain) and len(_CLOSED_INFINITY.findall(right)) == len(_CLOSED_INFINITY.findall(plain))
        if why in OPEN and comparable and mathematics.same_by_library(right, plain):
            return ""
        return why
