"""A frontier as a figure for a paper or a slide. Needs the extra `plots`."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from textwrap import fill
from typing import Any

from speculative.errors import MissingExtraError
from speculative.report.frontier import Frontier

COLOURS = ("#4053d3", "#c65d00", "#00796b", "#a3195b", "#6d4c9f", "#7a6500", "#0277bd", "#5d4037")
MARKERS = ("o", "s", "D", "^", "v", "P", "X")
LINE = "#8a94a0"
WIDTH = 46
"""Letters of a line of the legend: a long label leaves room for the figure."""
HOLLOW = {"marker": "o", "markerfacecolor": "white", "linestyle": "none", "markersize": 5}


def check() -> None:
    """Finds out whether figures can be drawn. Raises `UsageError`."""
    _pyplot()


def draw(frontier: Frontier, path: Path) -> None:
    """Writes the figure; the file's ending says which kind (svg, png, pdf). Raises `UsageError`, OSError."""
    pyplot = _pyplot()
    figure, axes = pyplot.subplots(figsize=(8, 5), layout="constrained")
    _line_to_beat(axes, frontier)
    best = sorted((point for point in frontier.points if point.best), key=lambda point: point.x)
    if len(best) > 1:
        xs, ys = [point.x for point in best], [100 * point.accuracy for point in best]
        axes.plot(xs, ys, color="#30363d", linestyle=":", linewidth=1, zorder=1, label="the best so far (Pareto front)")
    _methods(axes, frontier)
    axes.set_xlabel(f"{frontier.axis.title} ({frontier.axis.unit})")
    axes.set_ylabel("answers right (%), with 95 % intervals")
    axes.set_ylim(0, 103)
    if frontier.axis.unit == "%":
        axes.set_xlim(-4, 104)
    axes.grid(color="#e5e8eb", linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(frontier.task, loc="left", fontsize=11)
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    figure.savefig(path, dpi=160, metadata={"Date": None} if path.suffix == ".svg" else None)
    pyplot.close(figure)


def _line_to_beat(axes: Any, frontier: Frontier) -> None:
    for number, line in enumerate(frontier.lines):
        points = [frontier.points[place] for place in line]
        xs = [point.x for point in points]
        label = None if number else "random_switch: the line to beat"
        axes.plot(xs, [100 * point.accuracy for point in points], color=LINE, marker="o", markersize=3, zorder=2, label=label)
        axes.fill_between(xs, [100 * p.low for p in points], [100 * p.high for p in points], color=LINE, alpha=0.18, linewidth=0)


def _methods(axes: Any, frontier: Frontier) -> None:
    """Each method in a colour and shape of its own; its controls hollow."""
    on_lines = {place for line in frontier.lines for place in line}
    shown = [point for place, point in enumerate(frontier.points) if place not in on_lines and not point.control_of]
    looks = {point.label: (COLOURS[n % len(COLOURS)], MARKERS[n % len(MARKERS)]) for n, point in enumerate(shown)}
    for point in shown:
        colour, marker = looks[point.label]
        errors = [[100 * (point.accuracy - point.low)], [100 * (point.high - point.accuracy)]]
        look = {"color": colour, "marker": marker, "linestyle": "none"}
        axes.errorbar([point.x], [100 * point.accuracy], errors, capsize=3, label=fill(point.label, WIDTH), zorder=4, **look)
        for control in (other for other in frontier.points if other.control_of == point.label):
            axes.plot([control.x], [100 * control.accuracy], color=colour, zorder=3, **HOLLOW)
    if any(point.control_of for point in frontier.points):
        axes.plot([], [], color=LINE, label="a method's controls, in its colour", **HOLLOW)


def _pyplot() -> Any:
    try:
        matplotlib: Any = import_module("matplotlib")
    except ImportError:
        raise MissingExtraError("drawing", "matplotlib", "plots") from None
    matplotlib.use("agg")
    matplotlib.rcParams["svg.hashsalt"] = "speculative"  # the same figure is the same file
    return import_module("matplotlib.pyplot")
