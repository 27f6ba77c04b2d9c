"""Compares two methods on the same problems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import ArrayLike

from speculative.runs.sample import Sample
from speculative.stats.cost import Prices, View, costs
from speculative.stats.intervals import MIN_P, ProblemSample
from speculative.trace.usage import big_model_share, total_usage


class Contrast(Struct, frozen=True):
    """The comparison of `label` with `against` on common problems and seeds.

    Attributes:
        difference: the accuracy of `label` minus that of `against`.
        interval: its 95 % interval, for all similar problems (`stats.ProblemSample`).
        p: the p-value of no difference, for all similar problems.
        share_kept: the big model's shares of kept tokens.
        costs: the cost of `label` over that of `against`, by price view.
        p_here: the p-value of no difference on these very problems with other seeds (`exact_p`).
    """

    task: str
    label: str
    against: str
    problems: int
    chains: int
    difference: float
    interval: tuple[float, float]
    p: float
    share_kept: tuple[float | None, float | None]
    costs: dict[View, float]
    p_here: float | None = None


def contrast(ours: Sequence[Sample], theirs: Sequence[Sample], prices: Prices | None = None) -> Contrast | None:
    """Compares the samples of two methods; None without a common problem."""
    pairs = paired(ours, theirs)
    if not pairs:
        return None
    leads: dict[str, list[int]] = {}
    for our, their in pairs:
        leads.setdefault(our.problem, []).append(our.correct - their.correct)
    problems = ProblemSample.of([sum(lead) for lead in leads.values()], [len(lead) for lead in leads.values()], -1, 1)
    (own, other), shares = ([costs([pair[side] for pair in pairs], prices) for side in (0, 1)], kept_shares(pairs))
    return Contrast(
        task=ours[0].task,
        label=ours[0].label,
        against=theirs[0].label,
        problems=len(leads),
        chains=len(pairs),
        difference=problems.mean,
        interval=problems.interval(),
        p=problems.p_value(),
        share_kept=shares,
        costs={view: own[view].chain / other[view].chain for view in own if view in other and other[view].chain},
        p_here=exact_p([lead for tries in leads.values() for lead in tries]),
    )


def paired(ours: Sequence[Sample], theirs: Sequence[Sample]) -> list[tuple[Sample, Sample]]:
    """Pairs the chains of each problem by epoch and seed.

    Without common ones they are paired in that order.
    """
    found: dict[str, tuple[dict[Place, Sample], dict[Place, Sample]]] = {}
    for side, samples in enumerate((ours, theirs)):
        for sample in samples:
            found.setdefault(sample.problem, ({}, {}))[side][sample.epoch, sample.seed] = sample
    return [pair for one, other in found.values() for pair in _pairs(one, other)]


Place = tuple[int, int]
"""Epoch and seed."""


def _pairs(one: Mapping[Place, Sample], other: Mapping[Place, Sample]) -> list[tuple[Sample, Sample]]:
    both = sorted(one.keys() & other.keys())
    places = zip(both, both, strict=True) if both else zip(sorted(one), sorted(other), strict=False)
    return [(one[mine], other[yours]) for mine, yours in places]


def kept_shares(pairs: Sequence[tuple[Sample, Sample]]) -> tuple[float | None, float | None]:
    """Returns the big model's share of kept tokens for both sides."""
    one, other = (big_model_share(total_usage(pair[side].usage for pair in pairs), "kept_tokens") for side in (0, 1))
    return one, other


def exact_p(leads: ArrayLike) -> float:
    """Returns the two-sided p-value of McNemar's exact test.

    `leads`: 1, 0 or -1 for each pair of tries, by which of the two is right. The test is about these problems: without a difference,
    p is at most 0.05 in at most 5 of 100 repetitions with other seeds.
    Source: McNemar 1947, "Note on the sampling error of the difference between correlated proportions", Psychometrika 12.
    """
    pairs = np.asarray(leads, dtype=np.int64)
    won, lost = int((pairs > 0).sum()), int((pairs < 0).sum())
    differing, fewer = won + lost, min(won, lost)
    if won == lost:
        return 1.0
    steps = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, differing + 1)))])  # logarithms of factorials
    few = np.arange(fewer + 1)
    chances = np.exp(steps[differing] - steps[few] - steps[differing - few] - differing * np.log(2))
    return min(1.0, max(MIN_P, 2 * float(chances.sum())))
