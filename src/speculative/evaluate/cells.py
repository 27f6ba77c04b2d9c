"""A cell of a grid: one method on one task with one seed; and the desk at which cells are run so that nothing is run twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import json as msgjson
from msgspec import structs

from speculative.errors import SpeculativeError
from speculative.evaluate.problems import StatedProblem
from speculative.evaluate.side_by_side import Sharing
from speculative.evaluate.tasks import Task, Unreadable
from speculative.evaluate.work import Finder, Work, attempt, matching, plan, posed
from speculative.methods.spec import Contender
from speculative.pair import Pair
from speculative.problem import Problem
from speculative.prompts import find_dialect, render
from speculative.runs.folder import RunFolder
from speculative.runs.sample import Sample
from speculative.trace.trace import Trace


class Cell:
    """One method on one task with one seed. `done` are its samples that are on the disk, by problem and epoch (from 0)."""

    def __init__(
        self,
        task: Task,
        contender: Contender,
        stated: Sequence[StatedProblem],
        problem: Problem,
        *,
        epochs: int = 1,
        engines: Mapping[str, str] | None = None,
        data: Path | None = None,
        skipped: Sequence[Unreadable] = (),
        tolerance: float = 0,
    ) -> None:
        """`problem` carries sampling, budget and seed; `engines` are as samples keep them (`pair.kept`); `data` is the file that
        the problems are from, if they are from one; `skipped` are problems of it that were left out; `tolerance` is the grader's."""
        self.task, self.contender, self.stated, self.data = task, contender, tuple(stated), data
        self.epochs = epochs
        self.problem = task.posed(problem)
        self.engines = dict(engines or {})
        self.skipped, self.tolerance = tuple(skipped), tolerance
        self.settings = settings_of(self.problem, self.engines) | ({"tolerance": tolerance} if tolerance else {})
        self.done: dict[tuple[str, int], Sample] = {}
        self._work = {(one.stated.id, one.epoch): one for one in plan([contender], self.stated, epochs)}

    @property
    def name(self) -> str:
        """`aime24 random_switch(switch_ratio=4)`, with the seed where it is not 0."""
        return f"{self.task.name} {self.contender.label}" + (f" seed {self.problem.seed}" if self.problem.seed else "")

    @property
    def size(self) -> int:
        """How many chains it has."""
        return len(self._work)

    @property
    def left(self) -> int:
        """How many of them are not done."""
        return self.size - len(self.done)

    def work(self, problem: str, epoch: int) -> Work:
        return self._work[problem, epoch]

    def like(self, contender: Contender) -> Cell:
        """The same for another method."""
        more: dict[str, Any] = {
            "epochs": self.epochs,
            "engines": self.engines,
            "data": self.data,
            "skipped": self.skipped,
            "tolerance": self.tolerance,
        }
        return Cell(self.task, contender, self.stated, self.problem, **more)

    def resume(self, samples: Sequence[Sample]) -> None:
        """Takes over those of the samples that this very cell would give."""
        found = matching(samples, list(self._work.values()), [self.contender], self.settings, self.problem.seed)
        self.done = {(sample.problem, sample.epoch): sample for sample in found}


class Desk:
    """Where cells are run: a chain whose sample is in the folder is never run again, under whatever label; one that ends is kept at once.

    At most `chains` are under way. `told` hears of every sample that is new. `failed` is the first error that ended a chain.
    """

    def __init__(
        self, pair: Pair, folder: RunFolder, told: Callable[[Cell, Sample], None], *, chains: int, finder: Finder | None = None
    ) -> None:
        self.pair, self.folder, self.chains = pair, folder, chains
        self.failed: SpeculativeError | None = None
        self._told, self._finder = told, finder
        self._turn, self._sharing = asyncio.Semaphore(chains), Sharing()
        self._same = {_identity(sample): sample for sample in folder.samples}

    async def sample(self, cell: Cell, problem: str, epoch: int) -> tuple[Sample, Trace | None]:
        """The sample of a problem in an epoch, with its trace. Raises what `runner.run` raises, and what the folder does."""
        if kept := cell.done.get((problem, epoch)):
            return kept, self.folder.trace(kept)
        async with self._turn:
            try:
                kept, trace = await self._kept(cell, cell.work(problem, epoch))
            except SpeculativeError as error:
                self.failed = self.failed or error
                raise
            cell.done[problem, epoch] = kept
            self._told(cell, kept)
            return kept, trace

    async def _kept(self, cell: Cell, work: Work) -> tuple[Sample, Trace | None]:
        """The sample as it is in the folder then; the same method with the same parameters has the same chains."""
        method, stated = work.contender, work.stated
        seed = posed(work, cell.problem).seed
        same = _key(stated.task, method.name, method.params, cell.settings, stated.id, seed, stated.answer)
        if there := self._same.get(same):
            kept = self.folder.append(structs.replace(there, label=method.label, control_of=method.control_of, epoch=work.epoch))
            return kept, self.folder.trace(kept)
        sample, trace = await attempt(work, self.pair, cell.problem, cell.settings, self._sharing, self._finder)
        kept = self.folder.append(sample, trace)
        self._same[_identity(kept)] = kept
        return kept, trace


def _identity(sample: Sample) -> bytes:
    return _key(sample.task, sample.method, sample.params, sample.settings, sample.problem, sample.seed, sample.gold)


def _key(*parts: Any) -> bytes:
    return msgjson.encode(parts, order="deterministic")


def settings_of(problem: Problem, engines: Mapping[str, str]) -> dict[str, Any]:
    """What a sample depends on beside its method, problem and seed, as it reads back from a file."""
    values: dict[str, Any] = msgjson.decode(msgjson.encode(problem))
    return {name: value for name, value in values.items() if name not in ("messages", "seed")} | dict(engines)


def prompts_of(cell: Cell, pair: Pair) -> dict[str, str]:
    """The prompt of a cell's first problem as each role gets it, markers and all."""
    method = cell.contender.method
    problem = method.prepare(posed(cell.work(cell.stated[0].id, 0), cell.problem))
    given = problem.answer_instruction
    families = {role: find_dialect(engine.dialect) for role, engine in pair.items()}
    return {
        role: render(family.prompt(problem.messages, family.answer_instruction if given is None else given))
        for role, family in families.items()
    }
