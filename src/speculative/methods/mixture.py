"""Fits a mixture of two normal distributions to values from 0 to 1."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct, structs

LEAST_VALUES = 10
"""Fewer values give no mixture."""

LEAST_SD = 1e-4
"""The smallest standard deviation, so that equal values do not make a distribution of no width."""

ROUNDS = 200


class Mixture(Struct, frozen=True):
    """Two normal distributions of confidence.

    `low_share` of the values are of the one with the lower mean.
    """

    low_mean: float
    low_sd: float
    high_mean: float
    high_sd: float
    low_share: float

    def rounded(self) -> dict[str, float]:
        """Returns the five numbers with four significant digits."""
        return {name: float(f"{value:.4g}") for name, value in structs.asdict(self).items()}


def fit_mixture(values: Sequence[float]) -> Mixture | None:
    """Fits the mixture by expectation maximization.

    It begins with the lower and the upper half of the values.

    Returns None for fewer than ten values, or equal ones. The result depends on the values alone.
    """
    import numpy as np  # here, since the list of methods imports this module

    found = np.sort(np.asarray(values, dtype=float))
    if len(found) < LEAST_VALUES or found[0] == found[-1]:
        return None
    half = len(found) // 2
    means = np.array([found[:half].mean(), found[half:].mean()])
    sds = np.maximum([found[:half].std(), found[half:].std()], LEAST_SD)
    shares = np.array([0.5, 0.5])
    for _ in range(ROUNDS):
        logs = -((found[:, None] - means) ** 2) / (2 * sds**2) - np.log(sds) + np.log(shares)
        weights = np.exp(logs - logs.max(axis=1, keepdims=True))
        weights /= weights.sum(axis=1, keepdims=True)
        sizes = weights.sum(axis=0).clip(1e-9)
        means = (weights * found[:, None]).sum(axis=0) / sizes
        sds = np.maximum(np.sqrt((weights * (found[:, None] - means) ** 2).sum(axis=0) / sizes), LEAST_SD)
        shares = (sizes / len(found)).clip(0.01, 0.99)
        shares /= shares.sum()
    low, high = np.argsort(means)
    return Mixture(float(means[low]), float(sds[low]), float(means[high]), float(sds[high]), float(shares[low]))
