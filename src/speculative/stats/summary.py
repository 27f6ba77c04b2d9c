"""What a method's samples come to: one row of every comparison."""

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
from speculative.stats.pass_at_k import Try, maj_at, pass_at
from speculative.stats.prices import Prices
from speculative.trace.usage import Usage, big_model_share, total_usage

BASELINE = "big_only"
CHANCE = "random_switch"
CROWDED = 2
"""How many times as many chains may share the engines with the one method as with the other, where their seconds are compared."""


class Standing(Struct, frozen=True):
    """What the samples of a method on a task come to. `usage` is the sum over chains; `seconds` is the mean wall time of a chain.

    `accuracy` is the part of the chains whose answer is right, `interval` its 95 % interval (`stats.accuracy_interval`). `pass_at` and
    `maj_at`: pass@k and maj@k by k, for those of 2, 4, 8 to 64 that the epochs allow (`repeats`). `costs`: by price view (`cost`).
    `contrasts`: this method against `big_only`, and against each of its controls. `control_of`: the label of the method whose
    control it is. `share_kept` and `share_spent`: the big model's share of kept and of produced tokens. `speed`: the mean seconds of
    `big_only` over the method's, on the chains that both have of each problem; null without `big_only` of the same settings, and where
    one of the two had to share the engines with more than twice as many chains.
    `degraded`: chains that lost a server on the way, and were finished by the other model alone. `settings`: those of every chain
    (`Sample.settings`). `problem_set`: what the problems are known by (`problem_set`); rows with another one are on other problems.
    `folder`: the run folder, in a report. `at_once`: how many like it had the engines at once, in the mean: beside a vote each of
    its ballots is one, and a vote of 8 beside another is one of 2.
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
    at_once: float = 1


Folders = Mapping[tuple[str, str], str]
"""Which run folder the samples of a task and label are from."""


def standings(
    samples: Sequence[Sample], labels: Sequence[str] = (), prices: Prices | None = None, folders: Folders | None = None
) -> list[Standing]:
    """One standing for each task and method that has samples; the methods in the order of `labels`, else as they come.

    A method's controls follow it. Without `prices` the bundled pair's own count.
    """
    return [standing for task in tasks(samples).values() for standing in _of_task(task, labels, prices, folders or {})]


def problem_set(problems: Iterable[str]) -> str:
    """A hash of the problems of chains: the same for the same problems, if each was tried equally often, however often that is."""
    tries = Counter(problems)
    least = gcd(*tries.values())
    return blake2b(repr(sorted((problem, times // least) for problem, times in tries.items())).encode(), digest_size=5).hexdigest()


def tasks(samples: Sequence[Sample]) -> dict[str, dict[str, list[Sample]]]:
    """The samples by task and label, as they come."""
    found: dict[str, dict[str, list[Sample]]] = {}
    for sample in samples:
        found.setdefault(sample.task, {}).setdefault(sample.label, []).append(sample)
    return found


def _of_task(found: dict[str, list[Sample]], labels: Sequence[str], prices: Prices | None, folders: Folders) -> list[Standing]:
    order = {label: place for place, label in enumerate(labels)}
    rivals = sorted((label for label in found if not found[label][0].control_of), key=lambda label: order.get(label, len(order)))
    baselines = [found[label] for label in rivals if found[label][0].method == BASELINE]
    rows: list[Standing] = []
    for label in rivals:
        baseline = _baseline(found[label], baselines, folders)
        controls = settled(found[label], [found[control] for control in found if found[control][0].control_of == label])
        against = [theirs for theirs in (baseline, *controls) if theirs and theirs is not found[label]]
        contrasts = [made for theirs in against if (made := contrast(found[label], theirs, prices))]
        made = [_standing(found[label], baseline, contrasts, prices), *(_standing(control, baseline, [], prices) for control in controls)]
        rows += [structs.replace(row, folder=_folder(found[row.label], folders)) for row in made]
    return rows


def _folder(samples: Sequence[Sample], folders: Folders) -> str:
    return folders.get((samples[0].task, samples[0].label), "")


def _baseline(samples: Sequence[Sample], baselines: Sequence[list[Sample]], folders: Folders) -> list[Sample]:
    """What a method is held against: the one with its own settings, of those the one in its own folder, if there is one."""

    def unlike(theirs: Sequence[Sample]) -> tuple[bool, bool]:
        return theirs[0].settings != samples[0].settings, _folder(theirs, folders) != _folder(samples, folders)

    return min(baselines, key=unlike, default=list[Sample]())


def settled(samples: Sequence[Sample], controls: Sequence[list[Sample]]) -> list[list[Sample]]:
    """The controls of a method, without the tries of `random_switch` whose kept share came less near to the method's own.

    A try that has fewer chains in common with the method counts less than any that has more, unless several such, each nearer, make up
    for all of its chains: there are several seeds, and each has sought a share of its own.
    """
    tries: list[Tried] = []
    for control in controls:
        if control[0].method == CHANCE:
            pairs = paired(samples, control)
            tries.append(Tried(control, {(our.problem, our.epoch, our.seed) for our, _ in pairs}, _off(pairs)))
    return [tried.control for tried in _nearest(tries)] + [control for control in controls if control[0].method != CHANCE]


class Tried(Struct, frozen=True):
    """A try of `random_switch`: which of the method's chains it met, and how far its kept share is off there."""

    control: list[Sample]
    met: set[tuple[str, int, int]]
    off: float


