"""Runs evaluations for `compare`, `eval` and lm-eval: plan, run, resume, controls.

An `EvalCell` plans the samples of one method on one task with one seed. The `EvalRunner` runs the samples that its store lacks, and
keeps each as its chain ends. A `ControlSchedule` adds the controls, round after round.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol, TypeVar

from msgspec import json as msgjson
from msgspec import structs

from speculative.answers import extract_answer
from speculative.evaluate.activity import idle_roles
from speculative.evaluate.controls import Rounds, Samples, controls
from speculative.evaluate.grading.grade import Verdict, grade_async, vote_key
from speculative.evaluate.problems import TaskProblem
from speculative.evaluate.tasks import Task, Unreadable
from speculative.methods.base import Method
from speculative.methods.errors import prepare
from speculative.methods.spec import MethodSpec
from speculative.pair import Pair
from speculative.problem import Message, Problem
from speculative.prompts import find_dialect, render
from speculative.result import Result
from speculative.runner import run
from speculative.runs.sample import Key, Sample
from speculative.runs.shared_cache import shared_cache_tokens
from speculative.stats.cost import View
from speculative.stats.prices import Prices
from speculative.trace.trace import Trace

T = TypeVar("T")

UNGRADED = Verdict(False, None, "graded elsewhere")
"""The verdict of samples whose problem has no `kind`."""

Extract = Callable[[str, str], Awaitable[tuple[str, str] | None]]
"""Takes a question and a text without a box. Returns the boxed answer and the model that found it, or None."""

Solve = Callable[[Problem, Method], Awaitable[Result]]
"""Runs one chain."""


class SampleStore(Protocol):
    """Keeps samples: a run folder, or a `MemoryStore`."""

    samples: list[Sample]

    def append(self, sample: Sample, trace: Trace | None = None) -> Sample:
        """Keeps a sample with its trace, and returns the stored sample."""
        ...


class MemoryStore:
    """Keeps samples in memory, without their traces."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []

    def append(self, sample: Sample, trace: Trace | None = None) -> Sample:
        """Keeps a sample."""
        self.samples.append(sample)
        return sample


@dataclass(frozen=True)
class PlannedSample:
    """One chain to run: a method on a problem, in one epoch.

    Attributes:
        spec: the method.
        task_problem: the problem.
        epoch: the number of the try, from 0.
        problem: sampling, budget, and the seed from which all seeds are derived.
        settings: the other settings on which the sample depends.
        messages: the conversation, if it is more than the problem's text.
        doc_id: the number of the problem in a harness.
    """

    spec: MethodSpec
    task_problem: TaskProblem
    epoch: int
    problem: Problem
    settings: dict[str, Any]
    messages: tuple[Message, ...] = ()
    doc_id: int | None = None

    @property
    def key(self) -> Key:
        """Task, label, problem and epoch."""
        return (self.task_problem.task, self.spec.label, self.task_problem.id, self.epoch)

    @cached_property
    def seed(self) -> int:
        """The seed of the chain. It is the same for every method."""
        return derive_seed(self.problem.seed, self.task_problem.id, self.epoch)

    @cached_property
    def identity(self) -> bytes:
        """A key of everything on which the chain and its verdict depend."""
        one, method = self.task_problem, self.spec
        return _identity(one.task, method.name, method.params, self.settings, one.id, self.seed, one.answer)

    def build_problem(self) -> Problem:
        """Returns the problem with its text and its own seed. Raises `UsageError`."""
        messages = self.messages or (Message("user", self.task_problem.problem),)
        return structs.replace(self.problem, messages=messages, seed=self.seed)


