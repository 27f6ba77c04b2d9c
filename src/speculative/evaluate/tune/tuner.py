"""Chooses parameters on tuning problems, and runs the choice on held-out ones."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import product
from typing import Any, Protocol

from msgspec import Struct

from speculative.errors import UnknownNameError, UsageError
from speculative.evaluate.problems import TaskProblem
from speculative.evaluate.runner import EvalCell, EvalRunner
from speculative.evaluate.tune.candidates import Candidate, make_spec, percentile, percentile_of, threshold_at, value_at
from speculative.evaluate.tune.replay import Replays
from speculative.evaluate.tune.target import Figures, Target, figures
from speculative.methods.base import Method
from speculative.methods.registry import build, find
from speculative.methods.spec import MethodSpec, parse_method
from speculative.methods.tunable import GradedTrace, Tunable, judged
from speculative.runs.folder import RunFolder
from speculative.runs.sample import Sample
from speculative.stats.cost import View
from speculative.stats.prices import Prices

BASELINE = "big_only"
LEAST_PART = 10
"""The fewest problems on which many candidates are first run."""

SHARE_STEP = 0.05
"""The width of a range of big's shares; the first part keeps the most accurate candidates of each range."""

MORE = 1.1
"""The choice may take so many times the smallest share of big's tokens that keeps a bound on accuracy."""

DEARER = (0.6, 0.75, 0.9)
"""Shares of the scores at which big gets a turn, for candidates when no other one keeps a bound on accuracy."""

FINER = (0.25, 0.5, 0.75)
"""The places of finer candidates between two shares of scores."""


class MeasuredCandidate(Struct, frozen=True):
    """A candidate with its figures."""

    candidate: Candidate
    figures: Figures


class TuningChoice(Struct, frozen=True):
    """The result of tuning.

    Attributes:
        candidates: all candidates that were run on all tuning problems, by big's share.
        best: the best of them; None for a sweep without a target.
        met: whether the best one keeps the bound of the target on the tuning problems.
        baseline: the figures of `big_only` on the tuning problems.
        held_out: the figures of the best one on the held-out problems; None if it misses the target.
        held_out_baseline: those of `big_only`.
        run: the chains that this command ran.
        replayed: the chains that were taken over, since no comparison differs.
    """

    candidates: list[MeasuredCandidate]
    best: MeasuredCandidate | None
    met: bool
    baseline: Figures
    held_out: Figures | None
    held_out_baseline: Figures | None
    run: int
    replayed: int


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


class TunePlan(Struct, frozen=True):
    """The method, the values to try, and the problems.

    `cell` makes the cell of a method on problems. `sweeps` are the values of parameters that the user named. Without a target all
    problems are tuning problems. At most `candidates` candidates are run on all of them.
    """

    method: str
    params: dict[str, Any]
    sweeps: dict[str, list[str]]
    target: Target | None
    tuning: list[TaskProblem]
    held_out: list[TaskProblem]
    cell: Callable[[MethodSpec, Sequence[TaskProblem]], EvalCell]
    view: View
    prices: Prices | None
    candidates: int


