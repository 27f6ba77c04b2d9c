"""Computes intervals and tests of accuracy.

Problems are clusters, since tries of one problem are alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import ArrayLike, NDArray

Z95 = 1.959963984540054
"""The 97.5 % quantile of the normal distribution."""

TAIL = 0.025
"""The probability outside of a 95 % interval on each side."""

MIN_P = 1e-12
"""The smallest reported p-value; the sums behind it are not more exact."""

Floats = NDArray[np.float64]


class Estimate(Struct, frozen=True):
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float


def wilson(p: float, n: float, z: float = Z95) -> tuple[float, float]:
    """Computes Wilson's score interval of a proportion `p` of `n` independent trials.

    It is a 95 % interval unless `z` is given; `n` may be a fraction. It stays within [0, 1] and always has a width.
    Source: Wilson 1927, doi 10.1080/01621459.1927.10502953.
    """
    if n <= 0:
        return (0.0, 1.0)
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * float(np.sqrt(p * (1 - p) / n + z * z / (4 * n * n)))
    return (max(0.0, min(p, centre - half)), min(1.0, max(p, centre + half)))


class ProblemSample(Struct, frozen=True):
    """Problems with the sum and the number of their tries' values.

    The value of a try lies between `lowest` and `highest`. `mean` is over all tries. The distribution of the mean over all similar
    problems is that of the Bayesian bootstrap: the weight of each problem is a unit exponential random number. Two pseudo-problems
    with the lowest and the highest value stand for kinds of problems that the sample lacks. They keep the error rate for every
    distribution of the values, however skewed. A higher value raises every quantile, so intervals are monotone. The distribution
    is integrated, not sampled.

    Sources: Rubin 1981, "The Bayesian bootstrap", Annals of Statistics 9; Gaffke 2005, "Three test statistics for a nonparametric
    one-sided hypothesis on the mean of a nonnegative variable", for the extreme value in the sample. The value at both ends is our choice.
    """

    totals: Floats
    tries: Floats
    lowest: float
    highest: float

    @classmethod
    def of(cls, totals: ArrayLike, tries: ArrayLike, lowest: float, highest: float) -> ProblemSample:
        """Makes a sample of the problems that have a try."""
        sums, counts = np.asarray(totals, dtype=float), np.asarray(tries, dtype=float)
        return cls(sums[counts > 0], counts[counts > 0], lowest, highest)

    @property
    def mean(self) -> float:
        return float(self.totals.sum() / self.tries.sum())

    def probability_below(self, bound: float) -> float:
        """Returns the probability that the mean over all problems is at most `bound`."""
        size = float(self.tries.mean())
        ends = [size * (self.lowest - bound), size * (self.highest - bound)]
        return _probability_negative(np.concatenate([self.totals - bound * self.tries, ends]))

    def interval(self) -> tuple[float, float]:
        """Computes the 95 % interval of the mean. It contains the mean of the sample."""
        if not len(self.tries):
            return (self.lowest, self.highest)
        low = min(self.mean, self._quantile(TAIL, -Z95))
        high = max(self.mean, self._quantile(1 - TAIL, Z95))
        return (low, high)

    def _quantile(self, probability: float, z: float) -> float:
        """Finds the quantile of a probability.

        It is about `z` standard deviations from the mean.
        """
        size = float(self.tries.mean())
        rests = np.concatenate([self.totals - self.mean * self.tries, size * np.array([self.lowest, self.highest]) - size * self.mean])
        guess = self.mean + z * float(np.sqrt(rests @ rests)) / (size * len(rests))

        def excess(bound: float) -> float:
            return _logit(self.probability_below(bound)) - _logit(probability)

        return _root(excess, self.lowest, self.highest, guess)

    def p_value(self, null: float = 0.0) -> float:
        """Returns the two-sided p-value of a mean over all problems."""
        below = self.probability_below(null)
        return min(1.0, max(MIN_P, 2 * min(below, 1 - below)))


def accuracy_interval(outcomes: Sequence[Sequence[bool]]) -> tuple[float, float]:
    """Computes a 95 % interval of the accuracy, given each problem's tries.

    It is `ProblemSample.interval`, and at least as wide as Wilson's interval of independent tries. A better result never lowers a bound.
    """
    sample = ProblemSample.of([sum(tries) for tries in outcomes], [len(tries) for tries in outcomes], 0.0, 1.0)
    if not len(sample.tries):
        return (0.0, 1.0)
    (low, high), (least, most) = sample.interval(), wilson(sample.mean, float(sample.tries.sum()))
    return (min(low, least), max(high, most))


def mean_estimate(values: ArrayLike) -> Estimate:
    """Computes the mean of values from 0 to 1, one a problem, with its 95 % interval."""
    found = np.asarray(values, dtype=float).clip(0, 1)
    if not len(found):
        return Estimate(0.0, 0.0, 1.0)
    sample = ProblemSample.of(found, np.ones(len(found)), 0.0, 1.0)
    return Estimate(sample.mean, *sample.interval())


def _logit(probability: float) -> float:
    """Returns the logarithm of the odds, which is nearly linear near the quantiles."""
    return float(np.log(max(probability, 1e-300)) - np.log(max(1 - probability, 1e-300)))


def _root(function: Callable[[float], float], low: float, high: float, guess: float) -> float:
    """Finds the zero of a rising function by secants or bisection."""
    scale = high - low
    at = min(max(guess, low + 1e-3 * scale), high - 1e-3 * scale)
    before: tuple[float, float] | None = None
    for _ in range(MAX_STEPS):
        value = function(at)
        low, high = (at, high) if value < 0 else (low, at)
        following = (low + high) / 2
        if before and value != before[1]:
            secant = at - value * (at - before[0]) / (value - before[1])
            following = secant if low < secant < high else following
        elif before is None:
            following = min(max(at - 0.01 * scale * np.sign(value), low), high)
        if abs(following - at) <= TOLERANCE * scale:
            return float(following)
        before, at = (at, value), float(following)
    return at


MAX_STEPS, TOLERANCE = 100, 1e-8

_STEPS = np.linspace(0, 14, 71)
"""The grid of the integral; its ends are 1 and 600,000 times the width of the integrand's peak."""