class EvalCell:
    """One method on one task with one seed.

    `done` holds the finished samples by problem and epoch.
    """

    def __init__(
        self,
        task: Task,
        spec: MethodSpec,
        problems: Sequence[TaskProblem],
        problem: Problem,
        *,
        epochs: int = 1,
        engines: Mapping[str, str] | None = None,
        data: Path | None = None,
        skipped: Sequence[Unreadable] = (),
        tolerance: float = 0,
    ) -> None:
        """Plans the samples.

        Args:
            task: the task.
            spec: the method.
            problems: the problems of the task.
            problem: sampling, budget and seed.
            epochs: the number of tries of each problem.
            engines: the engines, as samples describe them.
            data: the file of the problems, if it is not the public data set.
            skipped: problems that were left out.
            tolerance: the grader's tolerance.
        """
        self.task, self.spec, self.problems, self.epochs = task, spec, tuple(problems), epochs
        self.problem, self.engines, self.data = task.with_instruction(problem), dict(engines or {}), data
        self.skipped, self.tolerance = tuple(skipped), tolerance
        self.settings = sample_settings(self.problem, self.engines) | ({"tolerance": tolerance} if tolerance else {})
        self.done: dict[tuple[str, int], Sample] = {}
        self.planned = [PlannedSample(spec, one, epoch, self.problem, self.settings) for epoch in range(epochs) for one in self.problems]

    @property
    def name(self) -> str:
        """The task, the method and a seed other than 0."""
        return f"{self.task.name} {self.spec.label}" + (f" seed {self.problem.seed}" if self.problem.seed else "")

    @property
    def size(self) -> int:
        """The number of chains."""
        return len(self.planned)

    @property
    def left(self) -> int:
        """The number of unfinished chains."""
        return self.size - len(self.done)

    def like(self, spec: MethodSpec) -> EvalCell:
        """Returns the same cell for another method."""
        more: dict[str, Any] = {"epochs": self.epochs, "engines": self.engines, "data": self.data}
        more |= {"skipped": self.skipped, "tolerance": self.tolerance}
        return EvalCell(self.task, spec, self.problems, self.problem, **more)

    def resume(self, samples: Iterable[Sample]) -> None:
        """Takes over kept samples that belong to this cell."""
        self.done = {(sample.problem, sample.epoch): sample for sample in matching(samples, self.planned).values()}

    def prompts(self, pair: Pair) -> dict[str, str]:
        """Returns the first problem's prompt for each role, with its special tokens."""
        problem = prepare(self.spec.method, self.planned[0].build_problem())
        given = problem.answer_instruction
        families = {role: find_dialect(engine.dialect) for role, engine in pair.items()}
        return {
            role: render(family.prompt(problem.messages, family.answer_instruction if given is None else given))
            for role, family in families.items()
        }


class EvalRunner:
    """Runs planned samples, at most `chains` concurrently.

    A chain that a store has, under any label, is not run again.
    """

    def __init__(
        self,
        solve: Solve,
        store_of: Callable[[PlannedSample], SampleStore],
        *,
        chains: int,
        extract: Extract | None = None,
        check: Callable[[Method], None] = lambda method: None,
    ) -> None:
        """Takes the stores of samples.

        `check` raises for a method that the engines cannot run; it is called before the first chain.
        """
        self._solve, self._store_of, self._chains, self._extract, self._check = solve, store_of, chains, extract, check
        self._meter = ConcurrencyMeter()
        self._stores: dict[int, dict[bytes, Sample]] = {}

    @classmethod
    def on(cls, pair: Pair, store: SampleStore, *, chains: int, extract: Extract | None = None) -> EvalRunner:
        """Makes a runner on a pair, with one store for all samples."""
        return cls(solver(pair), lambda _: store, chains=chains, extract=extract, check=pair.check)

    async def run_cells(self, cells: Sequence[EvalCell], on_sample: Callable[[EvalCell, Sample], None] | None = None) -> None:
        """Runs the unfinished chains of the cells in their order.

        Raises the first error of a chain.
        """
        of = {id(one): cell for cell in cells for one in cell.planned}

        def take(one: PlannedSample, sample: Sample) -> None:
            cell = of[id(one)]
            cell.done[sample.problem, sample.epoch] = sample
            if on_sample:
                on_sample(cell, sample)

        await self.run([one for cell in cells for one in cell.planned if (one.task_problem.id, one.epoch) not in cell.done], take)

    async def run(self, planned: Sequence[PlannedSample], on_sample: Callable[[PlannedSample, Sample], None]) -> None:
        """Runs the samples that the stores lack.

        `on_sample` is called for each sample of the plan.

        Samples of one identity are run once and copied.

        Raises:
            EngineError, MethodError: A chain failed. Nothing of it is kept.
        """
        kept = self.find_kept(planned)
        for place, sample in kept.items():
            on_sample(planned[place], sample)
        first: list[PlannedSample] = []
        copies: list[PlannedSample] = []
        met: set[bytes] = set()
        for one in [planned[place] for place in range(len(planned)) if place not in kept]:
            known = one.identity in met or one.identity in self._index(one)
            (copies if known else first).append(one)
            met.add(one.identity)

        for spec in {id(one.spec): one.spec for one in first}.values():
            self._check(spec.method)

        async def run_one(one: PlannedSample) -> None:
            sample, trace = await self.run_sample(one)
            on_sample(one, self._keep(one, sample, trace))

        await run_concurrently(first, run_one, self._chains)
        for one in copies:
            there, method = self._index(one)[one.identity], one.spec
            copied = structs.replace(there, label=method.label, control_of=method.control_of, epoch=one.epoch, doc_id=one.doc_id)
            on_sample(one, self._keep(one, copied, None))

    def find_kept(self, planned: Sequence[PlannedSample]) -> dict[int, Sample]:
        """Returns the samples that the stores have, by place in the plan."""
        stores = {id(store): store for store in map(self._store_of, planned)}
        return matching([sample for store in stores.values() for sample in store.samples], planned)

    async def run_sample(self, one: PlannedSample) -> tuple[Sample, Trace]:
        """Runs one chain and grades the text after its thinking."""
        method = one.spec.method
        with self._meter.running(method.chains_at_once) as concurrency:
            result = await self._solve(one.build_problem(), method)
        return await grade_result(one, result, concurrency(), self._extract), result.trace

    def _index(self, one: PlannedSample) -> dict[bytes, Sample]:
        """Returns the samples of the store by identity."""
        store = self._store_of(one)
        if id(store) not in self._stores:
            self._stores[id(store)] = {sample_identity(sample): sample for sample in store.samples}
        return self._stores[id(store)]

    def _keep(self, one: PlannedSample, sample: Sample, trace: Trace | None) -> Sample:
        kept = self._store_of(one).append(sample, trace)
        self._index(one)[one.identity] = kept
        return kept


