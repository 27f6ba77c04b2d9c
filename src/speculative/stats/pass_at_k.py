"""Computes pass@k and maj@k over all choices of k tries of a problem."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from math import comb

import numpy as np
from numpy.typing import NDArray

from speculative.stats.intervals import Estimate, mean_estimate

KS = (2, 4, 8, 16, 32, 64)
"""The values of k; those above the number of tries are left out."""

Attempt = tuple[str | None, bool]
"""The vote of a try (None without an answer), and True if its answer is right."""


def available_ks(tries: Iterable[int]) -> list[int]:
    """Returns the k of `KS` for which every problem has enough tries."""
    fewest = min(tries, default=0)
    return [k for k in KS if k <= fewest]


def pass_at(tried: Sequence[Sequence[bool]]) -> dict[int, Estimate]:
    """Computes pass@k, the chance that one of k tries is right.

    It is the mean over problems of 1 - C(n - c, k) / C(n, k), with c of n tries right, which is unbiased. The interval takes problems as
    clusters (`intervals.mean_estimate`). Source: Chen et al. 2021, "Evaluating large language models trained on code",
    arXiv 2107.03374, formula 1; SplitReason's harness calls it cov@k and uses the first k tries.
    """
    n = np.array([len(tries) for tries in tried])
    right = np.array([sum(tries) for tries in tried])
    found: dict[int, Estimate] = {}
    for k in available_ks(n.tolist()):
        draws = np.arange(k)[:, None]
        none = np.clip(n - right - draws, 0, None) / (n - draws)
        found[k] = mean_estimate(1 - none.prod(axis=0))
    return found


def maj_at(tried: Sequence[Sequence[Attempt]]) -> dict[int, Estimate]:
    """Computes maj@k, the chance that the majority of k tries is right.

    It is the mean over problems of `majority`; the interval takes problems as clusters. Source: Wang et al. 2022,
    "Self-consistency improves chain of thought reasoning in language models", arXiv 2203.11171.
    """
    ks = tuple(available_ks(map(len, tried)))
    chances = np.array([majority(tries, ks) for tries in tried]).reshape(len(tried), len(ks))
    return {k: mean_estimate(chances[:, place]) for place, k in enumerate(ks)}


def majority(tries: Sequence[Attempt], ks: Sequence[int]) -> list[float]:
    """Returns for each k the chance that the majority is right.

    Answers with equally many votes win equally often. A try without an answer has no vote, and k tries without an answer are wrong.
    An answer that is right in some tries only is right in their proportion.
    """
    votes = Counter(vote for vote, _ in tries if vote is not None)
    rights = Counter(vote for vote, right in tries if vote is not None and right)
    blank = len(tries) - votes.total()
    chances = np.zeros(len(ks))
    for vote, right in rights.items():
        others = tuple(sorted(count for other, count in votes.items() if other != vote))
        chances += right / votes[vote] * np.array(_wins(votes[vote], others, blank, tuple(ks)))
    return chances.clip(0, 1).tolist()


@lru_cache(maxsize=1 << 16)
def _wins(own: int, others: tuple[int, ...], blank: int, ks: tuple[int, ...]) -> tuple[float, ...]:
    """Returns for each k the chance that an answer wins against the others.

    It counts the choices in which the answer has t votes and no other has more. `ways[t - 1, m, s]` is the number of choices of s
    votes of the others with m ties. With more votes than any other can have, every choice wins.
    """
    most, rest, n = max(ks, default=0), sum(others) + blank, own + sum(others) + blank
    reached = min(own, most, max(others, default=0))
    ways = np.zeros((reached, min(len(others), most) + 1, most + 1))
    ways[:, 0, : min(blank, most) + 1] = [comb(blank, s) for s in range(min(blank, most) + 1)]
    for count in others:
        ways = _joined(ways, count)
    shared = np.einsum("tms,m->ts", ways, 1 / np.arange(1, ways.shape[1] + 1))

    def wins(votes: int, k: int) -> float:
        return comb(own, votes) * (float(shared[votes - 1, k - votes]) if votes <= reached else comb(rest, k - votes))

    return tuple(sum(wins(votes, k) for votes in range(1, min(own, k) + 1)) / comb(n, k) for k in ks)


def _joined(ways: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Adds another answer with `count` votes."""
    joined = np.zeros_like(ways)
    for s in range(min(count, len(ways)) + 1):
        chosen, room = comb(count, s), ways.shape[2] - s
        joined[s:, :, s:] += chosen * ways[s:, :, :room]
        if s:
            joined[s - 1, 1:, s:] += chosen * ways[s - 1, :-1, :room]
    return joined
