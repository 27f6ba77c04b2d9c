"""Compares two forms of answers.

`Mathematics` asks the grading process about formulas.

If the process finds two answers equal, it overrules the reasons in `OPEN` only.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction

from speculative.answers import strip_spaces
from speculative.evaluate.grading.forms import Bag, Based, Equation, Form, Group, Math, Number, Rounded, Words
from speculative.evaluate.grading.sandbox import CheckReply

DIFFERENT = "not equal"
UNREAD = "not equal, compared as text"
SHAPE = "another kind of answer"
MISSING = "one of the values is missing"
UNSOLVED = "an equation that is left to solve"
OPEN = frozenset({UNREAD, SHAPE, MISSING})
"""Reasons that the process may overrule. Units, brackets, numbers of values, undone arithmetic and words stay different."""


class Mathematics:
    """Compares mathematics in LaTeX.

    `tolerance`: the relative difference that a rounded decimal may have, 0 for none. `base` and `point`: the base, and the names of the
    point, that the question asks for.
    """

    def __init__(self, ask: Callable[..., CheckReply], tolerance: float = 0, base: int | None = None, point: tuple[str, ...] = ()) -> None:
        self._ask = ask
        self.tolerance = tolerance
        self.base = base
        self.point = point

    def equal(self, gold: str, answer: str) -> str:
        """Returns an empty text if the two are equal, else the reason."""
        reply = self._ask("equal", gold, answer)
        return "" if reply.yes else reply.why

    def close(self, one: str, other: str, absolute: float, relative: float = 0) -> bool:
        """Returns True if two constants differ by less than a bound."""
        return self._ask("close", one, other, str(absolute), str(relative)).yes

    def same_by_library(self, gold: str, answer: str) -> bool:
        """Returns True if math-verify, reading both texts by itself, calls them equal."""
        return self._ask("library", gold, answer).yes


def mismatch_reason(gold: Form, answer: Form, mathematics: Mathematics) -> str:
    """Returns an empty text if the two are the same answer, else the reason."""
    if isinstance(gold, Bag) and len(gold.items) == 1 and not isinstance(answer, Bag):
        return mismatch_reason(gold.items[0], answer, mathematics)
    if isinstance(answer, Bag) and len(answer.items) == 1 and not isinstance(gold, Bag):
        return mismatch_reason(gold, answer.items[0], mathematics)
    if isinstance(gold, Equation) or isinstance(answer, Equation):
        return _equations(gold, answer, mathematics)
    if isinstance(gold, Rounded) or isinstance(answer, Rounded):
        return _rounded(gold, answer, mathematics)
    if isinstance(gold, Number | Math) and isinstance(answer, Number | Math):
        return _values(gold, answer, mathematics)
    if _is_point(gold) != _is_point(answer):
        named, points = (answer, gold) if _is_point(gold) else (gold, answer)
        if isinstance(named, Bag) and (found := _points(named, mathematics.point)):
            return mismatch_reason(found, points, mathematics) if named is gold else mismatch_reason(points, found, mathematics)
    if isinstance(gold, Bag) and isinstance(answer, Bag):
        return _bags(_distinct(gold), _distinct(answer), mathematics)
    if isinstance(gold, Group) and isinstance(answer, Group):
        if (gold.left, gold.right, len(gold.items)) != (answer.left, answer.right, len(answer.items)):
            return "other brackets or another length"
        pairs = zip(gold.items, answer.items, strict=True)
        return next((why for one, other in pairs if (why := mismatch_reason(one, other, mathematics))), "")
    if _same_digits(gold, answer, mathematics.base):
        return ""
    if {type(gold), type(answer)} == {Words, Bag} and _is_nothing(gold) and _is_nothing(answer):
        return ""
    if isinstance(gold, Words | Based) and type(gold) is type(answer):
        return "" if gold == answer else "other words" if isinstance(gold, Words) else "other digits or another base"
    if isinstance(gold, Words | Math) and isinstance(answer, Words | Math):
        # a short word without \\text looks like a product of variables
        return "" if _words(gold) == _words(answer) else "words instead of a formula, or vice versa"
    return _shapes(gold, answer)


def _is_point(form: Form) -> bool:
    """Returns True for a point and for several points."""
    if isinstance(form, Bag):
        return bool(form.items) and all(map(_is_point, form.items))
    return isinstance(form, Group) and (form.left, form.right) == ("(", ")")


def _points(named: Bag, asked: tuple[str, ...]) -> Form | None:
    """Returns the point of `x = 3, y = 4`, or the points of several such solutions.

    The order is that of the question's point, that of the alphabet for letters, or that in which they are written.
    """
    items = [item for item in named.items if isinstance(item, Equation) and item.name]
    names = list(dict.fromkeys(item.name for item in items))
    size = len(names)
    if size < 2 or len(items) < len(named.items) or len(items) % size:
        return None
    if set(asked) == set(names):
        names = list(asked)
    elif all(len(name) == 1 for name in names):
        names.sort()
    groups = list[Form]()
    for begin in range(0, len(items), size):
        values = {item.name: item for item in items[begin : begin + size]}
        if len(values) < size:
            return None
        groups.append(Group("(", ")", tuple(values[name] for name in names)))
    return groups[0] if len(groups) == 1 else Bag(tuple(groups))


def _same_digits(gold: Form, answer: Form, base: int | None) -> bool:
    """Returns True for equal digits, where one side leaves out the asked base."""
    plain, based = (answer, gold) if isinstance(gold, Based) else (gold, answer)
    if not isinstance(based, Based) or based.base != base or isinstance(plain, Based):
        return False
    return isinstance(plain, Number | Math) and not plain.unit and latex(plain).upper() == based.digits


def _is_nothing(form: Form) -> bool:
    """Returns True for the empty set and for the words that no solution exists."""
    if isinstance(form, Words):
        return bool(re.fullmatch("no (?:real )?solutions?(?: exists?)?", form.text))
    return form == Bag(())


def _shapes(gold: Form, answer: Form) -> str:
    """Returns the reason why forms of two kinds differ."""
    kinds = {type(gold), type(answer)}
    if Words in kinds:
        return "words instead of a value, or vice versa"
    if Based in kinds:
        return "a number in another base"
    if Group in kinds and kinds & {Bag, Number}:
        return "a point or an interval instead of a list or a number, or vice versa"
    if kinds == {Bag, Number}:
        return "one value instead of several, or vice versa"
    return SHAPE


def _rounded(gold: Form, answer: Form, mathematics: Mathematics) -> str:
    r"""Compares values with their rounding, as `\sqrt{66} \approx 8.12`."""
    if isinstance(gold, Rounded):
        first = mismatch_reason(gold.exact, answer, mathematics)
        return first and mismatch_reason(gold.shown, answer, mathematics) and first
    assert isinstance(answer, Rounded)
    why = mismatch_reason(gold, answer.exact, mathematics)
    if why and mismatch_reason(gold, answer.shown, mathematics):
        return why
    return "" if _agree(answer.exact, answer.shown, 10.0**-answer.digits, mathematics) else "the answer contradicts itself"


def _agree(one: Form, other: Form, absolute: float, mathematics: Mathematics) -> bool:
    """Returns False if both are known numbers that differ by that or more."""
    if isinstance(one, Number) and isinstance(other, Number):
        difference = abs(one.value - other.value)
        return difference < Fraction(absolute) if absolute else not difference
    if (
        isinstance(one, Number | Math)
        and isinstance(other, Number | Math)
        and not any(isinstance(side, Math) and side.opaque for side in (one, other))
    ):
        return mathematics.close(latex(one), latex(other), absolute)
    return True


def _equations(gold: Form, answer: Form, mathematics: Mathematics) -> str:
    """Compares equations: x = 5 equals 5, but not y = 5.

    If only the answer is an equation, its last side counts.
    """
    if not isinstance(gold, Equation):
        assert isinstance(answer, Equation)
        if answer.unsolved and isinstance(gold, Number | Math | Rounded):
            return UNSOLVED
        return mismatch_reason(gold, answer.value, mathematics) or _contradiction(answer, mathematics)
    if not isinstance(answer, Equation):
        if gold.name:
            return mismatch_reason(gold.value, answer, mathematics)
        return "a value for an equation" if isinstance(answer, Number) else SHAPE
    if gold.name and answer.name and _same_name(gold.name, answer.name):
        return mismatch_reason(gold.value, answer.value, mathematics) or _contradiction(answer, mathematics)
    return _values(gold.whole, answer.whole, mathematics)


def _contradiction(answer: Equation, mathematics: Mathematics) -> str:
    """Returns a reason if the sides of an answer differ, as in 43 = 42."""
    value = answer.value.shown if isinstance(answer.value, Rounded) else answer.value
    agree = all(_agree(other, value, 0, mathematics) for other in answer.others)
    return "" if agree or isinstance(answer.value, Rounded) else "the answer contradicts itself"


def _words(form: Words | Math) -> str:
    return form.text if isinstance(form, Words) else form.latex.lower()


def _same_name(gold: str, answer: str) -> bool:
    """Returns True for equal names.

    A function's variable may have another letter, and words equal any name.
    """
    argument = re.compile(r"(?<=[a-zA-Z])\([a-zA-Z]\)$")
    return argument.sub("()", gold) == argument.sub("()", answer) or "text" in gold or "text" in answer


def _values(gold: Number | Math, answer: Number | Math, mathematics: Mathematics) -> str:
    if gold.unit and answer.unit and gold.unit != answer.unit:
        return f"another unit: {answer.unit} for {gold.unit}"
    if isinstance(gold, Number) and isinstance(answer, Number):
        near = mathematics.tolerance and abs(gold.value - answer.value) <= Fraction(mathematics.tolerance) * abs(gold.value)
        return "" if gold.value == answer.value or (near and _is_decimal(gold, answer)) else DIFFERENT
    if isinstance(gold, Math) and isinstance(answer, Math) and strip_spaces(gold.latex) == strip_spaces(answer.latex):
        return ""
    if any(isinstance(side, Math) and side.opaque for side in (gold, answer)):
        return "" if _as_text(gold) == _as_text(answer) else UNREAD
    why = mathematics.equal(latex(gold), latex(answer))
    if why and mathematics.tolerance and _is_decimal(gold, answer):
        return "" if mathematics.close(latex(gold), latex(answer), 0, mathematics.tolerance) else why
    return why


def _is_decimal(*sides: Number | Math) -> bool:
    """Returns True if one side may be a rounded decimal."""
    for side in sides:
        if isinstance(side, Number):
            below = side.value.denominator
            for prime in (2, 5):
                while below % prime == 0:
                    below //= prime
            if below == 1 and side.value.denominator > 1:
                return True
    return False


def _as_text(value: Number | Math) -> str:
    return strip_spaces(" ".join(re.sub(r"\\text\{([^{}]*)\}", r" \1 ", latex(value)).lower().split()))


def latex(value: Number | Math) -> str:
    """Returns LaTeX for the comparison, exact and without unit."""
    if isinstance(value, Math):
        return value.latex
    top, bottom = value.value.as_integer_ratio()
    return str(top) if bottom == 1 else f"{'-' if top < 0 else ''}\\frac{{{abs(top)}}}{{{bottom}}}"


def _distinct(bag: Bag) -> list[Form]:
    """Returns the items of a bag, without repeated points."""
    items: list[Form] = []
    for item in bag.items:
        if not (isinstance(item, Group) and item in items):
            items.append(item)
    return items


def _bags(gold: list[Form], answer: list[Form], mathematics: Mathematics) -> str:
    if len(gold) != len(answer):
        intervals = all(isinstance(item, Group) for item in gold + answer)
        return MISSING if intervals and (len(gold) < 2 or len(answer) < 2) else f"{len(answer)} values where {len(gold)} are right"
    if sum(isinstance(item, Bag) for item in gold) != sum(isinstance(item, Bag) for item in answer):
        return "a set within a set instead of its values, or vice versa"
    for one in gold:
        # a set within a list matches another set only, also where it holds a single value
        alike = (other for other in answer if isinstance(other, Bag) == isinstance(one, Bag))
        found = next((other for other in alike if not mismatch_reason(one, other, mathematics)), None)
        if found is None:
            return MISSING
        answer.remove(found)
    return ""


def leaves(form: Form) -> list[Math]:
    """Returns the parts of a form that are left to the mathematics."""
    if isinstance(form, Math):
        return [form]
    if isinstance(form, Rounded):
        return leaves(form.exact)
    if isinstance(form, Equation):
        return leaves(form.value) if form.name else [form.whole]
    return [leaf for item in form.items for leaf in leaves(item)] if isinstance(form, Group | Bag) else []
