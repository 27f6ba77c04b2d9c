"""The base of all families: a problem is a text, and a solver that knows the next right move in any state."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from training.tunnel.moves import DeadEndError, Move, State, Step

MOST_STEPS = 400
HUGE = (1500, 2000, 3000, 4500, 6500, 9000)
LONG = 11


@dataclass(frozen=True)
class Problem(ABC):
    """A problem of some family."""

    family: ClassVar[str]
    text: str
    level: int

    @property
    @abstractmethod
    def structure(self) -> str:
        """The numbers and relations without the wording; two problems of one structure have one solution."""

    @property
    @abstractmethod
    def goal(self) -> str:
        """The thing that is asked for, in a word or two."""

    @abstractmethod
    def start(self) -> State:
        """The state before the first step."""

    @abstractmethod
    def move(self, state: State) -> Move | None:
        """The next right move; None when the answer is known."""

    @abstractmethod
    def result(self, state: State) -> int | None:
        """The answer, as far as a state has it."""

    def detour(self, state: State) -> Move | None:
        """A move that looks where nothing is to be found; a chain may take it, and then goes back."""
        del state
        return None

    def numbers(self, state: State) -> list[int]:
        """The numbers that a reader could confuse."""
        return [value for value in state.values() if isinstance(value, int)]

    def guess(self, state: State) -> int:
        """The honest answer in a state: the result, else the last value that was found, else 0."""
        found = self.result(state)
        return found if found is not None else state.get("last", 0)

    def walk(self, state: State | None = None) -> Iterator[tuple[State, Step]]:
        """The right steps from a state on, each with the state before it."""
        state = self.start() if state is None else state
        for _ in range(MOST_STEPS):
            move = self.move(state)
            if move is None:
                return
            step = move.step()
            yield state, step
            state = {**state, **step.update}
        raise DeadEndError

    @property
    def answer(self) -> int:
        """The right answer."""
        state = self.start()
        for before, step in self.walk():
            state = {**before, **step.update}
        found = self.result(state)
        assert found is not None
        return found


def largest(level: int, tops: tuple[int, ...]) -> int:
    """The largest number of a problem: its family's `tops` up to level 10, then thousands."""
    return (*tops, *HUGE)[min(level, len(tops) + len(HUGE)) - 1]


def length(level: int) -> float:
    """How long a problem is: from level 11 on problems grow by their numbers more than by their steps."""
    return min(level, LONG) + 0.3 * max(0, level - LONG)


def one_of(words: tuple[str, ...]) -> str:
    """Words as an enumeration: `red, blue and gray`."""
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
