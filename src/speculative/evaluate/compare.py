"""Methods on the same problems with the same seeds: the loop, and what a method's samples come to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any

from msgspec import Struct, structs

from speculative.evaluate.contenders import Contender
from speculative.evaluate.problems import StatedProblem
from speculative.pair import Pair
from speculative.problem import Problem, Result, Usage
from speculative.runner import run
from speculative.stats import accuracy_interval
from speculative.tally import added, right, share

BASELINE = "big_only"


class Sample(Struct, frozen=True):
    """One chain of one method on one problem. `settings` are those that the chain depends on, beside method and problem."""

    label: str
    method: str
    params: dict[str, Any]
    settings: dict[str, Any]
    problem: str
    level: int
    epoch: int
    seed: int
    answer: str
    boxed: str | None
    correct: bool
    finish_reason: str
    seconds: float
    usage: dict[str, Usage]

    @property
    def key(self) -> tuple[str, str, int]:
        return (self.label, self.problem, self.epoch)


class Standing(Struct, frozen=True):
    """What a method's samples come to. `usage` is the sum over chains; `seconds` is the mean wall time of a chain.

    `accuracy` is the part of the chains whose boxed answer is right, `interval` its 95 % interval (`stats.accuracy_interval`).
    `share_kept` and `share_spent`: the big model's share of kept and of produced tokens. `speed`: the mean seconds of
    `big_only` over the method's, on the (problem, epoch) pairs that both have; null without `big_only`.
    """

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


class Work(Struct, frozen=True):
    """One chain that is to be run."""

    contender: Contender
    stated: StatedProblem
    epoch: int

    @property
    def key(self) -> tuple[str, str, int]:
        return (self.contender.label, self.stated.id, self.epoch)


def plan(rivals: Sequence[Contender], stated: Sequence[StatedProblem], epochs: int) -> list[Work]:
    """All chains, method after method."""
    return [Work(contender, problem, epoch) for contender in rivals for epoch in range(epochs) for problem in stated]


def seed_of(seed: int, problem: str, epoch: int) -> int:
    """The seed of a problem in an epoch: the same for every method, whatever else is run."""
    return int.from_bytes(blake2b(f"{seed}/{problem}/{epoch}".encode(), digest_size=6).digest(), "big")


async def compare(
    work: Sequence[Work], pair: Pair, problem: Problem, settings: Mapping[str, Any], on_sample: Callable[[Sample], None], *, chains: int
) -> None:
    """Runs the chains, at most `chains` at once; `on_sample` is told of each as it finishes.

    `problem` carries sampling, budget and the seed that all seeds are made from; its text is replaced.
    Raises `EngineError`: nothing that failed is counted as an answer.
    """
    for contender in {id(one.contender): one.contender for one in work}.values():
        pair.check(contender.method)
    left = iter(work)
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(chains):
                group.create_task(_worker(left, pair, problem, settings, on_sample))
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None


async def _worker(
    left: Iterator[Work], pair: Pair, problem: Problem, settings: Mapping[str, Any], on_sample: Callable[[Sample], None]
) -> None:
    for one in left:
        seed = seed_of(problem.seed, one.stated.id, one.epoch)
        message = structs.replace(problem.messages[-1], content=one.stated.problem)
        posed = structs.replace(problem, messages=(message,), seed=seed)
        method = one.contender.method
        on_sample(_sample(one, await run(method.prepare(posed), method, pair), settings))


def _sample(one: Work, result: Result, settings: Mapping[str, Any]) -> Sample:
    return Sample(
        label=one.contender.label,
        method=result.method,
        params=result.params,
        settings=dict(settings),
        problem=one.stated.id,
        level=one.stated.level,
        epoch=one.epoch,
        seed=result.seed,
        answer=result.answer,
        boxed=result.boxed,
        correct=right(result.boxed, one.stated.answer),
        finish_reason=result.finish_reason,
        seconds=result.seconds,
        usage=result.usage,
    )


def standings(samples: Sequence[Sample], rivals: Sequence[Contender]) -> list[Standing]:
    """One standing for each method that has samples, in the order of the methods."""
    by_label: dict[str, list[Sample]] = {contender.label: [] for contender in rivals}
    for sample in samples:
        by_label[sample.label].append(sample)
    first = next((contender.label for contender in rivals if contender.name == BASELINE), "")
    return [_standing(found, by_label.get(first, [])) for found in by_label.values() if found]


def _standing(samples: Sequence[Sample], baseline: Sequence[Sample]) -> Standing:
    outcomes: dict[str, list[bool]] = {}
    for sample in samples:
        outcomes.setdefault(sample.problem, []).append(sample.correct)
    usage = added(sample.usage for sample in samples)
    reasons = [sample.finish_reason for sample in samples]
    first = samples[0]
    return Standing(
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
