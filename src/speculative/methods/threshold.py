"""Compares a score with a threshold."""

from __future__ import annotations

TOLERANCE = 1e-9
"""The difference by which rounding may miss a threshold, as that of a mean of equal numbers does."""

DIGITS = range(3, 18)
"""Significant digits of a score in a reason, as few as tell it from the threshold."""


def reaches(score: float, threshold: float) -> bool:
    """Returns whether a score is at least the threshold, but for rounding."""
    return score >= threshold - TOLERANCE


def explain_below(what: str, score: float, threshold: float) -> str:
    """Describes a score below its threshold, in digits that show the difference."""
    shown = [(f"{score:.{digits}g}", f"{threshold:.{digits}g}") for digits in DIGITS]
    low, high = next((pair for pair in shown if pair[0] != pair[1]), shown[-1])
    return f"the {what} {low} is below {high}"
