"""Plans a tuning, and says what came of it."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct

from speculative.errors import UsageError
from speculative.evaluate.problems import TaskProblem
from speculative.evaluate.runner import EvalCell
from speculative.evaluate.tune.selection import MeasuredCandidate
from speculative.evaluate.tune.target import Figures, Target
from speculative.methods.spec import MethodSpec
from speculative.stats.cost import View
from speculative.stats.prices import Prices


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
