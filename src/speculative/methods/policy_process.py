"""Solves the decision process that the table of `policy` describes.

The state of a chain is the number of judged steps and the lowest score of a kept step, by bins. After each decision the chain ends, or a
step with a new score follows. A kept step can lower the lowest score, a step of big cannot. The chance of a right answer depends on the
lowest score at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from speculative.methods.policy_table import PolicyTable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

PRIOR = 5.0
"""Steps of the pooled distribution of scores that each state is given."""

ROUNDS = 400
"""Iterations until the value of the last step number, its own successor, converges."""

ALWAYS = 1e9
"""A threshold that no score reaches; every score reaches its negative."""


@lru_cache(64)
def thresholds(table: PolicyTable, price: float) -> list[list[float]]:
    """Returns the score that a step needs to stay.

    The rows are by number of the step, the columns by bin of the lowest kept score.
    """
    import numpy as np  # here, since the list of methods imports this module

    bins, cost = table.bins, price * table.big_tokens
    counts = np.array(table.scores, dtype=float)
    pooled = (counts.sum(axis=0) + 1) / (counts.sum() + bins)
    chances = (counts + PRIOR * pooled) / (counts.sum(axis=1, keepdims=True) + PRIOR)
    ends = [(ended + 1) / (came + 2) for ended, came in table.ends]
    right = _rising([((good + 1) / (chains + 2), chains + 2) for good, chains in table.right])
    after = np.minimum.outer(np.arange(bins + 1), np.arange(bins))  # the lowest score with this step kept

    def value_of(following: Floats, end: float) -> Floats:
        best = np.maximum(following[after], following[:, None] - cost)
        return end * right + (1 - end) * (chances * best).sum(axis=1)

    values = [right]
    for _ in range(ROUNDS):  # the last step number is its own successor
        values[0] = value_of(values[0], ends[-1])
    for end in reversed(ends[:-1]):
        values.insert(0, value_of(values[0], end))
    lines = (-ALWAYS, *table.edges, ALWAYS)
    found: list[list[float]] = []
    for number in range(len(values)):
        following = values[min(number + 1, len(values) - 1)]
        keeps = following[after] >= following[:, None] - cost
        first = [next((place for place in range(bins) if row[place:].all()), bins) for row in keeps]
        found.append([lines[place] for place in first])
    return found


class History:
    """The judged steps of one chain, and the threshold of its next one."""

    def __init__(self, table: PolicyTable, price: float) -> None:
        self._table, self._needed = table, thresholds(table, price)
        self._number, self._lowest = 0, table.bins

    @property
    def threshold(self) -> float:
        """The score that the next step needs to stay."""
        return self._needed[min(self._number, len(self._needed) - 1)][self._lowest]

    def add(self, score: float, *, kept: bool) -> None:
        """Adds a step with its score."""
        self._number += 1
        if kept:
            self._lowest = min(self._lowest, self._table.bin_of(score))


def _rising(rows: Sequence[tuple[float, float]]) -> Floats:
    """Returns the nearest values that do not fall: an isotonic regression.

    It pools adjacent values that fall, by their weights.
    """
    import numpy as np  # here, since the list of methods imports this module

    pools: list[list[float]] = []
    for value, weight in rows:
        pools.append([value, weight, 1])
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            value, weight, size = pools.pop()
            before = pools[-1]
            total = before[1] + weight
            pools[-1] = [(before[0] * before[1] + value * weight) / total, total, before[2] + size]
    return np.array([value for value, _, size in pools for _ in range(int(size))])
