"""Draws a frontier as a figure. Needs the extra `plots`."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from speculative.errors import MissingExtraError
from speculative.report.frontier import Frontier, Point
from speculative.viewer.marks import GREY, Mark, spread

INK, PAPER, GRID = "#30363d", "white", "#e5e8eb"
SIZE = (9, 5.6)
NEAR, RADIUS = 9.0, 9.0
"""The distance in screen points within which symbols cover each other, and the radius on which they are then placed."""
LINE_HEIGHT, LETTER = 10.0, 4.6
"""The height of a label's line and the width of a letter, in screen points."""
LONGEST = 40
"""The largest number of letters in a line of a label."""

Box = tuple[float, float, float, float]


def check() -> None:
    """Checks that figures can be drawn. Raises `UsageError`."""
    load_pyplot()


def draw(frontier: Frontier, path: Path) -> None:
    """Writes the figure as svg, png or pdf, by the ending of the file.

    Raises `UsageError` and `OSError`.

    Both axes begin at zero. Coinciding points are moved apart; a thin line leads to their true place.
    """
    pyplot = load_pyplot()
    figure, axes = pyplot.subplots(figsize=SIZE, layout="constrained")
    _frame(axes, frontier)
    figure.canvas.draw()  # computes the layout
    figure.set_layout_engine("none")
    _line_to_beat(axes, frontier)
    _front(axes, frontier)
    _methods(axes, frontier)
    figure.savefig(path, dpi=160, metadata={"Date": None} if path.suffix == ".svg" else None)
    pyplot.close(figure)


