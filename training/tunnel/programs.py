"""Programs: short lines about two numbers, repeated; what is left at the end."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from training.tunnel.base import Problem, largest, length
from training.tunnel.moves import DeadEndError, Move, State, Sum

LETTERS = "ABCDEFGH"
NAMES = (("a", "b"), ("x", "y"), ("m", "n"), ("p", "q"))


@dataclass(frozen=True)
class Line:
    """A line: what it does, to which number; `test` is "" or a condition on a number."""

    sign: str
    target: str
    amount: int | str  # a number or a name
    test: str = ""  # "", even, above
    on: str = ""
    bound: int = 0
    other: tuple[str, str, int] | None = None  # sign, target, amount where the test fails

    @property
    def text(self) -> str:
        """The line as the problem says it."""
        does = act(self.sign, self.target, self.amount)
        if not self.test:
            return f"{does[0].upper()}{does[1:]}."
        condition = f"{self.on} is even" if self.test == "even" else f"{self.on} is above {self.bound}"
        otherwise = f", else {act(*self.other)}" if self.other else ""
        return f"If {condition}, {does}{otherwise}."

    def holds(self, state: State) -> bool:
        """Whether the test holds."""
        return state[self.on] % 2 == 0 if self.test == "even" else state[self.on] > self.bound


def act(sign: str, target: str, amount: int | str) -> str:
    """Words for what is done."""
    return {
        "+": f"add {amount} to {target}",
        "-": f"take {amount} from {target}",
        "*": f"multiply {target} by {amount}",
        "/": f"halve {target}",
    }[sign]


@dataclass(frozen=True)
class Program(Problem):
    """Two numbers, lines, and how often they are repeated."""

    family = "programs"
    names: tuple[str, str]
    starts: tuple[int, int]
    lines: tuple[Line, ...]
    rounds: int
    asked: str

    @property
    def structure(self) -> str:
        a, b = self.names
        return f"programs {self.starts} {self.rounds} {'|'.join(line.text for line in self.lines)} {self.asked}".replace(
            f" {a}", " 1"
        ).replace(f" {b}", " 2")

    @property
    def goal(self) -> str:
        return self.asked

    def start(self) -> State:
        return {"round": 0, "at": -1, **dict(zip(self.names, self.starts, strict=True))}

    def result(self, state: State) -> int | None:
        return state[self.asked]

    def numbers(self, state: State) -> list[int]:
        return [state[name] for name in self.names] + [line.amount for line in self.lines if isinstance(line.amount, int)]

    def move(self, state: State) -> Move | None:
        at, turn = state["at"], state["round"]
        if at < 0:
            if turn == self.rounds:
                return None
            a, b = self.names
            said = f"Round {turn + 1} of {self.rounds}: {a} is {state[a]}, {b} is {state[b]}"
            return Move(said, update={"at": 0, "round": turn + 1})
        line = self.lines[at]
        after = {"at": at + 1 if at + 1 < len(self.lines) else -1}
        if not line.test:
            return self._act(state, f"{LETTERS[at]}: {line.text.removesuffix('.')}", (line.sign, line.target, line.amount), after)
        right = line.holds(state)
        return self._tested(state, line, right, after, lambda: self._tested(state, line, not right, after, None))

    def _tested(self, state: State, line: Line, holds: bool, after: Mapping[str, object], other: object) -> Move:
        """The move of a line with a test, for either outcome."""
        a, b = self.names
        said = f"{LETTERS[state['at']]}: {line.text.removesuffix('.')}, {state[line.on]} {'yes' if holds else 'no'}"
        does = (line.sign, line.target, line.amount) if holds else line.other
        if does is None:
            return Move(f"{said}: {a} is {state[a]}, {b} is {state[b]}", update=after, other=other)  # type: ignore[arg-type]
        return self._act(state, said, does, after, other)

    def _act(self, state: State, said: str, does: tuple[str, str, int | str], after: Mapping[str, object], other: object = None) -> Move:
        sign, target, amount = does
        number = 2 if sign == "/" else state[amount] if isinstance(amount, str) else amount
        sums: tuple[Sum, ...] = ((state[target], sign, number),)

        def finish(results: Sequence[int]) -> tuple[str, Mapping[str, object]]:
            values = {**{name: state[name] for name in self.names}, target: results[-1]}
            return ": " + ", ".join(f"{name} is {value}" for name, value in values.items()), {}

        return Move(said, LETTERS[state["at"]], sums, target, update=after, other=other, finish=finish)  # type: ignore[arg-type]


def draw_line(rng: random.Random, names: tuple[str, str], level: int) -> Line:
    """A line."""
    target = rng.choice(names)
    other = names[1] if target == names[0] else names[0]
    most = 5 + 5 * level
    match rng.randrange(5):
        case 0:
            return Line("+", target, rng.choice((other, rng.randint(2, most))))
        case 1:
            return Line("/", target, 2, "even", target, other=("+", target, rng.choice((1, 3, 5, 7))))
        case 2:
            return Line("-", target, rng.randint(2, most), "above", target, rng.randint(most, 3 * most), ("+", other, rng.randint(2, most)))
        case 3:
            return Line("*", target, rng.randint(2, 4), "even", other)
        case _:
            return Line("+", target, rng.randint(2, most), "even", other, other=("+", other, rng.randint(1, 9)))


def draw_program(rng: random.Random, level: int) -> Program:
    """A program of a level."""
    top = largest(level, (60, 80, 100, 150, 200, 300, 400, 600, 800, 999))
    while True:
        names = rng.choice(NAMES)
        starts = (rng.randint(1, top // 3), rng.randint(1, top // 3))
        lines = tuple(draw_line(rng, names, level) for _ in range(2 + (level > 3) + (level > 7)))
        program = Program("", level, names, starts, lines, 2 + round(0.55 * length(level)), rng.choice(names))
        try:
            states = [{**before, **step.update} for before, step in program.walk()]
        except DeadEndError:
            continue
        if max(max(state[name] for name in names) for state in states) <= top and len({line.text for line in lines}) == len(lines):
            break
    a, b = names
    listed = "".join(f"{letter}: {line.text}\n" for letter, line in zip(LETTERS, lines, strict=False))
    text = f"{a} is {starts[0]} and {b} is {starts[1]}. Do this {program.rounds} times:\n{listed}"
    return Program(f"{text}What is {program.asked} at the end?", level, names, starts, lines, program.rounds, program.asked)
