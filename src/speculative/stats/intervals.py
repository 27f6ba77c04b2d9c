"""Intervals for what methods are compared by."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import ArrayLike

Z95 = 1.959963984540054
"""The 97.5 % quantile of the normal distribution."""


class Estimate(Struct, frozen=True):
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float


def wilson(p: float, n: float, z: float = Z95) -> tuple[float, float]:
    """Wilson's score interval of a proportion `p` of `n` independent trials (95 % unless told; n may be a fraction).

    Never leaves [0, 1], and is no point at 0 or 1. Source: Wilson 1927, doi 10.1080/01621459.1927.10502953.
    """
    if n <= 0:
        return (0.0, 1.0)
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * float(np.sqrt(p * (1 - p) / n + z * z / (4 * n * n)))
    return (max(0.0, min(p, centre - half)), min(1.0, max(p, centre + half)))


def accuracy_interval(outcomes: Sequence[Sequence[bool]]) -> tuple[float, float]:
    """A 95 % interval of the mean over problems that were tried several times: one inner sequence a problem.

    Tries of one problem are alike, so they count for less than as many problems. Wilson's interval is taken at the
    effective number of trials: p(1-p) over the variance of p between problems (the cluster-robust one), less what so few
    problems say of that variance; never more than there were tries and never fewer than there were problems. To the spread
    between problems one more is added whose tries all agree, so that few problems that happen to be alike do not look certain.
    With one try a problem that is Wilson's own interval. Source: Korn and Graubard 1998, "Confidence intervals for proportions
    with small expected number of positive counts estimated from survey data", Survey Methodology 24; the problem more is ours.
    """
    tries = np.array([len(tried) for tried in outcomes if tried], dtype=float)
    right = np.array([sum(tried) for tried in outcomes if tried], dtype=float)
    total, problems = float(tries.sum()), len(tries)
    if not problems:
        return (0.0, 1.0)
    p = float(right.sum() / total)
    spread = float((((right - p * tries) * problems / total) ** 2).sum())
    return wilson(p, min(_effective(p, spread, problems), total))


def mean_estimate(values: ArrayLike) -> Estimate:
    """The mean of a number between 0 and 1 that each problem has, with the interval of `accuracy_interval`."""
    found = np.asarray(values, dtype=float)
    if not len(found):
        return Estimate(0.0, 0.0, 1.0)
    p = min(1.0, max(0.0, float(found.mean())))
    return Estimate(p, *wilson(p, _effective(p, float(((found - p) ** 2).sum()), len(found))))


def _effective(p: float, spread: float, problems: int) -> float:
    """The number of independent trials that tell as much as problems with that sum of squares, and at least their own number."""
    one = p * (1 - p)
    if problems < 2 or one <= 0:
        return problems
    return max(problems, one * problems * (problems - 1) / (spread + one) * (Z95 / student(problems - 1)) ** 2)


def student(df: int, z: float = Z95) -> float:
    """Student's t where the normal distribution has z, for `df` >= 1 degrees of freedom.

    Source: the expansion of Abramowitz and Stegun 1964, 26.7.5; right to 3 in 1,000 from 4 degrees on.
    """
    terms = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96, (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + sum(term / df**power for power, term in enumerate(terms, 1))
