"""Chooses parameters on tuning problems, and runs the choice on held-out ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import Any, Protocol

from speculative.errors import UnknownNameError, UsageError
from speculative.evaluate.problems import TaskProblem
from speculative.evaluate.runner import EvalCell, EvalRunner
from speculative.evaluate.tune.candidates import Candidate, make_spec, percentile_of
from speculative.evaluate.tune.group import CandidateGroup
from speculative.evaluate.tune.plan import TunePlan, TuningChoice
from speculative.evaluate.tune.replay import Replays
from speculative.evaluate.tune.selection import MeasuredCandidate, best_of, most_careful, spread_over_shares
from speculative.evaluate.tune.target import Figures, Target, figures
from speculative.methods.base import Method
from speculative.methods.registry import build, find
from speculative.methods.spec import MethodSpec, parse_method
from speculative.methods.tunable import GradedTrace, Tunable, judged
from speculative.runs.folder import RunFolder
from speculative.runs.sample import Sample

BASELINE = "big_only"
LEAST_PART = 10
"""The fewest problems on which many candidates are first run."""


class Counter(Protocol):
    """Counts finished chains for the user."""

    def expect(self, labels: Sequence[str], each: int | Mapping[str, int], done: Sequence[str]) -> None: ...

    def advance(self, label: str) -> None: ...


class NoCounter:
    """Counts nothing."""

    def expect(self, labels: Sequence[str], each: int | Mapping[str, int], done: Sequence[str]) -> None:
        """Ignores the work."""

    def advance(self, label: str) -> None:
        """Ignores a finished chain."""


class Tuner:
    """Runs a plan on a folder of samples.

    The same plan on the same folder runs nothing again.
    """

    def __init__(self, plan: TunePlan, folder: RunFolder) -> None:
        self._plan, self._folder = plan, folder
        self._counter: Counter = NoCounter()
        self._kind = find(plan.method)
        self._replays = Replays(folder)
        self._baseline: list[Sample] = []
        self._run = self._replayed = 0

    async def choose(self, runner: EvalRunner, counter: Counter | None = None) -> TuningChoice:
        """Runs the plan and returns the choice.

        Raises the errors of chains, and `UsageError`.
        """
        plan = self._plan
        self._counter, self._run, self._replayed = counter or NoCounter(), 0, 0
        self._check()
        (self._baseline,) = await self._samples(runner, [parse_method(BASELINE)], plan.tuning, BASELINE)
        groups = [await self._group(runner, combination) for combination in self._combinations()]
        candidates = [candidate for group in groups for candidate in group.candidates()]
        if not candidates:
            raise UsageError(f"{plan.method} must have scores that differ, got none on these problems; name values with --sweep")
        self._check_baseline()
        if plan.target and len(candidates) > plan.candidates:
            candidates = await self._most_promising(runner, candidates)
        found = await self._measure(runner, candidates, plan.tuning, "candidates")
        if plan.target and not plan.sweeps:
            found += await self._near_the_best(runner, groups, found, plan.target)
        found.sort(key=lambda one: (one.figures.share_kept, -one.figures.accuracy))
        return await self._report(runner, found)

    async def _most_promising(self, runner: EvalRunner, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Runs many candidates on a part of the problems, and returns the best."""
        problems, most = self._plan.tuning, self._plan.candidates
        part = problems[: max(LEAST_PART, -(-len(problems) * most // len(candidates)))]
        return spread_over_shares(await self._measure(runner, candidates, part, "first part"), most)

    async def _near_the_best(
        self, runner: EvalRunner, groups: Sequence[CandidateGroup], found: Sequence[MeasuredCandidate], target: Target
    ) -> list[MeasuredCandidate]:
        """Runs candidates beside the best one.

        If none keeps a bound on accuracy, candidates with more of big are run first.
        """
        added: list[MeasuredCandidate] = []
        best = best_of(found, target)
        if target.kind == "accuracy" and target.gap(best.figures):
            dearer = [one for group in groups for one in group.dearer(best.candidate)]
            added = await self._measure(runner, dearer, self._plan.tuning, "more of big")
            best = best_of([*found, *added], target)
        known = [one.candidate for one in (*found, *added)]
        finer = [one for group in groups for one in group.finer(best.candidate, known)]
        return added + (await self._measure(runner, finer, self._plan.tuning, "finer candidates") if finer else [])

    async def _report(self, runner: EvalRunner, found: list[MeasuredCandidate]) -> TuningChoice:
        plan = self._plan
        baseline = figures(self._baseline, self._baseline, plan.view, plan.prices)
        best, met = None, True
        ours: Figures | None = None
        theirs: Figures | None = None
        if plan.target:
            best = most_careful(found, plan.target)
            met = not plan.target.gap(best.figures)
            if met:
                against, samples = await self._samples(runner, [parse_method(BASELINE), best.candidate.spec], plan.held_out, "held out")
                ours, theirs = (figures(one, against, plan.view, plan.prices) for one in (samples, against))
        return TuningChoice(found, best, met, baseline, ours, theirs, self._run, self._replayed)

    def _check(self) -> None:
        """Raises `UsageError` if no parameter is chosen, or a swept one is unknown."""
        plan = self._plan
        known = [field for field in self._kind.model_fields if field != "inner"]
        if unknown := next((field for field in plan.sweeps if field not in known), None):
            raise UnknownNameError(f"parameter of {self._kind.name()}", unknown, known)
        scored = {tunable.field for tunable in self._with_probe(plan.params).tunables() if tunable.big_if}
        for field, values in plan.sweeps.items():
            for value in values:
                if percentile_of(value) is None:
                    self._with_probe({**plan.params, field: value})
                elif field not in scored:
                    raise UsageError(f"a percentile needs recorded scores, got {field}={value} of {plan.method}; give values")
        if not plan.sweeps and not any(map(self._is_free, self._with_probe(plan.params).tunables())):
            raise UsageError(f"{plan.method} has no parameter that is chosen here; name values with --sweep FIELD=VALUE,VALUE")

    def _check_baseline(self) -> None:
        """Raises `UsageError` if `big_only` solves none of the problems."""
        plan = self._plan
        if plan.target and not any(sample.correct for sample in self._baseline):
            raise UsageError(
                f"big_only must solve a tuning problem, got none of {len(plan.tuning)} right; check the answers of the problems"
            )

    def _combinations(self) -> Iterable[dict[str, Any]]:
        """Yields each combination of the parameters that change the scores of others."""
        sweeps = self._plan.sweeps
        known = self._with_probe(self._plan.params).tunables()
        shapes = [one for one in known if one.shapes and (one.field in sweeps or self._is_free(one))]
        for values in product(*(sweeps.get(tunable.field) or tunable.values for tunable in shapes)):
            yield dict(zip([tunable.field for tunable in shapes], values, strict=True))

    def _is_free(self, tunable: Tunable) -> bool:
        """Returns whether a parameter is chosen.

        It is not if the user gave it, or named parameters to sweep.
        """
        return not self._plan.sweeps and tunable.field not in self._plan.params

    def _with_probe(self, params: Mapping[str, Any]) -> Method:
        """Builds the method, with the parameters of its probe where none are given."""
        return build(self._plan.method, {**self._kind.probe, **params})

    async def _group(self, runner: EvalRunner, combination: dict[str, Any]) -> CandidateGroup:
        """Records the scores of one combination, and fits parameters to its chains."""
        plan = self._plan
        base = {**plan.params, **combination}
        known = {tunable.field: tunable for tunable in self._with_probe(base).tunables()}
        swept = {field: values for field, values in plan.sweeps.items() if field not in combination}
        chosen = [known.get(field, Tunable(field)) for field in swept]
        chosen += [tunable for tunable in known.values() if not tunable.shapes and self._is_free(tunable)]
        by_hand = {field for field, values in swept.items() if not any(percentile_of(value) is not None for value in values)}
        scores: dict[str, list[float]] = {}
        if self._kind.fitted is not Method.fitted or any(tunable.big_if and tunable.field not in by_hand for tunable in chosen):
            probe = make_spec(plan.method, {**base, **self._kind.probe})
            (samples,) = await self._samples(runner, [probe], plan.tuning, "scores")
            runs = [GradedTrace(trace, sample.correct) for sample in samples if (trace := self._folder.trace(sample))]
            base |= {field: value for field, value in probe.method.fitted(runs).items() if field not in plan.params}
            scored = [tunable for tunable in self._with_probe(base).tunables() if tunable.big_if]
            scores = {one.field: [score for run in runs for score in (one.scores or judged)(run.trace)] for one in scored}
        return CandidateGroup(plan.method, base, combination, chosen, swept, scores)

    async def _measure(
        self, runner: EvalRunner, candidates: Sequence[Candidate], problems: list[TaskProblem], about: str
    ) -> list[MeasuredCandidate]:
        ids = {one.id for one in problems}
        baseline = [sample for sample in self._baseline if sample.problem in ids]
        found = await self._samples(runner, [one.spec for one in candidates], problems, about)
        plan = self._plan
        return [
            MeasuredCandidate(candidate, figures(samples, baseline, plan.view, plan.prices))
            for candidate, samples in zip(candidates, found, strict=True)
        ]

    async def _samples(
        self, runner: EvalRunner, specs: Sequence[MethodSpec], problems: list[TaskProblem], about: str
    ) -> list[list[Sample]]:
        """Returns the samples of methods on problems: kept, replayed or run.

        One method follows the other, so that its chains can be replayed.
        """
        cells = [self._plan.cell(one, problems) for one in specs]
        self._counter.expect([about], sum(cell.size for cell in cells), [])

        def take(cell: EvalCell, sample: Sample) -> None:
            self._replays.add(sample, cell.spec.method)
            self._counter.advance(about)

        for cell in cells:
            cell.resume(self._folder.samples)
            for sample in list(cell.done.values()):
                take(cell, sample)
            replayed = self._replays.fill(cell)
            for _ in range(replayed):
                self._counter.advance(about)
            self._replayed += replayed
            self._run += cell.left
            await runner.run_cells([cell], take)
        return [[cell.done[one.task_problem.id, one.epoch] for one in cell.planned] for cell in cells]
