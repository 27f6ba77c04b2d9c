"""Reading: what a model wrote, compared with what a right solver does."""

from __future__ import annotations

from dataclasses import dataclass

from training.reading import steps_of
from training.tunnel.base import Problem
from training.tunnel.dialect import CONCLUSION
from training.tunnel.documents import right_step
from training.tunnel.moves import DeadEndError


@dataclass(frozen=True)
class Read:
    """One step of a chain by another author: the steps before it were all right. `truth` is the step that belongs there."""

    problem: Problem
    before: tuple[str, ...]
    text: str
    truth: str
    short: str
    right: bool

    @property
    def chain(self) -> str:
        """The chain before the step."""
        return "".join(self.before)


def read(problem: Problem, text: str) -> list[Read]:
    """The steps up to and including the first wrong one. A chain that was cut off has no last step."""
    found: list[Read] = []
    state = problem.start()
    steps = steps_of(text)
    if "</think>" not in text:
        steps = steps[:-1]
    for place, piece in enumerate(steps):
        before = tuple(steps[:place])
        try:
            move = problem.move(state)
            truth = move.step() if move else None
            step = right_step(problem, state, piece)
        except DeadEndError:
            return found
        if truth is None:
            said = CONCLUSION.format(value=problem.guess(state))
            found.append(Read(problem, before, piece, said, said, piece == said))
            return found
        found.append(Read(problem, before, piece, truth.text, truth.short or truth.text, step is not None))
        if step is None:
            return found
        state = {**state, **step.update}
    return found
