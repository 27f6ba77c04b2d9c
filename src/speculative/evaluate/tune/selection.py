"""Selects among candidates that were run."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from speculative.evaluate.tune.candidates import Candidate
from speculative.evaluate.tune.target import Figures, Target

SHARE_STEP = 0.05
"""The width of a range of big's shares; the first part keeps the most accurate candidates of each range."""

MORE = 1.1
"""The choice may take so many times the smallest share of big's tokens that keeps a bound on accuracy."""


class MeasuredCandidate(Struct, frozen=True):
    """A candidate with its figures."""

    candidate: Candidate
    figures: Figures


def best_of(found: Sequence[MeasuredCandidate], target: Target) -> MeasuredCandidate:
    """Returns the candidate whose figures suit a target best."""
    return min(found, key=lambda one: target.rank(one.figures))


def most_careful(found: Sequence[MeasuredCandidate], target: Target) -> MeasuredCandidate:
    """Returns the best candidate, or one as accurate that costs little more.

    The smallest share that keeps a bound on accuracy keeps it barely, and other problems may need a little more.
    """
    best = best_of(found, target)
    if target.kind != "accuracy" or target.gap(best.figures):
        return best
    near = [one for one in found if not target.gap(one.figures) and one.figures.share_kept <= MORE * best.figures.share_kept]
    return max(near, key=lambda one: (one.figures.accuracy, one.figures.share_kept))


def spread_over_shares(found: Sequence[MeasuredCandidate], most: int) -> list[Candidate]:
    """Returns the most accurate candidates of each range of big's share.

    The best one of every range comes first, then the second of every range, and so on.
    """
    ranges: dict[int, list[MeasuredCandidate]] = {}
    for one in sorted(found, key=lambda one: (-one.figures.accuracy, one.figures.share_kept)):
        ranges.setdefault(int(one.figures.share_kept / SHARE_STEP), []).append(one)
    turns = [(turn, share, one.candidate) for share, group in sorted(ranges.items()) for turn, one in enumerate(group)]
    return [candidate for _, _, candidate in sorted(turns, key=lambda turn: turn[:2])[:most]]
