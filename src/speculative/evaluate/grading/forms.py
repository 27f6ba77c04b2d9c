r"""What kinds of answer there are: a number, words, a tuple or interval, a list or set, an equation, other mathematics."""

from __future__ import annotations

from fractions import Fraction
from typing import TypeAlias

from msgspec import Struct


class Number(Struct, frozen=True):
    """An exact number, with its unit if it has one."""

    value: Fraction
    unit: str | None = None


class Based(Struct, frozen=True):
    """Digits in a base that is written beside them: 52_8."""

    digits: str
    base: int


class Words(Struct, frozen=True):
    """Plain words in lower case, without an article in front."""

    text: str


class Math(Struct, frozen=True):
    """LaTeX to be compared as mathematics; an `opaque` one can only be compared as text."""

    latex: str
    unit: str | None = None
    opaque: bool = False


class Group(Struct, frozen=True):
    """Ordered, in brackets: a point, an interval, a matrix (`left` is then "matrix") and its rows."""

    left: str
    right: str
    items: tuple[Form, ...]


class Bag(Struct, frozen=True):
    """Unordered: a list of solutions, a set, a union."""

    items: tuple[Form, ...]


class Equation(Struct, frozen=True):
    """`name` = `value` if the left side is a name ("" otherwise; `value` is then the last side). `whole` is all of it.

    `others`: the sides between the name and the value, which have to agree with it.
    """

    name: str
    value: Form
    whole: Math
    others: tuple[Form, ...] = ()


class Rounded(Struct, frozen=True):
    """An exact value and the decimal that is shown for it, with `digits` after the point: sqrt(66) or 8.12."""

    exact: Form
    shown: Form
    digits: int


Form: TypeAlias = Number | Based | Words | Math | Group | Bag | Equation | Rounded