def _frame(axes: Any, frontier: Frontier) -> None:
    axes.set_xlabel(f"{frontier.axis.title} ({frontier.axis.unit})")
    axes.set_ylabel("answers right (%), with 95 % intervals")
    axes.set_ylim(0, 104)
    most = 100.0 if frontier.axis.unit == "%" else max((point.x for point in frontier.points), default=0) or 1.0
    axes.set_xlim(0, 1.04 * most)
    axes.grid(color=GRID, linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(frontier.task, loc="left", fontsize=11)


def _line_to_beat(axes: Any, frontier: Frontier) -> None:
    for line in frontier.lines:
        points = [frontier.points[place] for place in line]
        xs = [point.x for point in points]
        axes.plot(xs, [100 * point.accuracy for point in points], color=GREY.light, zorder=2)
        axes.fill_between(xs, [100 * p.low for p in points], [100 * p.high for p in points], color=GREY.light, alpha=0.18, linewidth=0)


def _front(axes: Any, frontier: Frontier) -> None:
    best = sorted((point for point in frontier.points if point.best), key=lambda point: point.x)
    if len(best) > 1:
        axes.plot([point.x for point in best], [100 * point.accuracy for point in best], color=INK, linestyle=":", linewidth=1, zorder=1)


def _methods(axes: Any, frontier: Frontier) -> None:
    """Draws the mark and the label of each method."""
    on_lines = {place for line in frontier.lines for place in line}
    scale = axes.figure.dpi / 72
    true = [tuple(float(v) / scale for v in axes.transData.transform((point.x, 100 * point.accuracy))) for point in frontier.points]
    moved = spread([(x, y) for x, y in true], NEAR, RADIUS)
    back = axes.transData.inverted()
    taken: list[Box] = [(x - 5, y - 5, x + 5, y + 5) for x, y in moved]
    wanted: list[tuple[tuple[float, float], str, str]] = []
    for place, (point, at, (x, y)) in enumerate(zip(frontier.points, true, moved, strict=True)):
        small = place in on_lines or point.control_of is not None
        shown = back.transform((x * scale, y * scale))
        if at != (x, y):
            axes.plot([point.x, shown[0]], [100 * point.accuracy, shown[1]], color=INK, linewidth=0.6, zorder=3, clip_on=False)
        if not small:
            _interval(axes, point)
        _symbol(axes, shown, point.mark, 4 if small else 7)
        if not small:
            wanted.append(((x, y), point.label, point.mark.colour.light))
    wanted += [(moved[line[len(line) // 2]], "random_switch: the line to beat", GREY.light) for line in frontier.lines[:1]]
    _labels(axes, wanted, taken)
    if any(point.control_of for point in frontier.points):
        axes.text(1, 1.01, "hollow: a method's controls, in its colour", transform=axes.transAxes, ha="right", fontsize=8, color=INK)


def _interval(axes: Any, point: Point) -> None:
    errors = [[100 * (point.accuracy - point.low)], [100 * (point.high - point.accuracy)]]
    look = {"ecolor": point.mark.colour.light, "fmt": "none", "capsize": 3, "elinewidth": 1, "alpha": 0.7}
    axes.errorbar([point.x], [100 * point.accuracy], errors, zorder=3, **look)


def _symbol(axes: Any, at: Sequence[float], mark: Mark, size: float) -> None:
    face = PAPER if mark.hollow else mark.colour.light
    look = {"marker": mark.symbol.marker, "markerfacecolor": face, "markeredgecolor": mark.colour.light, "markersize": size}
    axes.plot([at[0]], [at[1]], linestyle="none", zorder=5, clip_on=False, **look)


def _labels(axes: Any, wanted: Sequence[tuple[tuple[float, float], str, str]], taken: list[Box]) -> None:
    """Writes each label near its point, at the place where it covers least.

    A line leads to a distant label.
    """
    scale = axes.figure.dpi / 72
    corners = axes.get_window_extent().get_points() / scale
    frame = (float(corners[0][0]), float(corners[0][1]), float(corners[1][0]) + 8, float(corners[1][1]) + 6)
    for (x, y), label, colour in wanted:
        lines = _wrapped(label)
        wide, high = LETTER * max(map(len, lines)), LINE_HEIGHT * len(lines)
        box = min(_spots(x, y, wide, high), key=lambda spot: _penalty(spot, (x, y), taken, frame))
        taken.append(box)
        left, bottom = box[:2]
        place = {"xycoords": "figure points", "textcoords": "figure points", "va": "bottom", "ha": "left", "fontsize": 8, "color": colour}
        far = min(abs(x - box[0]), abs(x - box[2])) > 12 or min(abs(y - box[1]), abs(y - box[3])) > 14
        arrow = {"arrowstyle": "-", "color": colour, "linewidth": 0.6, "shrinkA": 0, "shrinkB": 4} if far else None
        axes.annotate("\n".join(lines), (x, y), (left, bottom), arrowprops=arrow, annotation_clip=False, zorder=6, **place)


def _wrapped(label: str) -> list[str]:
    """Breaks a long label after a comma or a star."""
    lines = [""]
    for piece in label.replace(",", ",\0").replace("*", "*\0").split("\0"):
        lines = [*lines[:-1], lines[-1] + piece] if len(lines[-1] + piece) <= LONGEST else [*lines, piece]
    return [line for line in lines if line]


def _spots(x: float, y: float, wide: float, high: float) -> list[Box]:
    """Returns boxes around a point, the nearest first."""
    found: list[Box] = []
    for far in (0.0, 12.0, 26.0, 44.0, 66.0, 92.0):
        lefts, rises = (x + 8 + far / 3, x - 8 - far / 3 - wide), (-high / 2, -high / 2 + far, -high / 2 - far)
        found += [(left, y + rise, left + wide, y + rise + high) for rise in rises for left in lefts]
        found += [(x - wide / 2, bottom, x + wide / 2, bottom + high) for bottom in (y + 8 + far, y - 8 - far - high)]
    return found


def _penalty(box: Box, point: tuple[float, float], taken: Sequence[Box], frame: Box) -> float:
    """Returns the covered area of a box, with an addition for its distance."""
    inside = _common(box, frame)
    outside = (box[2] - box[0]) * (box[3] - box[1]) - inside
    middle = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    far = abs(middle[0] - point[0]) - (box[2] - box[0]) / 2 + abs(middle[1] - point[1])
    return 10 * outside + sum(_common(box, other) for other in taken) + 0.05 * far


def _common(one: Box, other: Box) -> float:
    width, height = min(one[2], other[2]) - max(one[0], other[0]), min(one[3], other[3]) - max(one[1], other[1])
    return max(0.0, width) * max(0.0, height)


def load_pyplot() -> Any:
    """Returns matplotlib's pyplot, for files alone.

    Raises `MissingExtraError`.
    """
    try:
        matplotlib: Any = import_module("matplotlib")
    except ImportError:
        raise MissingExtraError("drawing", "matplotlib", "plots") from None
    matplotlib.use("agg")
    matplotlib.rcParams["svg.hashsalt"] = "speculative"  # the same figure is the same file
    return import_module("matplotlib.pyplot")