def split_problems(problems: Sequence[TaskProblem], held_out: float, seed: int) -> tuple[list[TaskProblem], list[TaskProblem]]:
    """Splits problems into tuning and held-out ones, alike in their levels.

    Each part has one problem or more.

    Raises `UsageError` for fewer than two.
    """
    if len(problems) < 2:
        raise UsageError(f"tuning needs at least 2 problems, got {len(problems)}; some are held out")
    by_level: dict[int | str, list[TaskProblem]] = {}
    for problem in problems:
        by_level.setdefault(problem.level, []).append(problem)
    chance = random.Random(seed)
    for level in by_level.values():
        chance.shuffle(level)
    places = {one.id: place / len(level) for level in by_level.values() for place, one in enumerate(level)}
    order = sorted(problems, key=lambda one: places[one.id])  # any beginning of it has about the same share of each level
    count = max(1, min(len(order) - 1, round(held_out * len(order))))
    return order[: len(order) - count], order[len(order) - count :]


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
        if plan.target and len(candidates) > plan.candidates:
            part = plan.tuning[: max(LEAST_PART, -(-len(plan.tuning) * plan.candidates // len(candidates)))]  # as many chains as later
            candidates = spread_over_shares(await self._measure(runner, candidates, part, "first part"), plan.candidates)
        found = await self._measure(runner, candidates, plan.tuning, "candidates")
        if plan.target and not plan.sweeps:
            best = min(found, key=lambda one: plan.target.rank(one.figures))  # pyright: ignore[reportOptionalMemberAccess]
            if plan.target.kind == "accuracy" and plan.target.gap(best.figures):
                more = [one for group in groups for one in group.dearer(best.candidate)]
                candidates = [*candidates, *more]
                found += await self._measure(runner, more, plan.tuning, "more of big")
                best = min(found, key=lambda one: plan.target.rank(one.figures))  # pyright: ignore[reportOptionalMemberAccess]
            finer = [one for group in groups for one in group.finer(best.candidate, candidates)]
            found += await self._measure(runner, finer, plan.tuning, "finer candidates") if finer else []
        found.sort(key=lambda one: (one.figures.share_kept, -one.figures.accuracy))
        return await self._report(runner, found)

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


class CandidateGroup(Struct, frozen=True):
    """Candidates with the same recorded scores.

    `combination` are the parameters that shape the scores, and `swept` are values by hand.
    """

    method: str
    base: dict[str, Any]
    combination: dict[str, Any]
    tunables: list[Tunable]
    swept: dict[str, list[str]]
    scores: dict[str, list[float]]

    def candidates(self) -> list[Candidate]:
        """Returns every combination of the values of the chosen parameters."""
        choices = [[(tunable.field, value) for value in self._values(tunable)] for tunable in self.tunables]
        return [self._candidate(dict(values)) for values in product(*choices)] if all(choices) else []

    def dearer(self, best: Candidate) -> list[Candidate]:
        """Returns candidates that give big more turns than any so far.

        Other parameters are those of the best one.
        """
        if not self._has(best):
            return []
        choices = [
            [(one.field, value) for value in (self._thresholds(one, DEARER) if one.big_if else [best.params[one.field]])]
            for one in self.tunables
        ]
        return [self._candidate(dict(values)) for values in product(*choices)]

    def _has(self, candidate: Candidate) -> bool:
        """Returns whether a candidate has the fixed parameters of this group."""
        return all(candidate.params.get(field) == value for field, value in self.base.items())

    def finer(self, best: Candidate, others: Sequence[Candidate]) -> list[Candidate]:
        """Returns candidates between the best one and its neighbours.

        Each differs from the best one in one parameter with scores.
        """
        if not self._has(best):
            return []
        found: dict[str, Candidate] = {}
        for tunable in self.tunables:
            scored = tunable.big_if and tunable.field not in self.swept
            values = self._thresholds(tunable, (*tunable.shares, *DEARER)) if scored else []
            if best.params[tunable.field] not in values:
                continue
            place = values.index(best.params[tunable.field])
            for neighbour in values[max(0, place - 1) : place] + values[place + 1 : place + 2]:
                for part in FINER:
                    value = self._between(tunable, values[place], neighbour, part)
                    made = self._candidate({**{one.field: best.params[one.field] for one in self.tunables}, tunable.field: value})
                    found[made.label] = made
        known = {one.label for one in others}
        return [made for label, made in found.items() if label not in known]

    def _between(self, tunable: Tunable, one: float, other: float, part: float) -> float:
        """Returns a value between two others, by the rank of the scores."""
        scores = self.scores[tunable.field]
        shares = [sum(tunable.gives_big(score, value) for score in scores) / len(scores) for value in (one, other)]
        found = threshold_at(tunable, scores, shares[0] + part * (shares[1] - shares[0]))
        return one if found is None else found

    def _values(self, tunable: Tunable) -> list[Any]:
        scores = self.scores.get(tunable.field, [])
        if tunable.field in self.swept:
            numbers = [(value, percentile_of(value) if tunable.big_if else None) for value in self.swept[tunable.field]]
            return [value if number is None else value_at(scores, number) for value, number in numbers]
        if not tunable.big_if:
            return list(tunable.values)
        return self._thresholds(tunable, tunable.shares)

    def _thresholds(self, tunable: Tunable, shares: Sequence[float]) -> list[float]:
        """Returns a threshold for each share of the scores at which big gets a turn."""
        scores = self.scores.get(tunable.field, [])
        found = [threshold_at(tunable, scores, share) for share in shares] if scores else []
        return list(dict.fromkeys(value for value in found if value is not None))

    def _candidate(self, values: dict[str, Any]) -> Candidate:
        params = {**self.base, **values}
        made = make_spec(self.method, params)
        own = made.method.model_dump(mode="json")
        scored = [field for field in values if self.scores.get(field)]
        percentiles = {field: round(percentile(self.scores[field], float(own[field])), 1) for field in scored}
        return Candidate(made, params, {**self.combination, **values}, percentiles)


def most_careful(found: Sequence[MeasuredCandidate], target: Target) -> MeasuredCandidate:
    """Returns the best candidate, or one as accurate that costs little more.

    The smallest share that keeps a bound on accuracy keeps it barely, and other problems may need a little more.
    """
    best = min(found, key=lambda one: target.rank(one.figures))
    if target.kind != "accuracy" or target.gap(best.figures):
        return best
    near = [one for one in found if not target.gap(one.figures) and one.figures.share_kept <= MORE * best.figures.share_kept]
    return max(near, key=lambda one: (one.figures.accuracy, one.figures.share_kept))


def spread_over_shares(found: Sequence[MeasuredCandidate], most: int) -> list[Candidate]:
    """Returns the most accurate candidates of each range of big's share.

    The best one of every range comes first, then the second of every range, and so on.
    """
    ranges: dict[int, list[MeasuredCandidate]] = {}
    for one in sorted(found, key=lambda one: (-one.figures.accuracy, one.figures.share_kept)):
        ranges.setdefault(int(one.figures.share_kept / SHARE_STEP), []).append(one)
    turns = [(turn, share, one.candidate) for share, group in sorted(ranges.items()) for turn, one in enumerate(group)]
    return [candidate for _, _, candidate in sorted(turns, key=lambda turn: turn[:2])[:most]]
