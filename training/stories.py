"""Stories: number problems in plain English, with their solutions step by step.

Plain Python on purpose: the generator and its tests need no numerical package.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from functools import cache
from typing import Literal

from training.wordings import DOUBLE, HALF, LINKS, NAMES, OPENINGS, QUESTIONS, THINGS, WORDINGS, Kind

Split = Literal["training", "benchmark", "tuning"]

LEVELS = range(1, 11)
LARGEST = 999  # no value in any story is larger
CEILINGS = (100, 200, 300)  # a story stays below one of these
WEIGHTS: dict[Kind, float] = {
    "gain": 3, "lose": 3, "gain_groups": 2, "lose_groups": 2, "times": 1.5, "share": 1.5,
}  # fmt: skip


@dataclass(frozen=True)
class Operation:
    """One thing that happens in a story: `a` alone, or `a` groups of `b`."""

    kind: Kind
    a: int
    b: int = 0

    @property
    def grouped(self) -> bool:
        """Whether the operation needs a product before its sum."""
        return self.kind in ("gain_groups", "lose_groups")

    @property
    def sign(self) -> str:
        """The sign of the last equation."""
        return {"gain": "+", "gain_groups": "+", "lose": "-", "lose_groups": "-", "times": "*", "share": "/"}[self.kind]

    @property
    def amount(self) -> int:
        """The number right of the sign."""
        return self.a * self.b if self.grouped else self.a

    def apply(self, value: int) -> int | None:
        """The value afterwards; None where the story would leave the whole numbers 0 to 999."""
        if self.sign == "/":
            after, rest = divmod(value, self.a)
        else:
            after = {"+": value + self.amount, "-": value - self.amount, "*": value * self.amount}[self.sign]
            rest = 0
        return after if rest == 0 and 0 <= after <= LARGEST else None

    def equations(self, value: int) -> str:
        """The arithmetic of a right step: `6*7=42, 82+42=124`."""
        product = f"{self.a}*{self.b}={self.amount}, " if self.grouped else ""
        return f"{product}{value}{self.sign}{self.amount}={self.apply(value)}"

    def words(self, pronoun: str) -> str:
        """The words of a step before its arithmetic: `She gets 6 times 7`."""
        amount = f"{self.a} times {self.b}" if self.grouped else f"{self.a}"
        verb = {"+": "gets", "-": "takes away", "*": "makes it", "/": "keeps one of"}[self.sign]
        return f"{pronoun} {verb} {amount}" + {"*": " times", "/": " parts"}.get(self.sign, "")


@dataclass(frozen=True)
class Story:
    """A problem: its numbers, and one wording of it."""

    start: int
    operations: tuple[Operation, ...]
    name: str
    pronoun: str
    things: str
    problem: str

    @property
    def level(self) -> int:
        """Number of operations."""
        return len(self.operations)

    @property
    def values(self) -> list[int]:
        """The start value, and the value after each operation."""
        return trail(self.start, self.operations)

    @property
    def answer(self) -> int:
        """The last value."""
        return self.values[-1]

    @property
    def structure(self) -> str:
        """The numbers without the wording; two stories of one structure have one solution."""
        return canonical(self.start, self.operations)

    def opening(self) -> str:
        """The first step."""
        return f"{self.name} starts with {self.start} {self.things}.\n\n"

    def step(self, index: int, value: int) -> str:
        """The right step for operation `index`, going on from `value` (which need not be right)."""
        operation = self.operations[index]
        return f"{operation.words(self.pronoun)}: {operation.equations(value)}.\n\n"

    def steps(self) -> list[str]:
        """The whole chain of thought, a list of steps that each end in a blank line."""
        body = [self.step(index, value) for index, value in enumerate(self.values[:-1])]
        return [self.opening(), *body, conclusion(self.answer)]

    def short(self) -> list[str]:
        """The chain as a rewrite says it: bare numbers, no conclusion."""
        body = [f"{o.equations(v)}.\n\n" for o, v in zip(self.operations, self.values, strict=False)]
        return [f"{self.start} {self.things}.\n\n", *body]


def conclusion(value: int) -> str:
    """The last step of a chain."""
    return f"So the answer is {value}.\n\n"


def trail(start: int, operations: tuple[Operation, ...]) -> list[int]:
    """All values of a story, the start first."""
    values = [start]
    for operation in operations:
        after = operation.apply(values[-1])
        if after is None:
            raise ValueError(f"{operation} cannot follow the value {values[-1]}")
        values.append(after)
    return values


def canonical(start: int, operations: tuple[Operation, ...]) -> str:
    """A structure as text: `82 +6x7 -57 *2`."""
    parts = [f"{o.sign}{o.a}x{o.b}" if o.grouped else f"{o.sign}{o.a}" for o in operations]
    return " ".join([str(start), *parts])


def split_of(structure: str) -> Split:
    """The one set that a structure may appear in, by its hash: 5 % is held out for the two problem files."""
    bucket = int.from_bytes(hashlib.sha256(structure.encode()).digest()[:4], "big") % 1000
    return "benchmark" if bucket < 25 else "tuning" if bucket < 50 else "training"


def draw_operation(rng: random.Random, value: int, ceiling: int) -> Operation | None:
    """One operation that keeps the value between 2 and `ceiling`; None when the draw does not fit."""
    kind = rng.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
    if kind == "gain" and value + 2 <= ceiling:
        return Operation(kind, rng.randint(2, ceiling - value))
    if kind == "lose" and value >= 4:
        return Operation(kind, rng.randint(2, value - 2))
    if kind in ("gain_groups", "lose_groups"):
        operation = Operation(kind, rng.randint(2, 9), rng.randint(2, 12))
    elif kind == "times":
        operation = Operation(kind, rng.randint(2, 5))
    else:
        operation = Operation("share", rng.randint(2, 9))
    after = operation.apply(value)
    return operation if after is not None and 2 <= after <= ceiling else None


def draw_structure(rng: random.Random, level: int) -> tuple[int, tuple[Operation, ...]]:
    """A start value and `level` operations."""
    ceiling = rng.choice(CEILINGS)
    start = value = rng.randint(2, ceiling)
    operations: list[Operation] = []
    while len(operations) < level:
        operation = draw_operation(rng, value, ceiling)
        if operation is not None:
            operations.append(operation)
            after = operation.apply(value)
            assert after is not None
            value = after
    return start, tuple(operations)


def word(rng: random.Random, start: int, operations: tuple[Operation, ...]) -> Story:
    """Put a structure into words."""
    (name, pronoun), (friend, _) = rng.sample(NAMES, 2)
    things = rng.choice(THINGS)
    fill = {"name": name, "things": things, "friend": friend, "him": "her" if pronoun == "She" else "him"}
    sentences = [rng.choice(OPENINGS).format(n=start, **fill)]
    for operation in operations:
        wordings = WORDINGS[operation.kind]
        if operation.a == 2 and operation.kind in ("times", "share") and rng.random() < 0.7:
            wordings = DOUBLE if operation.kind == "times" else HALF
        he = name if rng.random() < 0.15 else pronoun
        link = rng.choice(LINKS)
        sentence = rng.choice(wordings).format(a=operation.a, b=operation.b, he=he if he == name else he.lower(), **fill)
        sentence = link + sentence
        sentences.append(sentence[0].upper() + sentence[1:])
    sentences.append(rng.choice(QUESTIONS).format(**fill))
    return Story(start, operations, name, pronoun, things, " ".join(sentences))


def draw(rng: random.Random, level: int, split: Split = "training") -> Story:
    """A story of `level` operations from one of the three sets."""
    while True:
        start, operations = draw_structure(rng, level)
        if split_of(canonical(start, operations)) == split:
            return word(rng, start, operations)


@cache
def held_out(split: Split, each: int = 50) -> tuple[Story, ...]:
    """The stories of a problem file: `each` a level, no structure twice, always the same ones."""
    rng = random.Random(f"problems/{split}")
    stories: dict[str, Story] = {}
    for level in LEVELS:
        while len(stories) < each * level:
            story = draw(rng, level, split)
            stories.setdefault(story.structure, story)
    return tuple(stories.values())


def records(split: Split) -> list[dict[str, str | int]]:
    """A problem file's rows."""
    prefix = "stories" if split == "benchmark" else "tuning"
    return [
        {"id": f"{prefix}-{number:04d}", "problem": s.problem, "answer": str(s.answer), "level": s.level}
        for number, s in enumerate(held_out(split), start=1)
    ]
