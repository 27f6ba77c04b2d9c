"""Computes accuracy against cost, the Pareto front, and the line to beat.

The line to beat is `random_switch` at several shares with equal other settings. A point is `best` (on the front) if no other point on
the same problems dominates it in cost and accuracy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import median_low
from typing import Any, Literal, get_args

import msgspec
from msgspec import Struct

from speculative.stats.summary import CHANCE, MethodSummary, similar_concurrency
from speculative.viewer.marks import Mark, marks_of

SHARES = ("big_share", "switch_ratio")
"""The two parameters of `random_switch` that set its share."""


AxisKey = Literal["big_tokens", "share_kept", "share_spent", "seconds", "api", "gpu", "flops"]
AXES: tuple[AxisKey, ...] = get_args(AxisKey)
TIMED: tuple[AxisKey, ...] = ("seconds", "gpu")
"""The axes that depend on the number of chains at once."""


class Axis(Struct, frozen=True):
    """The axis of cost.

    `name` is short, `title` is complete, `unit` follows its numbers.
    """

    key: AxisKey
    name: str
    title: str
    unit: str


class Point(Struct, frozen=True):
    """One method: cost `x`, accuracy with its interval, and its mark."""

    label: str
    method: str
    x: float
    accuracy: float
    low: float
    high: float
    control_of: str | None
    mark: Mark
    best: bool = False


class Frontier(Struct, frozen=True):
    """The points of one task on one axis.

    `lines` holds the indexes of `random_switch` points that differ only in the share, the cheapest first. Only points on
    the problems of most methods can be `best`. `left_out` names the methods without a point, and the reason.
    """

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
"""Name, title and unit of each axis; a cost has the unit of its price view."""


def _value(row: MethodSummary, key: AxisKey) -> float | None:
    if key == "big_tokens":
        return row.usage["big"].produced_tokens / row.chains if "big" in row.usage else 0.0
    if key == "seconds":
        return row.seconds
    if key == "api" or key == "gpu" or key == "flops":
        return row.costs[key].chain if key in row.costs else None
    part = row.share_kept if key == "share_kept" else row.share_spent
    return None if part is None else 100 * part


def _axis(rows: Sequence[MethodSummary], key: AxisKey) -> Axis:
    name, title, unit = _TITLES[key]
    units = [cost.unit for row in rows for view, cost in row.costs.items() if view == key]
    return Axis(key, name, title, unit or next(iter(units), ""))


def usual_axis(summaries: Sequence[MethodSummary]) -> AxisKey:
    """Returns the usual axis: operations, or tokens of the big model."""
    return "flops" if all("flops" in row.costs for row in summaries) else "big_tokens"


def frontier(summaries: Sequence[MethodSummary], key: AxisKey) -> Frontier:
    """Returns the points of one task on an axis.

    Methods without a value are left out; on an axis of time also those whose concurrency differs (`summary.similar_concurrency`).
    """
    every = summaries
    if key in TIMED:
        usual = median_low([row.mean_concurrency for row in summaries if not row.control_of] or [1])
        summaries = [row for row in summaries if similar_concurrency(row.mean_concurrency, usual)]
    found = [(row, x) for row in summaries if (x := _value(row, key)) is not None]
    marks = marks_of(every)
    points = [Point(row.label, row.method, x, row.accuracy, *row.interval, row.control_of, marks[row.label]) for row, x in found]
    common = _common_problem_set([row for row, _ in found])
    rivals = [point for point, (row, _) in zip(points, found, strict=True) if row.problem_set == common]
    best = [msgspec.structs.replace(point, best=point in rivals and not any(_beats(other, point) for other in rivals)) for point in points]
    drawn = [row for row, _ in found]
    return Frontier(every[0].task if every else "", _axis(drawn, key), best, _lines(drawn, best), _left_out(every, drawn, key))


def _left_out(every: Sequence[MethodSummary], drawn: Sequence[MethodSummary], key: AxisKey) -> str:
    had = {row.label for row in drawn}
    missing = [row.label for row in every if row.label not in had and not row.control_of]
    why = "many more or fewer chains shared the engines" if key in TIMED else "no value on this axis"
    return f"Left out: {', '.join(missing)} ({why})." if missing else ""


def _common_problem_set(rows: Sequence[MethodSummary]) -> str:
    """Returns the problem set of most methods, or the largest of several."""
    had = Counter(row.problem_set for row in rows if not row.control_of)
    return max(rows, key=lambda row: (had[row.problem_set], row.problems)).problem_set if rows else ""


def _beats(one: Point, other: Point) -> bool:
    no_worse = one.x <= other.x and one.accuracy >= other.accuracy
    return no_worse and (one.x < other.x or one.accuracy > other.accuracy)


def _lines(rows: Sequence[MethodSummary], points: Sequence[Point]) -> list[list[int]]:
    found: dict[bytes, list[int]] = {}
    for place, row in enumerate(rows):
        if row.method == CHANCE and not row.control_of:
            found.setdefault(_line_key(row), []).append(place)
    return [sorted(places, key=lambda place: points[place].x) for places in found.values() if len(places) > 1]


def _line_key(row: MethodSummary) -> bytes:
    """Returns the settings that the points of one line have in common."""
    params: dict[str, Any] = {name: value for name, value in row.params.items() if name not in SHARES}
    return msgspec.json.encode([params, row.settings, row.folder, row.problem_set], order="sorted")