def _probability_negative(slopes: Floats) -> float:
    """Returns the probability that a weighted sum of exponentials is at most 0.

    Inverts the moment generating function along a path of steepest descent from the saddle point, where the integrand has one
    peak and no cancellation.
    The path is a parabola, or straighter where that does not descend.
    Source: Daniels 1954, "Saddlepoint approximations in statistics", Annals of Mathematical Statistics 25.
    """
    slopes, counts = np.unique(slopes[slopes != 0], return_counts=True)
    if not len(slopes) or slopes[0] >= 0:
        return 0.0 if len(slopes) else 1.0
    if slopes[-1] <= 0:
        return 1.0
    if slopes @ counts < 0:
        return 1 - _probability_negative_of_positive_mean(-slopes, counts)
    return _probability_negative_of_positive_mean(slopes, counts)


def _probability_negative_of_positive_mean(slopes: Floats, counts: NDArray[np.int64]) -> float:
    spread = float(np.sqrt(counts @ slopes**2))
    low, high, point = 1 / float(slopes.min()), 0.0, 0.0
    for _ in range(MAX_STEPS):  # the saddle point, approximately
        rates = slopes / (1 - slopes * point)
        steepness, curvature = counts @ rates, counts @ rates**2
        low, high = (low, point) if steepness >= 0 else (point, high)
        if steepness**2 < 1e-6 * curvature:
            break
        step = point - steepness / curvature
        point = step if low < step < high else (low + high) / 2
    point = min(point, -0.5 / spread)  # the pole at 0 stays away from the path
    rates = slopes / (1 - slopes * point)
    width, bend = 1 / float(np.sqrt(counts @ rates**2)), float(counts @ rates**3 / (counts @ rates**2)) / 3
    heights = width * np.sinh(_STEPS)
    for straightened in (1.0, 0.25, 0.0625, 0.0):
        turn = straightened * bend
        path = point + turn * heights**2 + 1j * heights
        logs = -(counts @ np.log(1 - slopes[:, None] * path)) - np.log(-path)
        if np.all(np.diff(logs.real) <= ROUNDING):  # else the path passes near the pole of many equal slopes; a straight one never does
            break
    moves = (2 * turn * heights + 1j) * width * np.cosh(_STEPS) * (_STEPS[1] - _STEPS[0])
    moves[0] /= 2
    return float(np.clip((np.exp(logs) @ moves).imag / np.pi, 0, 1))


ROUNDING = 1e-9
"""A rise of the integrand's logarithm that is rounding."""
