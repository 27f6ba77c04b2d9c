"""What several tries of each problem come to: pass@k and maj@k, over all choices of k of the tries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from math import comb

import numpy as np
from numpy.typing import NDArray

from speculative.stats.intervals import Estimate, mean_estimate

KS = (2, 4, 8, 16, 32, 64)
"""How many tries pass@k and maj@k are told for, as far as the epochs allow."""

Try = tuple[str | None, bool]
"""What a majority counts the answer by (None for none), and whether it is right."""


def allowed(tries: Iterable[int]) -> list[int]:
    """The k of `KS` that every problem has tries enough for."""
    fewest = min(tries, default=0)
    return [k for k in KS if k <= fewest]


def pass_at(tried: Sequence[Sequence[bool]]) -> dict[int, Estimate]:
    """pass@k for each k that the tries allow, one inner sequence a problem: the chance that one of k tries is right.

    The mean over problems of 1 - C(n - c, k) / C(n, k), with c of n tries right, which is unbiased. The interval takes problems as
    clusters (`stats.mean_estimate`). Source: Chen et al. 2021, "Evaluating large language models trained on code",
    arXiv 2107.03374, formula 1; the harness of SplitReason calls it cov@k, and takes the first k tries.
    """
    n = np.array([len(tries) for tries in tried])
    right = np.array([sum(tries) for tries in tried])
    found: dict[int, Estimate] = {}
    for k in allowed(n.tolist()):
        draws = np.arange(k)[:, None]
        none = np.clip(n - right - draws, 0, None) / (n - draws)
        found[k] = mean_estimate(1 - none.prod(axis=0))
    return found


def maj_at(tried: Sequence[Sequence[Try]]) -> dict[int, Estimate]:
    """maj@k for each k that the tries allow, one inner sequence a problem: the chance that the most common answer of k tries is right.

    The mean over problems of `majority`; the interval takes problems as clusters. Source: Wang et al. 2022,
    "Self-consistency improves chain of thought reasoning in language models", arXiv 2203.11171.
    """
    ks = tuple(allowed(map(len, tried)))
    chances = np.array([majority(tries, ks) for tries in tried]).reshape(len(tried), len(ks))
    return {k: mean_estimate(chances[:, place]) for place, k in enumerate(ks)}


def majority(tries: Sequence[Try], ks: Sequence[int]) -> list[float]:
    """For each k, the chance that a vote among k of the tries, all choices alike, comes out right.

    Answers that tie for the most votes win equally often. No answer is no vote: it never wins, and k tries without any answer
    are wrong. If tries that are counted as one answer differ in being right, the answer is right in their proportion.
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
    """The chance for each k that an answer with `own` votes wins against answers with so many votes, ties split evenly.

    Counts the choices in which it has t votes and no other one has more, for all t at once that another one can reach:
    `ways[t - 1, m, s]` are those of s votes of the others of which m tie with it. Above that, every choice wins.
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
    """The ways once another answer with `count` votes may have s of them: fewer than t, or t, which ties."""
    joined = np.zeros_like(ways)
    for s in range(min(count, len(ways)) + 1):
        chosen, room = comb(count, s), ways.shape[2] - s
        joined[s:, :, s:] += chosen * ways[s:, :, :room]
        if s:
            joined[s - 1, 1:, s:] += chosen * ways[s - 1, :-1, :room]
    return joined
