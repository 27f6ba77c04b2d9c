"""Counting: how many numbers of a list fulfil conditions."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from training.tunnel.base import LONG, Problem, length
from training.tunnel.moves import Move, State, Sum
from training.tunnel.stories import LETTERS


@dataclass(frozen=True)
class Condition:
    """A condition that a number fulfils or not."""

    kind: str  # even, odd, above, below, multiple, digits
    bound: int = 0

    @property
    def text(self) -> str:
        """The condition as the problem says it."""
        return {
            "even": "even", "odd": "odd", "above": f"above {self.bound}", "below": f"below {self.bound}",
            "multiple": f"multiples of {self.bound}", "digits": f"such that their digits add up to more than {self.bound}",
        }[self.kind]  # fmt: skip

    def holds(self, n: int) -> bool:
        """Whether a number fulfils it."""
        match self.kind:
            case "even":
                return n % 2 == 0
            case "odd":
                return n % 2 == 1
            case "above":
                return n > self.bound
            case "below":
                return n < self.bound
            case "multiple":
                return n % self.bound == 0
            case _:
                return sum(map(int, str(n))) > self.bound

    def said(self, n: int, holds: bool) -> str:
        """Returns the words of a step about a number."""
        no = "" if holds else "not "
        match self.kind:
            case "even" | "odd":
                return self.kind if holds else ("odd" if self.kind == "even" else "even")
            case "above" | "below":
                return f"{no}{self.kind} {self.bound}"
            case "multiple":
                return f"{n // self.bound}*{self.bound}+{n % self.bound}, {no}a multiple"
            case _:
                return f"digits {'+'.join(str(n))}={sum(map(int, str(n)))}, {'' if holds else 'not '}above {self.bound}"


@dataclass(frozen=True)
class Counting(Problem):
    """Numbers and conditions."""

    family = "counting"
    values: tuple[int, ...]
    conditions: tuple[Condition, ...]

    @property
    def structure(self) -> str:
        return f"counting {self.values} {[c.text for c in self.conditions]}"

    @property
    def told(self) -> list[Condition]:
        """The conditions as the text names them, which is the order in which a chain checks them."""
        return in_order(self.conditions)

    @property
    def goal(self) -> str:
        return "count"

    def start(self) -> State:
        return {"at": 0, "count": 0}

    def result(self, state: State) -> int | None:
        return state["count"]

    def move(self, state: State) -> Move | None:
        at, count = state["at"], state["count"]
        if at == len(self.values):
            return None
        n = self.values[at]
        truth = [c.holds(n) for c in self.told]
        place = len(truth) if all(truth) else truth.index(False)
        return self._move(n, at, count, place, lambda: self._move(n, at, count, self._other(place), None))

    def _other(self, place: int) -> int:
        """A wrong place of the first condition that fails."""
        return place + 1 if place < len(self.conditions) else place - 1

    def _move(self, n: int, at: int, count: int, fails: int, other: object) -> Move:
        """The move that finds the conditions before `fails` fulfilled."""
        said = [c.said(n, place < fails) for place, c in enumerate(self.told[: fails + 1])]
        words = f"{LETTERS[at]}: {n} is {', '.join(said)}"
        if fails < len(self.conditions):
            return Move(f"{words}, no, count {count}", update={"at": at + 1}, other=other)  # type: ignore[arg-type]
        sums: tuple[Sum, ...] = ((count, "+", 1),)
        return Move(f"{words}, count", LETTERS[at], sums, "count", update={"at": at + 1}, other=other, join=" ")  # type: ignore[arg-type]


def in_order(conditions: Sequence[Condition]) -> list[Condition]:
    """The conditions with one about digits last, for its words are long."""
    return sorted(conditions, key=lambda c: c.kind == "digits")


def draw_counting(rng: random.Random, level: int) -> Counting:
    """A list of a level."""
    top = 50 + 50 * level if level > LONG else 50 + 50 * min(level, 10)
    values = tuple(rng.sample(range(2, top), 6 + round(2 * length(level))))
    conditions: list[Condition] = []
    while len(conditions) < 1 + (level > 2) + (level > 7) + (level > 13):
        kind = rng.choice(("even", "odd", "above", "below", "multiple", "digits")[: 4 if level < 3 else 6])
        bound = {
            "above": rng.randint(5, top // 2),
            "below": rng.randint(top // 3, top),
            "multiple": rng.choice((3, 4, 6, 7, 8, 9)),
            "digits": rng.randint(5, 11),
        }
        condition = Condition(kind, bound.get(kind, 0))
        kinds = {c.kind for c in conditions} | ({"even"} if any(c.kind == "odd" for c in conditions) else set())
        if kind not in kinds and not (kind == "odd" and "even" in kinds):
            conditions.append(condition)
    named = " and ".join(c.text for c in in_order(conditions))
    listed = "".join(f"{letter}: {value}\n" for letter, value in zip(LETTERS, values, strict=False))
    return Counting(f"Here are some numbers.\n{listed}How many of them are {named}?", level, values, tuple(conditions))
