"""Problems of all families: drawn by level, and split so that no structure is in two sets."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping
from functools import cache
from typing import Literal

from training.tunnel.base import Problem
from training.tunnel.counting import draw_counting
from training.tunnel.equations import draw_equations
from training.tunnel.graphs import draw_graph
from training.tunnel.moves import DeadEndError
from training.tunnel.programs import draw_program
from training.tunnel.searches import draw_search
from training.tunnel.stories import draw_story

Split = Literal["training", "benchmark", "tuning"]

FAMILIES: Mapping[str, Callable[[random.Random, int], Problem]] = {
    "stories": draw_story,
    "graphs": draw_graph,
    "equations": draw_equations,
    "searches": draw_search,
    "programs": draw_program,
    "counting": draw_counting,
}
LEVELS = range(1, 11)
HARDEST = 12  # of the training: what is beyond the problem files is met as well
SIZE = 500


def split_of(structure: str) -> Split:
    """The one set that a structure may appear in, by its hash: 5 % is held out for the two problem files."""
    bucket = int.from_bytes(hashlib.sha256(structure.encode()).digest()[:4], "big") % 1000
    return "benchmark" if bucket < 25 else "tuning" if bucket < 50 else "training"


def draw(rng: random.Random, level: int, split: Split = "training", family: str = "") -> Problem:
    """A problem of a level from one of the three sets."""
    family = family or rng.choice(list(FAMILIES))
    while True:
        try:
            problem = FAMILIES[family](rng, level)
        except DeadEndError:
            continue
        if split_of(problem.structure) == split:
            return problem


@cache
def held_out(split: Split) -> tuple[Problem, ...]:
    """The problems of a file: 50 a level, the families in turn, no structure twice, always the same ones."""
    rng = random.Random(f"tunnel/{split}")
    problems: dict[str, Problem] = {}
    families = list(FAMILIES)
    for level in LEVELS:
        while len(problems) < SIZE // len(LEVELS) * level:
            problem = draw(rng, level, split, families[len(problems) % len(families)])
            problems.setdefault(problem.structure, problem)
    return tuple(problems.values())


def records(split: Split) -> list[dict[str, str | int]]:
    """A problem file's rows."""
    prefix = "tunnel" if split == "benchmark" else "tunnel-tuning"
    return [
        {"id": f"{prefix}-{number:04d}", "problem": p.text, "answer": str(p.answer), "level": p.level, "family": p.family}
        for number, p in enumerate(held_out(split), start=1)
    ]
