"""Accuracy against what it costs: the points of a picture, the best of them, and the line to beat.

`random_switch` at several shares is the line to beat: a method earns its keep above it. A point is best (on the Pareto front)
if no other is at least as cheap and at least as accurate, and better in one of the two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from speculative.standing import Standing

COIN = "random_switch"
SHARES = ("big_share", "switch_ratio")
"""The parameters of `random_switch` in which the points of one line differ."""


class Axis(Struct, frozen=True):
    """What accuracy is drawn against. `name` is short, `title` says it in full, `unit` is behind every number of it."""

    key: str
    name: str
    title: str
    unit: str


class Point(Struct, frozen=True):
    """One method. `x` in the axis' unit, accuracy and its 95 % interval from 0 to 1."""

    label: str
    method: str
    x: float
    accuracy: float
    low: float
    high: float
    best: bool = False


class Frontier(Struct, frozen=True):
    """The points of one task on one axis. `lines` are those of `random_switch` in one unit, by their places, the cheapest first."""

    task: str
    axis: Axis
    points: list[Point]
    lines: list[list[int]]


def _produced(standing: Standing) -> float | None:
    return standing.usage["big"].produced_tokens / standing.chains if "big" in standing.usage else 0.0


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


AXES: dict[str, tuple[Axis, Callable[[Standing], float | None]]] = {
    axis.key: (axis, value)
    for axis, value in (
        (Axis("big_tokens", "big tokens", "tokens that the big model produced for a chain", "tokens"), _produced),
        (Axis("share_kept", "big kept", "share of the chain's tokens that the big model wrote", "%"), lambda row: _percent(row.share_kept)),
        (
            Axis("share_spent", "big spent", "share of all produced tokens that are the big model's", "%"),
            lambda row: _percent(row.share_spent),
        ),
        (Axis("seconds", "time", "wall time of a chain", "s"), lambda row: row.seconds),
    )
}


def frontier(standings: Sequence[Standing], key: str) -> Frontier:
    """The points of one task's standings on the axis `key`; methods that have no value on it are left out."""
    axis, value = AXES[key]
    found = [(row, x) for row in standings if (x := value(row)) is not None]
    points = [Point(row.label, row.method, x, row.accuracy, *row.interval) for row, x in found]
    best = [msgspec.structs.replace(point, best=not any(_beats(other, point) for other in points)) for point in points]
    return Frontier(standings[0].task if standings else "", axis, best, _lines([row for row, _ in found], best))


def _beats(one: Point, other: Point) -> bool:
    no_worse = one.x <= other.x and one.accuracy >= other.accuracy
    return no_worse and (one.x < other.x or one.accuracy > other.accuracy)


def _lines(rows: Sequence[Standing], points: Sequence[Point]) -> list[list[int]]:
    found: dict[bytes, list[int]] = {}
    for place, row in enumerate(rows):
        if row.method == COIN:
            found.setdefault(msgspec.json.encode(_unit(row.params)), []).append(place)
    return [sorted(places, key=lambda place: points[place].x) for places in found.values() if len(places) > 1]


def _unit(params: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in sorted(params.items()) if name not in SHARES}
