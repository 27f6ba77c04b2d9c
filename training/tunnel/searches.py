"""Searches: the first number with a remainder, and the root of a sum; found by trying."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from training.tunnel.base import Problem, length
from training.tunnel.moves import PREVIOUS, DeadEndError, Move, State, Sum

STRIDE = 5


@dataclass(frozen=True)
class Remainders(Problem):
    """The first number, from one on by equal strides, that leaves a remainder."""

    family = "searches"
    first: int
    stride: int
    modulus: int
    rest: int

    @property
    def structure(self) -> str:
        return f"searches {self.first} {self.stride} {self.modulus} {self.rest}"

    @property
    def goal(self) -> str:
        return "number"

    def start(self) -> State:
        return {"n": self.first, "tried": False}

    def result(self, state: State) -> int | None:
        return state["n"] if state.get("found") else None

    def move(self, state: State) -> Move | None:
        n = state["n"]
        if state.get("found"):
            return None
        if state["tried"]:
            return Move("Next", "Next", ((n, "+", self.stride),), "n", update={"tried": False}, join=": ")

        def finish(results: Sequence[int]) -> tuple[str, Mapping[str, Any]]:
            good = results[-1] == self.rest
            return (", good" if good else f", not {self.rest}"), {"tried": True, "found": good}

        sums: tuple[Sum, ...] = ((n // self.modulus, "*", self.modulus), (n, "-", PREVIOUS))
        return Move(f"Try {n}", f"Try {n}", sums, finish=finish, join=": ")


@dataclass(frozen=True)
class Root(Problem):
    """The whole x with x*x + k*x = n: up by fives, then back by ones."""

    family = "searches"
    k: int
    n: int
    first: int

    @property
    def structure(self) -> str:
        return f"searches root {self.k} {self.n} {self.first}"

    @property
    def goal(self) -> str:
        return "x"

    def start(self) -> State:
        return {}

    def result(self, state: State) -> int | None:
        return state["x"] if state.get("size") == "right" else None

    def move(self, state: State) -> Move | None:
        size = state.get("size")
        if size == "right":
            return None
        if size is None:
            return self._try(self.first)
        if size == "too small" and state.get("back"):
            raise DeadEndError
        if size == "too small":
            return self._try(state["x"] + STRIDE)
        words = f"Wait, {state['x']} is too large, go back to {state['x'] - 1}" if not state.get("back") else ""
        if words and not state.get("said"):
            return Move(words, update={"said": True})
        return self._try(state["x"] - 1, back=True)

    def _try(self, x: int, back: bool = False) -> Move:
        def finish(results: Sequence[int]) -> tuple[str, Mapping[str, Any]]:
            size = "right" if results[-1] == self.n else "too small" if results[-1] < self.n else "too large"
            than = {"right": "that is", "too small": "below", "too large": "above"}[size]
            return f", {than} {self.n}", {"size": size, "x": x, "back": back}

        if x < 0:
            raise DeadEndError
        return Move(f"Try {x}", f"Try {x}", ((x, "*", x), (self.k, "*", x), ("0", "+", PREVIOUS)), finish=finish, join=": ")


def draw_search(rng: random.Random, level: int) -> Remainders | Root:
    """A search of a level."""
    if rng.random() < 0.4:
        k = rng.randint(1, 2 + level)
        x = rng.randint(4 + 2 * level, 8 + 4 * level)
        first = max(1, x - STRIDE * rng.randint(int(length(level)) // 3, 2 + int(length(level)) // 2) - rng.randint(0, STRIDE - 1))
        n = x * x + k * x
        return Root(f"x is a whole number and x * x + {k} * x = {n}. Try from {first} on. What is x?", level, k, n, first)
    while True:
        stride, modulus = rng.randint(3, 6 + level), rng.randint(3, 6 + level)
        first, rest = rng.randint(5, 20 + 20 * level), rng.randrange(modulus)
        tries = next((t for t in range(60) if (first + t * stride) % modulus == rest), None)
        if tries is not None and int(length(level)) // 2 <= tries <= 3 + 2 * length(level) and stride != modulus:
            break
    text = f"Begin at {first} and go up by {stride}. What is the first number that leaves {rest} when divided by {modulus}?"
    return Remainders(text, level, first, stride, modulus, rest)
