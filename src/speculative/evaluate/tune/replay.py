"""Takes over recorded chains for other values of a parameter, where that is exact.

A chain of a method that compares recorded scores with a parameter is the same chain with another value, as long as no comparison differs:
the seeds of a chain depend on its problem and not on parameters. So a recorded chain stands for all values between the nearest scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct, structs

from speculative.evaluate.runner import EvalCell
from speculative.methods.base import Method
from speculative.methods.tunable import Tunable
from speculative.runs.folder import Run
from speculative.runs.sample import Sample
from speculative.trace.trace import Trace

Place = tuple[str, int, int]
"""Problem, epoch and seed."""


class ReplayableChain(Struct, frozen=True):
    """A finished chain with the scores that it compared, by parameter."""

    sample: Sample
    scores: dict[str, list[float]]


class Replays:
    """The recorded chains of one method."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._chains: dict[Place, list[ReplayableChain]] = {}
        self._known: set[str] = set()

    def add(self, sample: Sample, method: Method) -> None:
        """Takes up a chain of a method, if it can stand for others."""
        if sample.trace is None or sample.trace in self._known or sample.degraded or not exact_tunables(method):
            return
        self._known.add(sample.trace)
        if trace := self._run.trace(sample):
            place = (sample.problem, sample.epoch, sample.seed)
            self._chains.setdefault(place, []).append(ReplayableChain(sample, scores_of(method, trace)))

    def fill(self, cell: EvalCell) -> int:
        """Gives a cell the chains that stand for its own, and returns their number."""
        method, filled = cell.spec.method, 0
        params = method.params
        tunables = exact_tunables(method)
        for one in cell.planned:
            if (one.task_problem.id, one.epoch) in cell.done:
                continue
            for recorded in self._chains.get((one.task_problem.id, one.epoch, one.seed), ()):
                if recorded.sample.settings == one.settings and covers(recorded, tunables, params):
                    sample = structs.replace(recorded.sample, label=cell.spec.label, params=params)
                    cell.done[one.task_problem.id, one.epoch] = sample
                    filled += 1
                    break
        return filled


def exact_tunables(method: Method) -> list[Tunable]:
    """Returns the parameters of a method whose comparisons can be replayed."""
    return [tunable for tunable in method.tunables() if tunable.scores and tunable.exact]


def scores_of(method: Method, trace: Trace) -> dict[str, list[float]]:
    """Returns the scores that a chain compared with each parameter."""
    return {tunable.field: list(tunable.scores(trace)) for tunable in method.tunables() if tunable.scores}


def covers(recorded: ReplayableChain, tunables: Sequence[Tunable], params: dict[str, Any]) -> bool:
    """Returns whether a chain would be the same with other parameters.

    No comparison may differ.
    """
    own, scored = recorded.sample.params, {tunable.field for tunable in tunables}
    if any(own.get(field) != value for field, value in params.items() if field not in scored) or own.keys() != params.keys():
        return False
    return all(
        tunable.decisions(recorded.scores[tunable.field], own[tunable.field])
        == tunable.decisions(recorded.scores[tunable.field], params[tunable.field])
        for tunable in tunables
    )