class ControlSchedule:
    """Plans rounds of cells: the user's cells, then their controls.

    `cells` are all cells so far, and `notes` name missing controls. The controls depend only on the samples of earlier rounds, so a
    resumed run gets the same rounds. `view` is the price view of controls at equal cost; None plans no controls.
    """

    def __init__(self, requested: Sequence[EvalCell], samples: Sequence[Sample], prices: Prices | None, view: View | None) -> None:
        self.cells: list[EvalCell] = []
        self.notes: list[str] = []
        self._requested, self._samples, self._prices = list(requested), samples, prices
        self._view: View | None = view
        self._started = False
        self._last: list[tuple[EvalCell, Rounds, list[EvalCell]]] = []

    def next(self) -> list[EvalCell]:
        """Returns the next round, resumed from the samples; empty at the end.

        The previous round must be finished.
        """
        if not self.cells:
            return self._add(self._requested)
        if self._view and not self._started:
            self._started = True
            return self._add(self._first_controls(self._view))
        last, self._last = self._last, []
        return self._add([cell for first, rounds, cells in last for cell in self._follow(first, rounds, _by_label(cells))])

    @property
    def controlled(self) -> bool:
        """True if the schedule has a control."""
        return len(self.cells) > len(self._requested)

    def _add(self, cells: list[EvalCell]) -> list[EvalCell]:
        for cell in cells:
            cell.resume(self._samples)
        self.cells += cells
        return cells

    def _first_controls(self, view: View) -> list[EvalCell]:
        """Returns the first controls of every task and seed."""
        groups: dict[tuple[str, int], list[EvalCell]] = {}
        for cell in self._requested:
            groups.setdefault((cell.task.name, cell.problem.seed), []).append(cell)
        found: list[EvalCell] = []
        for group in groups.values():
            rounds = controls([cell.spec for cell in group], _by_label(group), self._prices, view)
            found += self._follow(group[0], rounds, None)
        return found

    def _follow(self, first: EvalCell, rounds: Rounds, found: Samples | None) -> list[EvalCell]:
        """Returns the next controls of a task."""
        try:
            specs: list[MethodSpec] = next(rounds) if found is None else rounds.send(found)
        except StopIteration as over:
            self.notes += over.value
            return []
        cells = [first.like(spec) for spec in specs]
        self._last.append((first, rounds, cells))
        return cells


