"""One chain that is to be run, and the one call that runs it: `compare`, `eval` and the harnesses all come through here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any

from msgspec import Struct, structs

from speculative.answers import find_answer
from speculative.evaluate.grading.grade import Verdict, agrade, vote_key
from speculative.evaluate.problems import StatedProblem
from speculative.evaluate.side_by_side import Sharing
from speculative.methods.spec import Contender
from speculative.pair import Pair
from speculative.problem import Message, Problem
from speculative.result import Result
from speculative.runner import run
from speculative.runs.sample import Key, Sample
from speculative.runs.shared_cache import shared_cache_tokens
from speculative.trace.trace import Trace

UNGRADED = Verdict(False, None, "graded elsewhere")
"""Stands in the samples of problems whose `kind` is None."""


Finder = Callable[[str, str], Awaitable[tuple[str, str] | None]]
"""Finds the answer in a text where the grader sees none, given question and text: the answer, boxed, and who found it."""


class Work(Struct, frozen=True):
    """One method on one problem, for one time. `messages`: the conversation that states it, where that is not its text alone."""

    contender: Contender
    stated: StatedProblem
    epoch: int
    messages: tuple[Message, ...] = ()

    @property
    def key(self) -> Key:
        return (self.stated.task, self.contender.label, self.stated.id, self.epoch)


def plan(rivals: Sequence[Contender], stated: Sequence[StatedProblem], epochs: int) -> list[Work]:
    """All chains, method after method."""
    return [Work(contender, problem, epoch) for contender in rivals for epoch in range(epochs) for problem in stated]


def seed_of(seed: int, problem: str, epoch: int) -> int:
    """The seed of a problem in an epoch: the same for every method, whatever else is run."""
    return int.from_bytes(blake2b(f"{seed}/{problem}/{epoch}".encode(), digest_size=6).digest(), "big")


async def attempt(
    work: Work, pair: Pair, problem: Problem, settings: Mapping[str, Any], sharing: Sharing, finder: Finder | None = None
) -> tuple[Sample, Trace]:
    """Runs the chain and grades what stands after its thinking; `finder` is asked where the grader sees no answer there.

    `sharing` is of all chains that are under way on the pair.
    `problem` carries sampling, budget and the seed that all seeds are made from; its text is replaced. `settings` is what the
    sample depends on beside its method and problem, as it is to be kept. Raises what `runner.run` raises.
    """
    method = work.contender.method
    with sharing.one(method.chains_at_once) as at_once:
        result = await run(method.prepare(posed(work, problem)), method, pair)
    return await graded(work, result, settings, at_once(), finder), result.trace


def posed(work: Work, problem: Problem) -> Problem:
    """The problem as it is run: its text, and its own seed."""
    messages = work.messages or (Message("user", work.stated.problem),)
    return structs.replace(problem, messages=messages, seed=seed_of(problem.seed, work.stated.id, work.epoch))


async def graded(work: Work, result: Result, settings: Mapping[str, Any], at_once: float, finder: Finder | None = None) -> Sample:
    """The sample that a result is, whose time `at_once` chains shared."""
    stated = work.stated
    found = await finder(stated.problem, result.text) if finder and not find_answer(result.text) else None
    text = found[0] if found else result.text
    more: dict[str, Any] = {"question": stated.problem, "tolerance": settings.get("tolerance", 0)}
    verdict = await agrade(text, stated.answer, stated.kind, **more) if stated.kind else UNGRADED
    return Sample(
        task=stated.task,
        label=work.contender.label,
        method=result.method,
        params=result.params,
        settings=dict(settings),
        problem=stated.id,
        level=str(stated.level),
        epoch=work.epoch,
        seed=result.seed,
        gold=stated.answer,
        answer=result.text,
        found=verdict.answer,
        vote=vote_key(verdict.answer, stated.kind, stated.problem) if stated.kind else None,
        correct=verdict.correct,
        why=f"{verdict.why} (the answer was found by {found[1]})" if found else verdict.why,
        finish_reason=result.finish_reason or "",
        seconds=result.seconds,
        usage={role: cost for role, cost in result.usage.items() if cost.requests},
        mean_concurrency=at_once,
        shared_cache_tokens=shared_cache_tokens(result.trace),
        control_of=work.contender.control_of,
        degraded=result.degraded,
        undecided=verdict.undecided,
    )


def undecided(samples: Iterable[Sample]) -> list[str]:
    """Returns a line for the reader if some answers could not be decided; they count as not right, and nothing hides that."""
    open_ones = [sample for sample in samples if sample.undecided]
    if not open_ones:
        return []
    names = ", ".join(sorted({sample.problem for sample in open_ones})[:10])
    return [f"{len(open_ones)} answers are undecided and counted as not right: comparing them took too much time or memory ({names})"]


def matching(
    samples: Sequence[Sample], work: Sequence[Work], rivals: Collection[Contender], settings: Mapping[str, Any], seed: int
) -> list[Sample]:
    """Those of the samples that this very work would give: same methods, parameters, settings, seeds, problems and gold answers."""
    wanted = {one.key: (seed_of(seed, one.stated.id, one.epoch), one.stated.answer) for one in work}
    params = {contender.label: (contender.name, contender.params) for contender in rivals}
    found = [sample for sample in samples if wanted.get(sample.key) == (sample.seed, sample.gold) and sample.settings == settings]
    return list({sample.key: sample for sample in found if params[sample.label] == (sample.method, sample.params)}.values())
