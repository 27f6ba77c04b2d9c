"""Chooses colours and symbols of methods for the report's page and for figures.

A mark depends on the method's label alone, so a method looks the same in every picture.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from math import cos, pi, sin

from msgspec import Struct, structs

from speculative.stats.summary import CHANCE, MethodSummary


class Symbol(Struct, frozen=True):
    """A shape, as a path for the page and as matplotlib's name."""

    path: str
    marker: str


class Colour(Struct, frozen=True):
    """A colour on light and on dark paper."""

    light: str
    dark: str


class Mark(Struct, frozen=True):
    """The look of a method. Controls and `random_switch` are hollow."""

    colour: Colour
    symbol: Symbol
    hollow: bool = False


CIRCLE = Symbol("M0-5a5 5 0 1 0 .01 0z", "o")
DIAMOND = Symbol("M0-6.2L6.2 0 0 6.2-6.2 0z", "D")
SYMBOLS = (
    CIRCLE,
    Symbol("M-4.5-4.5h9v9h-9z", "s"),
    DIAMOND,
    Symbol("M0-5.8L5.6 4.4h-11.2z", "^"),
    Symbol("M0 5.8L5.6-4.4h-11.2z", "v"),
    Symbol("M-1.9-5.5h3.8v3.6h3.6v3.8h-3.6v3.6h-3.8v-3.6h-3.6v-3.8h3.6z", "P"),
    Symbol("M-5.4-3.2l2.2-2.2L0-2.2l3.2-3.2 2.2 2.2L2.2 0l3.2 3.2-2.2 2.2L0 2.2l-3.2 3.2-2.2-2.2L-2.2 0z", "X"),
)
COLOURS = (
    Colour("#3a49c9", "#93a2ff"),
    Colour("#b65a00", "#f5a94d"),
    Colour("#00735f", "#4fd1b0"),
    Colour("#a3195b", "#ff85ab"),
    Colour("#7a3fb8", "#c79bff"),
    Colour("#7a6500", "#d9c04f"),
    Colour("#0272a8", "#62c3f5"),
    Colour("#5f4437", "#c9a593"),
)
GREY = Colour("#78828f", "#8b95a5")
"""The colour of `random_switch`, the line to beat."""

OWN = (
    *("big_only", "small_only", "placeholder", "logprob_subselect", "spec_rewrite", "early_exit", "vote"),
    *("likelihood_verify", "lead", "trigger", "takeover", "chunk_gate", "cascade", "lookahead"),
    *("step_verify", "best_step", "whole_draft", "mentor", "cue_switch", "entropy_switch", "stitch", "confidence_route"),
    *("reward_guided", "tilted_best", "advantage", "draft_verify", "budget_forcing"),
    *("offload", "relay", "handoff", "advisor", "guide", "policy", "auto"),
)
"""The built-in methods; each has the colour and the symbol of its place here."""


def mark_of(label: str, method: str) -> Mark:
    """Returns the mark of a label.

    Variants of a method share its colour; their symbol comes from the label.
    """
    if method == CHANCE:
        return Mark(GREY, CIRCLE, hollow=True)
    name = method.partition("(")[0]
    place = OWN.index(name) if name in OWN else _number(name)
    symbol = place if label == name else _number(label)
    return Mark(COLOURS[place % len(COLOURS)], SYMBOLS[symbol % len(SYMBOLS)])


def marks_of(rows: Iterable[MethodSummary]) -> dict[str, Mark]:
    """Returns the marks by label.

    A control has the colour of its method: a circle for chance, a diamond for a vote.
    """
    known = list(rows)
    marks = {row.label: mark_of(row.label, row.method) for row in known if not row.control_of}
    for row in known:
        if row.control_of:
            owner = marks.get(row.control_of) or mark_of(row.control_of, row.control_of)
            marks.setdefault(row.label, structs.replace(owner, symbol=CIRCLE if row.method == CHANCE else DIAMOND, hollow=True))
    return marks


def spread(places: Sequence[tuple[float, float]], near: float, radius: float) -> list[tuple[float, float]]:
    """Moves points apart that would cover each other, onto a circle.

    Returns the new places, in the same units.
    """
    groups: list[list[int]] = []
    for number, (x, y) in enumerate(places):
        group = next((one for one in groups if _distance(places[one[0]], (x, y)) < near), None)
        if group is None:
            groups.append([number])
        else:
            group.append(number)
    moved = list(places)
    for group in (one for one in groups if len(one) > 1):
        middle = [sum(places[number][axis] for number in group) / len(group) for axis in (0, 1)]
        for turn, number in enumerate(group):
            moved[number] = _on_circle(middle[0], middle[1], radius * max(1.0, len(group) / 5), turn / len(group))
    return moved


def _distance(one: tuple[float, float], other: tuple[float, float]) -> float:
    return ((one[0] - other[0]) ** 2 + (one[1] - other[1]) ** 2) ** 0.5


def _on_circle(x: float, y: float, radius: float, turn: float) -> tuple[float, float]:
    return (x + radius * cos(2 * pi * turn), y + radius * sin(2 * pi * turn))


def _number(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=4).digest())
