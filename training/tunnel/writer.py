"""A writer: puts one chain into spans, and knows where in its problem it stands."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import NamedTuple

from training.tunnel.base import MOST_STEPS, Problem
from training.tunnel.dialect import AGAIN, CHECK, CLOSE, CONCLUSION, END, FIX, HINTS, RIGHT, SCORE, WAIT, WRONG
from training.tunnel.moves import DeadEndError, Move, State, Step
from training.tunnel.slips import slip

VERDICT_WEIGHT = 4.0
DETOUR = 0.04


class Span(NamedTuple):
    """A piece of a document: how much it is learnt (0: read only), and whether it is a whole step that is right (1) or wrong (0)."""

    text: str
    weight: float = 0.0
    verdict: int = -1


Spans = list[Span]


def named(move: Move) -> str:
    """The thing that a move is about: `k` of `Now k:`, `jade` of `Box jade`."""
    return move.label.removeprefix("Now ").removeprefix("Box ").removesuffix(":")


@dataclass
class Writer:
    """Writes one chain about one problem, and knows where it stands.

    A `watchful` one never goes on from a wrong step that it has just read: it learns to correct it first.
    """

    rng: random.Random
    problem: Problem
    watchful: bool = True
    spans: Spans = field(default_factory=list[Span])
    state: State = field(default_factory=dict[str, object])
    right: Step | None = None  # what the step written last should be
    after: State = field(default_factory=dict[str, object])  # where it should lead
    slipped: bool = False
    written: int = 0

    def __post_init__(self) -> None:
        self.state = self.problem.start()

    @property
    def move(self) -> Move | None:
        """The next right move."""
        return self.problem.move(self.state)

    @property
    def complete(self) -> bool:
        """Whether the answer is known."""
        return self.move is None

    def put(self, text: str, weight: float = 0.0, verdict: int = -1) -> None:
        """Add text."""
        self.spans.append(Span(text, weight, verdict))

    def step(self, learn: bool = True, wrong: bool = False, short: bool = False, detours: bool = True) -> None:
        """Write the next step; a wrong one is never learnt."""
        if learn:
            self.watch()
        self.written += 1
        if self.written > MOST_STEPS:
            raise DeadEndError
        move = self.move
        if move is None:
            return
        if detours and not wrong and not short and self.rng.random() < DETOUR:
            detour = self.problem.detour(self.state)
            move = detour or move
        step = self.right = move.step()
        self.after = {**self.state, **step.update}
        made = slip(self.rng, self.problem, self.state, move) if wrong else None
        self.slipped = made is not None
        step = made or step
        # A short form leaves out the steps that only plan.
        text = (step.short or ("" if not self.slipped else step.text)) if short else step.text
        if text:
            self.put(text, float(learn and not self.slipped), int(not self.slipped))
        self.state = {**self.state, **step.update}

    def watch(self) -> None:
        """Where a watchful writer has just read a wrong step, it corrects it without being asked."""
        if self.watchful and self.slipped:
            self.fix()

    def fix(self) -> None:
        """`Wait, ` and the step written last as it should be; the chain stands on that then."""
        self.put(f"{WAIT}{FIX}{self.checked()}", 1.0, 1)

    def check(self) -> None:
        """The cue, and the step written last as it should be."""
        self.put(CHECK)
        self.put(f" {self.checked()}", 1.0)

    def checked(self) -> str:
        """The step written last as it should be, in its short form if it has one."""
        assert self.right is not None
        self.state, self.slipped = self.after, False
        return self.right.short or self.right.text

    def score(self) -> None:
        """The cue, and a verdict in one token on the step written last."""
        self.put(SCORE)
        self.put(WRONG if self.slipped else RIGHT, VERDICT_WEIGHT)
        self.put(".\n\n")

    def hint(self, length: int, learn: bool = True, cue: bool = True) -> None:
        """A hint of one of three lengths: what is wanted and next, then the plan, then the facts."""
        if self.slipped:
            self.state, self.slipped = self.after, False
        ahead: list[tuple[Move, Step]] = []
        state = self.state
        while len(ahead) < 24 and (move := self.problem.move(state)) is not None:
            step = move.step()
            ahead.append((move, step))
            state = {**state, **step.update}
        said = f" goal {self.problem.goal}; next {ahead[0][0].words if ahead else 'the answer'}"
        counted = [move for move, _ in ahead if move.sums]
        if length > 0:
            said += f"; plan {', '.join(map(named, counted[:4])) or 'the answer'}"
        if length > 1:
            said += f"; facts {'; '.join(move.words for move in counted[:3]) or 'all known'}"
        self.put(HINTS[length], 0.0 if cue else float(learn))
        self.put(f"{said}.\n\n", float(learn))

    def rest(self, wrong: float = 0.0, short: bool = False, learn: bool = True) -> None:
        """Write the remaining steps, each one wrong with the given chance."""
        while not self.complete:
            self.step(learn, self.rng.random() < wrong, short)

    def some(self, wrong: float = 0.0, short: bool = False, learn: bool = True, most: int = 40) -> None:
        """Write at least one step and at most all."""
        whole = sum(1 for _ in self.problem.walk())
        for _ in range(self.rng.randint(1, max(1, min(whole, most)))):
            self.step(learn, self.rng.random() < wrong, short)

    def conclude(self, learn: bool = True) -> None:
        """The step that names the answer."""
        if learn:
            self.watch()
            self.rest()
        self.put(CONCLUSION.format(value=self.problem.guess(self.state)), float(learn), 1 if not self.slipped else -1)
        self.right, self.slipped = None, False

    def close(self) -> None:
        """End the thinking and answer."""
        self.put(f"{CLOSE}{self.problem.guess(self.state)}{END}", 1.0)

    def again(self) -> None:
        """A second pass from the problem's beginning, when cued."""
        self.put(WAIT)
        self.put(AGAIN, 1.0)
        self.state, self.slipped, self.right = self.problem.start(), False, None
        self.rest()
        self.conclude()
