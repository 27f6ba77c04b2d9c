"""Accuracy against what it costs: the points of a picture, the best of them, and the line to beat.

`random_switch` at several shares, alike in all else, is the line to beat: a method earns its keep above it. A point is best (on the
Pareto front) if no other on the same problems is at least as cheap and at least as accurate, and better in one of the two.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import median_low
from typing import Any, Literal, get_args

import msgspec
from msgspec import Struct

from speculative.stats.summary import CHANCE, Standing, like_crowd

SHARES = ("big_share", "switch_ratio")
"""The two spellings of the parameter of `random_switch` in which the points of one line differ."""


AxisKey = Literal["big_tokens", "share_kept", "share_spent", "seconds", "api", "gpu", "flops"]
AXES: tuple[AxisKey, ...] = get_args(AxisKey)
TIMED: tuple[AxisKey, ...] = ("seconds", "gpu")
"""Those whose values depend on how many chains shared the engines."""


class Axis(Struct, frozen=True):
    """What accuracy is drawn against. `name` is short, `title` says it in full, `unit` is behind every number of it."""

    key: AxisKey
    name: str
    title: str
    unit: str


class Point(Struct, frozen=True):
    """One method. `x` in the axis' unit, accuracy and its 95 % interval from 0 to 1; `control_of` as a standing has it."""

    label: str
    method: str
    x: float
    accuracy: float
    low: float
    high: float
    control_of: str | None
    best: bool = False


class Frontier(Struct, frozen=True):
    """The points of one task on one axis. `lines` are those of `random_switch` that differ in its share alone, by their places, the
    cheapest first. `best` are only points on the problems that most methods have. `left_out` says which methods are no points, and why."""

    task: str
    axis: Axis
    points: list[Point]
    lines: list[list[int]]
    left_out: str = ""


_TITLES: dict[AxisKey, tuple[str, str, str]] = {
    "big_tokens": ("big tokens", "tokens that the big model produced for a chain", "tokens"),
    "share_kept": ("big kept", "share of the chain's tokens that the big model wrote", "%"),
    "share_spent": ("big spent", "share of all produced tokens that are the big model's", "%"),
    "seconds": ("time", "wall time of a chain", "s"),
    "api": ("API prices", "price of a chain's tokens", ""),
    "gpu": ("device time", "price of the devices for a chain's time", ""),
    "flops": ("FLOP", "floating-point operations for a chain", ""),
}
"""Name, title and unit; the unit of a cost is that of its price view."""


def _value(row: Standing, key: AxisKey) -> float | None:
    if key == "big_tokens":
        return row.usage["big"].produced_tokens / row.chains if "big" in row.usage else 0.0
    if key == "seconds":
        return row.seconds
    if key == "api" or key == "gpu" or key == "flops":
        return row.costs[key].chain if key in row.costs else None
    part = row.share_kept if key == "share_kept" else row.share_spent
    return None if part is None else 100 * part


def _axis(rows: Sequence[Standing], key: AxisKey) -> Axis:
    name, title, unit = _TITLES[key]
    units = [cost.unit for row in rows for view, cost in row.costs.items() if view == key]
    return Axis(key, name, title, unit or next(iter(units), ""))


def frontier(standings: Sequence[Standing], key: AxisKey) -> Frontier:
    """The points of one task's standings on the axis `key`; methods that have no value on it are left out, and against time those
    whose chains ran in another crowd than most (`standing.like_crowd`)."""
    asked = standings
    if key in TIMED:
        usual = median_low([row.at_once for row in standings if not row.control_of] or [1])
        standings = [row for row in standings if like_crowd(row.at_once, usual)]
    found = [(row, x) for row in standings if (x := _value(row, key)) is not None]
    points = [Point(row.label, row.method, x, row.accuracy, *row.interval, row.control_of) for row, x in found]
    common = _common([row for row, _ in found])
    rivals = [point for point, (row, _) in zip(points, found, strict=True) if row.problem_set == common]
    best = [msgspec.structs.replace(point, best=point in rivals and not any(_beats(other, point) for other in rivals)) for point in points]
    drawn = [row for row, _ in found]
    return Frontier(asked[0].task if asked else "", _axis(drawn, key), best, _lines(drawn, best), _left_out(asked, drawn, key))


def _left_out(asked: Sequence[Standing], drawn: Sequence[Standing], key: AxisKey) -> str:
    had = {row.label for row in drawn}
    missing = [row.label for row in asked if row.label not in had and not row.control_of]
    why = "many more or fewer chains shared the engines" if key in TIMED else "no value on this axis"
    return f"Left out: {', '.join(missing)} ({why})." if missing else ""


def _common(rows: Sequence[Standing]) -> str:
    """The problem set of most methods; of several such the largest."""
    had = Counter(row.problem_set for row in rows if not row.control_of)
    return max(rows, key=lambda row: (had[row.problem_set], row.problems)).problem_set if rows else ""


def _beats(one: Point, other: Point) -> bool:
    no_worse = one.x <= other.x and one.accuracy >= other.accuracy
    return no_worse and (one.x < other.x or one.accuracy > other.accuracy)


def _lines(rows: Sequence[Standing], points: Sequence[Point]) -> list[list[int]]:
    found: dict[bytes, list[int]] = {}
    for place, row in enumerate(rows):
        if row.method == CHANCE and not row.control_of:
            found.setdefault(_but_the_share(row), []).append(place)
    return [sorted(places, key=lambda place: points[place].x) for places in found.values() if len(places) > 1]


def _but_the_share(row: Standing) -> bytes:
    """All in which points of one line are alike."""
    params: dict[str, Any] = {name: value for name, value in row.params.items() if name not in SHARES}
    return msgspec.json.encode([params, row.settings, row.folder, row.problem_set], order="sorted")
