"""Summarizes the samples of a method: one row of a comparison."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from math import gcd
from typing import Any

from msgspec import Struct, structs

from speculative.runs.sample import Sample
from speculative.stats.cost import Cost, View, costs
from speculative.stats.intervals import Estimate, accuracy_interval
from speculative.stats.paired import Contrast, contrast, kept_shares, paired
from speculative.stats.pass_at_k import Attempt, maj_at, pass_at
from speculative.stats.prices import Prices
from speculative.trace.usage import Usage, all_roles, big_model_share, total_usage

BASELINE = "big_only"
CHANCE = "random_switch"
MAX_CONCURRENCY_RATIO = 2
"""The wall times of two methods are compared only if their mean concurrencies differ at most by this factor."""


class MethodSummary(Struct, frozen=True):
    """The summary of a method's samples on a task.

    Attributes:
        accuracy: the share of the chains whose answer is right.
        interval: its 95 % interval (`intervals.accuracy_interval`).
        share_kept: the big model's share of the kept tokens.
        share_spent: the big model's share of the produced tokens.
        seconds: the mean wall time of a chain.
        speed: the mean seconds of `big_only` over the method's, on the chains that both have; null without a `big_only` of the
            same settings, and if the mean concurrencies differ by more than a factor of two.
        usage: the sum over chains, by role.
        pass_at: pass@k by k, for k of 2, 4, 8, … 64 as far as there are tries.
        maj_at: maj@k by k.
        costs: the costs by price view (`stats.cost`).
        contrasts: this method against `big_only` and against each of its controls.
        control_of: the label of the method that this one is a control of.
        degraded: the number of chains that lost a server and were finished by the other model.
        settings: the settings of every chain (`Sample.settings`).
        problem_set: a hash of the problems; rows with another hash are on other problems.
        folder: the run folder, in a report.
        length: the mean number of kept tokens of a chain and its answer.
        idle_roles: roles that the method uses and that did nothing in all of its chains but answer.
        mean_concurrency: the mean number of chains that shared the engines; each ballot of a vote counts as one.
    """

    task: str
    label: str
    method: str
    params: dict[str, Any]
    problems: int
    epochs: int
    chains: int
    accuracy: float
    interval: tuple[float, float]
    share_kept: float | None
    share_spent: float | None
    seconds: float
    speed: float | None
    finish_reasons: dict[str, int]
    usage: dict[str, Usage]
    pass_at: dict[int, Estimate]
    maj_at: dict[int, Estimate]
    costs: dict[View, Cost]
    contrasts: list[Contrast]
    control_of: str | None
    degraded: int = 0
    settings: dict[str, Any] = {}
    problem_set: str = ""
    folder: str = ""
    mean_concurrency: float = 1
    length: float = 0
    idle_roles: list[str] = []


Folders = Mapping[tuple[str, str], str]
"""The run folder of the samples by task and label."""


def summarize(
    samples: Sequence[Sample], labels: Sequence[str] = (), prices: Prices | None = None, folders: Folders | None = None
) -> list[MethodSummary]:
    """Returns a summary for each task and method; the controls of a method follow it.

    Args:
        samples: graded chains of any tasks and methods.
        labels: the order of the methods; others follow in the order of their samples.
        prices: the price views; the bundled pair's unless given.
        folders: the run folder of each task and label.
    """
    return [summary for task in by_task(samples).values() for summary in _summarize_task(task, labels, prices, folders or {})]


def problem_set(problems: Iterable[str]) -> str:
    """Returns a hash of problems.

    It does not depend on the number of tries, if all problems have equally many.
    """
    tries = Counter(problems)
    least = gcd(*tries.values())
    return blake2b(repr(sorted((problem, times // least) for problem, times in tries.items())).encode(), digest_size=5).hexdigest()


def by_task(samples: Sequence[Sample]) -> dict[str, dict[str, list[Sample]]]:
    """Groups samples by task and label."""
    found: dict[str, dict[str, list[Sample]]] = {}
    for sample in samples:
        found.setdefault(sample.task, {}).setdefault(sample.label, []).append(sample)
    return found


def _summarize_task(found: dict[str, list[Sample]], labels: Sequence[str], prices: Prices | None, folders: Folders) -> list[MethodSummary]:
    order = {label: place for place, label in enumerate(labels)}
    methods = sorted((label for label in found if not found[label][0].control_of), key=lambda label: order.get(label, len(order)))
    baselines = [found[label] for label in methods if found[label][0].method == BASELINE]
    rows: list[MethodSummary] = []
    for label in methods:
        baseline = _baseline(found[label], baselines, folders)
        controls = closest_controls(found[label], [found[control] for control in found if found[control][0].control_of == label])
        against = [theirs for theirs in (baseline, *controls) if theirs and theirs is not found[label]]
        contrasts = [made for theirs in against if (made := contrast(found[label], theirs, prices))]
        made = [_summary(found[label], baseline, contrasts, prices), *(_summary(control, baseline, [], prices) for control in controls)]
        rows += [structs.replace(row, folder=_folder(found[row.label], folders)) for row in made]
    return rows


def _folder(samples: Sequence[Sample], folders: Folders) -> str:
    return folders.get((samples[0].task, samples[0].label), "")


def _baseline(samples: Sequence[Sample], baselines: Sequence[list[Sample]], folders: Folders) -> list[Sample]:
    """Returns the baseline of a method: first by equal settings, then by equal folder."""

    def unlike(theirs: Sequence[Sample]) -> tuple[bool, bool]:
        return theirs[0].settings != samples[0].settings, _folder(theirs, folders) != _folder(samples, folders)

    return min(baselines, key=unlike, default=list[Sample]())


def closest_controls(samples: Sequence[Sample], controls: Sequence[list[Sample]]) -> list[list[Sample]]:
    """Returns the controls of a method with the closest `random_switch`.

    A run with more chains in common with the method goes before one with fewer. The exception are several closer runs that together
    have all of its chains: a method with several seeds has a run for each seed.
    """
    runs: list[ControlRun] = []
    for control in controls:
        if control[0].method == CHANCE:
            pairs = paired(samples, control)
            runs.append(ControlRun(control, {(our.problem, our.epoch, our.seed) for our, _ in pairs}, _distance(pairs)))
    return [run.samples for run in _closest(runs)] + [control for control in controls if control[0].method != CHANCE]


class ControlRun(Struct, frozen=True):
    """A run of `random_switch` and the distance of its kept share."""

    samples: list[Sample]
    chains: set[tuple[str, int, int]]
    distance: float


def _closest(runs: Sequence[ControlRun]) -> list[ControlRun]:
    best, covered = list[ControlRun](), set[tuple[str, int, int]]()
    for run in sorted(runs, key=lambda one: (-len(one.chains), one.distance)):
        if run.chains & covered:
            continue
        covered |= run.chains
        parts = _closest([other for other in runs if other.chains < run.chains])
        whole = set[tuple[str, int, int]]().union(*(part.chains for part in parts)) == run.chains
        best += parts if parts and whole and all(part.distance < run.distance for part in parts) else [run]
    return best


def _distance(pairs: Sequence[tuple[Sample, Sample]]) -> float:
    ours, theirs = kept_shares(pairs)
    return 1.0 if ours is None or theirs is None else abs(ours - theirs)


def _summary(samples: Sequence[Sample], baseline: Sequence[Sample], contrasts: list[Contrast], prices: Prices | None) -> MethodSummary:
    attempts: dict[str, list[Attempt]] = {}
    for sample in samples:
        attempts.setdefault(sample.problem, []).append((sample.vote, sample.correct))
    outcomes = [[correct for _, correct in tried] for tried in attempts.values()]
    usage = total_usage(sample.usage for sample in samples)
    reasons = [sample.finish_reason for sample in samples]
    first = samples[0]
    return MethodSummary(
        task=first.task,
        label=first.label,
        method=first.method,
        params=first.params,
        problems=len(outcomes),
        epochs=max(map(len, outcomes)),
        chains=len(samples),
        accuracy=sum(sample.correct for sample in samples) / len(samples),
        interval=accuracy_interval(outcomes),
        share_kept=big_model_share(usage, "kept_tokens"),
        share_spent=big_model_share(usage, "produced_tokens"),
        seconds=round(sum(sample.seconds for sample in samples) / len(samples), 6),
        speed=_speed(samples, baseline),
        finish_reasons={reason: reasons.count(reason) for reason in sorted(set(reasons))},
        usage=usage,
        pass_at=pass_at(outcomes),
        maj_at=maj_at(list(attempts.values())),
        costs=costs(samples, prices),
        contrasts=contrasts,
        control_of=first.control_of,
        degraded=sum(sample.degraded is not None for sample in samples),
        settings=first.settings,
        mean_concurrency=_mean_concurrency(samples),
        problem_set=problem_set(sample.problem for sample in samples),
        length=round(all_roles(usage, "kept_tokens") / len(samples), 3),
        idle_roles=sorted(set[str](first.idle_roles).intersection(*(sample.idle_roles for sample in samples))),
    )


def similar_concurrency(one: float, other: float) -> bool:
    """Returns True if two mean concurrencies allow comparing wall times."""
    return 1 / MAX_CONCURRENCY_RATIO <= one / other <= MAX_CONCURRENCY_RATIO


def _mean_concurrency(samples: Sequence[Sample]) -> float:
    return round(sum(sample.mean_concurrency for sample in samples) / len(samples), 3)


def _speed(samples: Sequence[Sample], baseline: Sequence[Sample]) -> float | None:
    if not baseline or baseline[0].settings != samples[0].settings:
        return None  # seconds on other engines, or with another budget, cannot be compared
    if not similar_concurrency(_mean_concurrency(samples), _mean_concurrency(baseline)):
        return None
    pairs = paired(samples, baseline)
    spent = sum(own.seconds for own, _ in pairs)
    return sum(theirs.seconds for _, theirs in pairs) / spent if spent else None