class ConcurrencyMeter:
    """Measures how many chains share the engines.

    The time shares of all chains add up to the elapsed time.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock, self._running = clock, 0
        self._each, self._since = 0.0, clock()

    @contextmanager
    def running(self, parts: int = 1) -> Generator[Callable[[], float]]:
        """Counts a chain of `parts` branches.

        Yields a function that returns the mean concurrency afterwards.
        """
        self._pass()
        began, had, shared = self._since, self._each, 1.0
        self._running += parts
        try:
            yield lambda: shared
        finally:
            self._pass()
            self._running -= parts
            own = parts * (self._each - had)
            shared = max(1.0, round((self._since - began) / own, 3)) if own else 1.0

    def _pass(self) -> None:
        now = self._clock()
        if self._running:
            self._each += (now - self._since) / self._running
        self._since = now


async def run_concurrently(items: Sequence[T], work: Callable[[T], Awaitable[None]], limit: int) -> None:
    """Runs the work for all items in their order, at most `limit` concurrently.

    Raises the first failure.
    """
    left = iter(items)
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(limit):
                group.create_task(_worker(left, work))
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None


async def _worker(left: Iterator[T], work: Callable[[T], Awaitable[None]]) -> None:
    for item in left:
        await work(item)


def solver(pair: Pair) -> Solve:
    """Returns a function that runs chains on the pair."""

    async def solve(problem: Problem, method: Method) -> Result:
        return await run(prepare(method, problem), method, pair)

    return solve


async def grade_result(one: PlannedSample, result: Result, concurrency: float, extract: Extract | None = None) -> Sample:
    """Grades a finished chain.

    `extract` looks for the answer if the grader finds none in the text.
    """
    task_problem, kind = one.task_problem, one.task_problem.kind
    found = await extract(task_problem.problem, result.text) if extract and not extract_answer(result.text) else None
    text = found[0] if found else result.text
    more: dict[str, Any] = {"question": task_problem.problem, "tolerance": one.settings.get("tolerance", 0)}
    verdict = await grade_async(text, task_problem.answer, kind, **more) if kind else UNGRADED
    return Sample(
        task=task_problem.task,
        label=one.spec.label,
        method=result.method,
        params=result.params,
        settings=dict(one.settings),
        problem=task_problem.id,
        level=str(task_problem.level),
        epoch=one.epoch,
        seed=result.seed,
        gold=task_problem.answer,
        answer=result.text,
        found=verdict.answer,
        vote=vote_key(verdict.answer, kind, task_problem.problem) if kind else None,
        correct=verdict.correct,
        why=f"{verdict.why} (the answer was found by {found[1]})" if found else verdict.why,
        finish_reason=result.finish_reason or "",
        seconds=result.seconds,
        usage={role: cost for role, cost in result.usage.items() if cost.requests},
        mean_concurrency=concurrency,
        shared_cache_tokens=shared_cache_tokens(result.trace),
        control_of=one.spec.control_of,
        doc_id=one.doc_id,
        degraded=result.degraded,
        undecided=verdict.undecided,
        idle_roles=() if result.degraded else idle_roles(one.spec.method, result.trace),
    )


def undecided_notes(samples: Iterable[Sample]) -> list[str]:
    """Returns a line for the user about undecided answers, which count as not right."""
    undecided = [sample for sample in samples if sample.undecided]
    if not undecided:
        return []
    names = ", ".join(sorted({sample.problem for sample in undecided})[:10])
    return [f"{len(undecided)} answers are undecided and counted as not right: comparing them took too much time or memory ({names})"]


def derive_seed(seed: int, problem: str, epoch: int) -> int:
    """Derives the seed of a problem in an epoch. It is the same for every method."""
    return int.from_bytes(blake2b(f"{seed}/{problem}/{epoch}".encode(), digest_size=6).digest(), "big")


def sample_settings(problem: Problem, engines: Mapping[str, str]) -> dict[str, Any]:
    """Returns the settings on which a sample depends, as plain values."""
    values: dict[str, Any] = msgjson.decode(msgjson.encode(problem))
    return {name: value for name, value in values.items() if name not in ("messages", "seed")} | dict(engines)


def matching(samples: Iterable[Sample], planned: Sequence[PlannedSample]) -> dict[int, Sample]:
    """Finds the samples of a plan, by place in the plan.

    Key and identity must be equal.
    """
    wanted = {(one.key, one.identity): place for place, one in enumerate(planned)}
    keys = {one.key for one in planned}
    found: dict[int, Sample] = {}
    for sample in samples:
        place = wanted.get((sample.key, sample_identity(sample))) if sample.key in keys else None
        if place is not None:
            found[place] = sample
    return dict(sorted(found.items()))


def sample_identity(sample: Sample) -> bytes:
    """Returns the identity of a sample; see `PlannedSample.identity`."""
    return _identity(sample.task, sample.method, sample.params, sample.settings, sample.problem, sample.seed, sample.gold)


def _identity(*parts: Any) -> bytes:
    return msgjson.encode(parts, order="deterministic")


def _by_label(cells: Sequence[EvalCell]) -> Samples:
    return {cell.spec.label: list(cell.done.values()) for cell in cells}