def _nearest(tries: Sequence[Tried]) -> list[Tried]:
    best, covered = list[Tried](), set[tuple[str, int, int]]()
    for tried in sorted(tries, key=lambda one: (-len(one.met), one.off)):
        if tried.met & covered:
            continue
        covered |= tried.met
        parts = _nearest([other for other in tries if other.met < tried.met])
        whole = set[tuple[str, int, int]]().union(*(part.met for part in parts)) == tried.met
        best += parts if parts and whole and all(part.off < tried.off for part in parts) else [tried]
    return best


def _off(pairs: Sequence[tuple[Sample, Sample]]) -> float:
    ours, theirs = kept_shares(pairs)
    return 1.0 if ours is None or theirs is None else abs(ours - theirs)


def _standing(samples: Sequence[Sample], baseline: Sequence[Sample], contrasts: list[Contrast], prices: Prices | None) -> Standing:
    tries: dict[str, list[Try]] = {}
    for sample in samples:
        tries.setdefault(sample.problem, []).append((sample.vote, sample.correct))
    outcomes = [[right for _, right in tried] for tried in tries.values()]
    usage = total_usage(sample.usage for sample in samples)
    reasons = [sample.finish_reason for sample in samples]
    first = samples[0]
    return Standing(
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
        maj_at=maj_at(list(tries.values())),
        costs=costs(samples, prices),
        contrasts=contrasts,
        control_of=first.control_of,
        degraded=sum(sample.degraded is not None for sample in samples),
        settings=first.settings,
        at_once=_at_once(samples),
        problem_set=problem_set(sample.problem for sample in samples),
    )


def like_crowd(one: float, other: float) -> bool:
    """Whether about as many chains shared the engines with each of two methods: else their seconds say nothing of each other."""
    return 1 / CROWDED <= one / other <= CROWDED


def _at_once(samples: Sequence[Sample]) -> float:
    return round(sum(sample.at_once for sample in samples) / len(samples), 3)


def _speed(samples: Sequence[Sample], baseline: Sequence[Sample]) -> float | None:
    if not baseline or baseline[0].settings != samples[0].settings:
        return None  # on other engines, or with another budget, seconds say nothing
    if not like_crowd(_at_once(samples), _at_once(baseline)):
        return None
    pairs = paired(samples, baseline)
    spent = sum(own.seconds for own, _ in pairs)
    return sum(theirs.seconds for _, theirs in pairs) / spent if spent else None
