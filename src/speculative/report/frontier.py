"""The picture of a comparison: accuracy against the share of tokens that the big model wrote.

`random_switch` at several shares is drawn as a line: a method earns its keep above it. Needs the extra `plots`.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from msgspec import Struct

from speculative.errors import UsageError

CHANCE = "random_switch"
COLOURS = ("#0b6bcb", "#c8501e", "#2a8a4a", "#8a3fb0", "#b8860b", "#4a5568", "#c2185b", "#00838f")


class Point(Struct, frozen=True):
    """One method of a comparison. Shares and accuracy from 0 to 1."""

    label: str
    method: str
    share: float
    accuracy: float
    low: float
    high: float
    problems: int


def points(rows: list[dict[str, Any]]) -> list[Point]:
    """The points of what `speculative compare --json` printed. Raises `UsageError` for anything else."""
    try:
        return [_point(row) for row in rows if row["share_kept"] is not None]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UsageError(f"this is not what `speculative compare --json` prints: {error!r} is missing or wrong") from None


def _point(row: dict[str, Any]) -> Point:
    low, high = row["interval"]
    return Point(row.get("label", row["method"]), row["method"], row["share_kept"], row["accuracy"], low, high, row["problems"])


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Writes the picture; the file's ending says which kind (svg, png, pdf). Raises `UsageError`, OSError."""
    try:
        matplotlib: Any = import_module("matplotlib")
    except ImportError:
        raise UsageError("drawing needs matplotlib: pip install 'speculative-reasoning[plots]'") from None
    matplotlib.use("agg")
    matplotlib.rcParams["svg.hashsalt"] = "speculative"  # the same picture is the same file
    pyplot: Any = import_module("matplotlib.pyplot")
    figure, axes = pyplot.subplots(figsize=(8, 5), layout="constrained")
    found = points(rows)
    chance = sorted((point for point in found if point.method == CHANCE), key=lambda point: point.share)
    if len(chance) > 1:
        shares = [100 * point.share for point in chance]
        axes.plot(shares, [100 * point.accuracy for point in chance], color="#9aa5b1", zorder=1, label="random_switch: the line to beat")
        axes.fill_between(shares, [100 * p.low for p in chance], [100 * p.high for p in chance], color="#9aa5b1", alpha=0.18, linewidth=0)
    for place, point in enumerate(point for point in found if point not in chance or len(chance) == 1):
        errors = [[100 * (point.accuracy - point.low)], [100 * (point.high - point.accuracy)]]
        colour = COLOURS[place % len(COLOURS)]
        axes.errorbar([100 * point.share], [100 * point.accuracy], errors, fmt="o", color=colour, capsize=3, label=point.label, zorder=2)
    axes.set_xlabel("share of the chain's tokens that the big model wrote (%)")
    axes.set_ylabel("problems solved (%), with 95 % intervals")
    axes.set_xlim(-4, 104)
    axes.set_ylim(0, 103)
    axes.grid(color="#e5e8eb", linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(f"{found[0].problems if found else 0} problems of the bundled pair", loc="left", fontsize=11)
    axes.legend(frameon=False, loc="lower right", fontsize=9)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    pyplot.close(figure)
