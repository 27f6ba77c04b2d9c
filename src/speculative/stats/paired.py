"""Two methods on the same problems: by how much the one is right more often, and whether that may be chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil, log2

import numpy as np
from msgspec import Struct
from numpy.typing import ArrayLike, NDArray

from speculative.runs.sample import Sample
from speculative.stats.cost import Prices, View, costs
from speculative.stats.intervals import Z95
from speculative.trace.usage import big_model_share, total_usage

LEAST_P = 1e-12
"""No p-value is told as less: the sum over the patterns is not more exact."""


class Contrast(Struct, frozen=True):
    """`label` against `against`: their chains on the same problems with the same seeds (`paired`).

    `difference` is the accuracy of the one less that of the other, with its 95 % interval (`paired_interval`) and the p-value of no
    difference (`sign_flip`). `share_kept`: the big model's share of kept tokens, of both. `costs`: what the one costs over what the
    other one costs, in each price view that has a price for both.
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


def contrast(ours: Sequence[Sample], theirs: Sequence[Sample], prices: Prices | None = None) -> Contrast | None:
    """How the samples of a method compare with those of another on the same task; None if they have no problem in common."""
    pairs = paired(ours, theirs)
    if not pairs:
        return None
    won: dict[str, int] = {}
    tries: dict[str, int] = {}
    for our, their in pairs:
        won[our.problem] = won.get(our.problem, 0) + our.correct - their.correct
        tries[our.problem] = tries.get(our.problem, 0) + 1
    lead, tried = np.array(list(won.values())), np.array(list(tries.values()))
    p = sign_flip(lead)
    (own, other), shares = ([costs([pair[side] for pair in pairs], prices) for side in (0, 1)], kept_shares(pairs))
    return Contrast(
        task=ours[0].task,
        label=ours[0].label,
        against=theirs[0].label,
        problems=len(tried),
        chains=len(pairs),
        difference=float(lead.sum() / tried.sum()),
        interval=paired_interval(lead, tried, p),
        p=p,
        share_kept=shares,
        costs={view: own[view].chain / other[view].chain for view in own if view in other and other[view].chain},
    )


def paired(ours: Sequence[Sample], theirs: Sequence[Sample]) -> list[tuple[Sample, Sample]]:
    """Of each problem the chains of both with the same epoch and seed; where they have none in common, as many of both in that order."""
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
    """The big model's share of kept tokens, of both sides."""
    one, other = (big_model_share(total_usage(pair[side].usage for pair in pairs), "kept_tokens") for side in (0, 1))
    return one, other


def sign_flip(lead: ArrayLike) -> float:
    """The two-sided p-value of the exact sign-flip (paired permutation) test with problems as clusters.

    `lead`: for each problem, by how many tries the one method was right more often (whole numbers). Were there no difference, each
    could as well have the other sign: p is the part of all 2^n sign patterns whose sum is as far from 0. So it holds its rate
    however few the problems are; with one try a problem it is McNemar's exact test. All patterns are counted through the
    characteristic function of the sum, a product of cosines, in n log n. Sources: Fisher 1935, "The design of experiments", §21;
    Pagano and Tritchler 1983, "On obtaining permutation distributions in polynomial time", JASA 78.
    """
    leads = np.asarray(lead, dtype=np.int64)
    sizes, counts = np.unique(np.abs(leads[leads != 0]), return_counts=True)
    reach, seen = int(sizes @ counts), abs(int(leads.sum()))
    if not seen:
        return 1.0
    points = 1 << ceil(log2(2 * reach + 1))
    angles = 2 * np.pi / points * np.arange(points // 2 + 1)
    transform = np.ones(len(angles))
    for size, count in zip(sizes.tolist(), counts.tolist(), strict=True):
        transform *= np.cos(angles * size) ** count
    chances: NDArray[np.float64] = np.fft.irfft(transform, points)
    return min(1.0, max(LEAST_P, 2 * float(chances[seen : reach + 1].sum())))


def paired_interval(lead: ArrayLike, tries: ArrayLike, p: float) -> tuple[float, float]:
    """A 95 % interval of the difference in accuracy, with problems as clusters; of each problem its lead and its tries.

    Agresti and Min's interval for matched pairs, with clusters for pairs: two problems are added, one without a lead, and half a
    one of each sign with the lead that one try makes; so that few problems, or none that differ, do not look certain. The variance
    is the one that the sign-flip test has at each bound, and 0 is left in when the test's `p` is above 0.05.
    Source: Agresti and Min 2005, "Simple improved confidence intervals for comparing matched proportions", Statistics in Medicine 24.
    """
    leads, tried = np.asarray(lead, dtype=float), np.asarray(tries, dtype=float)
    each = float(tried.mean())
    n, seen = len(leads) + 2, float(leads.sum() / tried.sum())
    if n <= Z95**2:
        return (-1.0, 1.0)
    mean = seen * len(leads) / n
    spread = float(((leads - mean * tried) ** 2).sum()) / each**2 + 2 * mean**2 + 1 / each
    half = Z95 * float(np.sqrt(spread / n / (n - Z95**2)))
    low, high = max(-1.0, min(mean - half, seen)), min(1.0, max(mean + half, seen))
    return (min(low, 0.0), max(high, 0.0)) if p > 0.05 else (low, high)
