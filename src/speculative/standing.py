"""What a method's samples come to: one row of every comparison."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from speculative.problem import Usage
from speculative.sample import Sample
from speculative.stats import accuracy_interval
from speculative.tally import added, share

BASELINE = "big_only"


class Standing(Struct, frozen=True):
    """What the samples of a method on a task come to. `usage` is the sum over chains; `seconds` is the mean wall time of a chain.

    `accuracy` is the part of the chains whose answer is right, `interval` its 95 % interval (`stats.accuracy_interval`).
    `share_kept` and `share_spent`: the big model's share of kept and of produced tokens. `speed`: the mean seconds of
    `big_only` over the method's, on the (problem, epoch) pairs that both have; null without `big_only`.
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


def standings(samples: Sequence[Sample], labels: Sequence[str] = ()) -> list[Standing]:
    """One standing for each task and method that has samples; the methods in the order of `labels`, else as they come."""
    found: dict[tuple[str, str], list[Sample]] = {}
    for sample in samples:
        found.setdefault((sample.task, sample.label), []).append(sample)
    order = {label: place for place, label in enumerate(labels)}
    tasks = {task: place for place, (task, _) in enumerate(found)}
    keys = sorted(found, key=lambda key: (tasks[key[0]], order.get(key[1], len(order))))
    first = {task: key for *_, task, key in reversed([(*key, key[0], key) for key in keys if found[key][0].method == BASELINE])}
    return [_standing(found[key], found.get(first.get(key[0], ("", "")), [])) for key in keys]


def _standing(samples: Sequence[Sample], baseline: Sequence[Sample]) -> Standing:
    outcomes: dict[str, list[bool]] = {}
    for sample in samples:
        outcomes.setdefault(sample.problem, []).append(sample.correct)
    usage = added(sample.usage for sample in samples)
    reasons = [sample.finish_reason for sample in samples]
    first = samples[0]
    return Standing(
        task=first.task,
        label=first.label,
        method=first.method,
        params=first.params,
        problems=len(outcomes),
        epochs=max(map(len, outcomes.values())),
        chains=len(samples),
        accuracy=sum(sample.correct for sample in samples) / len(samples),
        interval=accuracy_interval(list(outcomes.values())),
        share_kept=share(usage, "kept_tokens"),
        share_spent=share(usage, "produced_tokens"),
        seconds=round(sum(sample.seconds for sample in samples) / len(samples), 6),
        speed=_speed(samples, baseline),
        finish_reasons={reason: reasons.count(reason) for reason in sorted(set(reasons))},
        usage=usage,
    )


def _speed(samples: Sequence[Sample], baseline: Sequence[Sample]) -> float | None:
    own = {(sample.problem, sample.epoch): sample.seconds for sample in samples}
    theirs = {(sample.problem, sample.epoch): sample.seconds for sample in baseline}
    both = own.keys() & theirs.keys()
    spent = sum(own[key] for key in both)
    return sum(theirs[key] for key in both) / spent if spent else None
