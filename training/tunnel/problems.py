"""Problems of all families: drawn by level, and split so that no structure is in two sets."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping
from functools import cache
from typing import Literal, NamedTuple

from training.tunnel.base import Problem
from training.tunnel.counting import draw_counting
from training.tunnel.equations import draw_equations
from training.tunnel.graphs import draw_graph
from training.tunnel.moves import DeadEndError
from training.tunnel.programs import draw_program
from training.tunnel.searches import draw_search
from training.tunnel.stories import draw_story
from training.tunnel.tales import draw_tale

Split = Literal["training", "benchmark", "tuning"]

FAMILIES: Mapping[str, Callable[[random.Random, int], Problem]] = {
    "stories": draw_story,
    "graphs": draw_graph,
    "equations": draw_equations,
    "searches": draw_search,
    "programs": draw_program,
    "counting": draw_counting,
}
"""The families of the problem files."""
DRAWN = {**FAMILIES, "tales": draw_tale}
LEVELS = range(1, 11)
SIZE = 500


class Ladder(NamedTuple):
    """How hard each level of the problem files is, how hard the training goes beyond them, and the families that it meets."""

    name: str
    rungs: tuple[int, ...]
    hardest: int
    families: tuple[str, ...]


SECOND = Ladder("second", tuple(LEVELS), 12, tuple(FAMILIES))
"""The ladder of the shipped files and models."""
THIRD = Ladder("third", (2, 4, 5, 7, 8, 10, 11, 13, 14, 16), 18, (*FAMILIES, "tales"))
"""A harder one, whose models also know the stories of the task `stories`."""
LADDERS = {ladder.name: ladder for ladder in (SECOND, THIRD)}


def split_of(structure: str) -> Split:
    """The one set that a structure may appear in, by its hash: 5 % is held out for the two problem files."""
    bucket = int.from_bytes(hashlib.sha256(structure.encode()).digest()[:4], "big") % 1000
    return "benchmark" if bucket < 25 else "tuning" if bucket < 50 else "training"


def draw(rng: random.Random, level: int, split: Split = "training", family: str = "") -> Problem:
    """A problem of a level from one of the three sets."""
    family = family or rng.choice(list(FAMILIES))
    while True:
        try:
            problem = DRAWN[family](rng, level)
        except DeadEndError:
            continue
        if split_of(problem.structure) == split:
            return problem


@cache
def held_out(split: Split, ladder: Ladder = SECOND) -> tuple[Problem, ...]:
    """The problems of a file: 50 a level, the families in turn, no structure twice, always the same ones."""
    rng = random.Random(f"tunnel/{split}" if ladder == SECOND else f"tunnel/{split}/{ladder.name}")
    problems: dict[str, Problem] = {}
    families = list(FAMILIES)
    for level, rung in zip(LEVELS, ladder.rungs, strict=True):
        while len(problems) < SIZE // len(LEVELS) * level:
            problem = draw(rng, rung, split, families[len(problems) % len(families)])
            problems.setdefault(problem.structure, problem)
    return tuple(problems.values())


def level_of(number: int) -> int:
    """The level of a file's problem by its number, from 1 on."""
    return 1 + (number - 1) * len(LEVELS) // SIZE


def records(split: Split, ladder: Ladder = SECOND) -> list[dict[str, str | int]]:
    """A problem file's rows."""
    prefix = "tunnel" if split == "benchmark" else "tunnel-tuning"
    return [
        {"id": f"{prefix}-{number:04d}", "problem": p.text, "answer": str(p.answer), "level": level_of(number), "family": p.family}
        for number, p in enumerate(held_out(split, ladder), start=1)
    ]
