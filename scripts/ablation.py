"""Draws each method's accuracy and big's share against one of its parameters.

    python scripts/ablation.py FOLDER… --write docs/ablation.svg

Each folder is a run folder of `speculative compare`. The last parameter of a label is the one that varies: labels which are equal but
for its value share a panel. Where the folders have rows of `random_switch`, each panel also shows the coin at the same share of big.
Needs the extra `plots`.
"""

import argparse
import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from msgspec import Struct

from speculative.report.chart import GRID, INK, load_pyplot
from speculative.runs.folder import Run
from speculative.stats.summary import BASELINE, CHANCE, MethodSummary, summarize
from speculative.viewer.marks import GREY, mark_of

LEAST = 3
"""The least number of values that make a panel."""
COLUMNS = 4


class Sweep(Struct, frozen=True):
    """One method at several values of one parameter."""

    title: str
    parameter: str
    rows: list[tuple[str, MethodSummary]]
    baseline: float | None


def sweeps(rows: Sequence[MethodSummary], baseline: float | None) -> list[Sweep]:
    """Returns the rows whose labels differ in their last value only, by that value."""
    found: dict[str, list[tuple[str, MethodSummary]]] = {}
    for row in rows:
        head, equals, value = row.label.removesuffix(")").rpartition("=")
        if equals and row.method != CHANCE:
            found.setdefault(head, []).append((value, row))
    return [_sweep(head, several, baseline) for head, several in found.items() if len(several) >= LEAST]


def _sweep(head: str, rows: list[tuple[str, MethodSummary]], baseline: float | None) -> Sweep:
    before, _, parameter = head.replace("(", ",").rpartition(",")
    name, *fixed = before.split(",")
    title = f"{name} ({', '.join(fixed)})" if fixed else name
    return Sweep(title, parameter, sorted(rows, key=lambda one: _order(one[0])), baseline)


def _order(value: str) -> tuple[float, str]:
    try:
        return float(value), ""
    except ValueError:
        return math.inf, value


def coin(rows: Sequence[MethodSummary]) -> list[tuple[float, float]]:
    """Returns big's share and the accuracy of the rows of `random_switch`, in per cent, by share."""
    return sorted((100 * (row.share_kept or 0), 100 * row.accuracy) for row in rows if row.method == CHANCE or row.label == "small_only")


def at_share(points: Sequence[tuple[float, float]], share: float) -> float:
    """Returns the accuracy of the coin at a share, between its rows on a straight line; outside of them there is no value."""
    for (low, left), (high, right) in pairwise(points):
        if low <= share <= high:
            return left + (right - left) * (share - low) / ((high - low) or 1)
    return math.nan


def draw(panels: Sequence[Sweep], points: Sequence[tuple[float, float]], path: Path) -> None:
    """Writes the panels as one figure."""
    pyplot = load_pyplot()
    height = math.ceil(len(panels) / COLUMNS)
    figure, grid = pyplot.subplots(height, COLUMNS, figsize=(13, 2.6 * height), layout="constrained", sharey=True, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for panel, axes in zip(panels, grid.flat, strict=False):
        _panel(axes, panel, points)
    handles, labels = grid.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, frameon=False)
    figure.savefig(path, dpi=160, metadata={"Date": None} if path.suffix == ".svg" else None)
    pyplot.close(figure)


def _panel(axes: Any, panel: Sweep, points: Sequence[tuple[float, float]]) -> None:
    places = range(len(panel.rows))
    summaries = [row for _, row in panel.rows]
    colour = mark_of(summaries[0].label, summaries[0].method).colour.light
    shares = [100 * (row.share_kept or 0) for row in summaries]
    axes.fill_between(places, *zip(*([100 * end for end in row.interval] for row in summaries), strict=True), color=colour, alpha=0.15)
    axes.plot(
        places,
        [100 * row.accuracy for row in summaries],
        color=colour,
        marker="o",
        markersize=4,
        label="answers right, with 95 % intervals",
    )
    axes.plot(places, shares, color=INK, linestyle="--", linewidth=1, label="text written by big")
    axes.plot(places, [at_share(points, share) for share in shares], color=GREY.light, linestyle=":", label="a coin at that share of big")
    if panel.baseline is not None:
        axes.axhline(100 * panel.baseline, color=INK, linewidth=0.5, label="big alone")
    axes.set_xticks(places, [value for value, _ in panel.rows], fontsize=8)
    axes.set_xlabel(panel.parameter, fontsize=8)
    axes.set_title(panel.title, loc="left", fontsize=8)
    axes.set_ylim(0, 104)
    axes.grid(color=GRID, linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, help="run folders on the same problems")
    parser.add_argument("--write", type=Path, required=True, help="the figure to write, as svg, png or pdf by its ending")
    given = parser.parse_args()
    runs = [summarize(Run(folder).samples) for folder in given.folders]
    panels = [panel for rows in runs for panel in sweeps(rows, next((row.accuracy for row in rows if row.label == BASELINE), None))]
    if not panels:
        raise SystemExit(
            f"no parameter has {LEAST} values in these folders; run a method with several, as likelihood_verify(threshold=-0.1)"
        )
    draw(panels, coin([row for rows in runs for row in rows]), given.write)


if __name__ == "__main__":
    main()
