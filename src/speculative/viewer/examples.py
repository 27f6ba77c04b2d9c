"""Offers problems to try, with their answers."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from importlib.resources import files

import msgspec
from msgspec import Struct

LEVELS = (1, 3, 5, 8, 10)
"""The levels of the bundled problems from which one example each is taken."""


class Example(Struct, frozen=True):
    """A problem to try, and its answer."""

    problem: str
    answer: str
    level: int | str = ""


CONTEST = (
    Example("How many integers from 1 to 1000 are divisible by 3 or by 5, but not by both?", "401", "counting"),
    Example("The sum of two positive integers is 60, and their least common multiple is 72. Find their product.", "864", "number theory"),
    Example("Find the remainder when $7^{2026}$ is divided by 100.", "49", "number theory"),
)
"""Problems in the style of a contest, for models that are not the bundled ones."""


def examples(engines: Iterable[str]) -> list[Example]:
    """Returns problems that fit the engines with these names."""
    return bundled_examples() if all(name.startswith("bundled:") for name in engines) else list(CONTEST)


@cache
def bundled_examples() -> list[Example]:
    """Returns a bundled problem of each of some levels."""
    path = files("speculative").joinpath("bundled", "problems.jsonl")
    problems = [msgspec.json.decode(line, type=Example) for line in path.read_bytes().splitlines()]
    by_level = [[problem for problem in problems if problem.level == level] for level in LEVELS]
    return [own[place // 3] for place, own in enumerate(by_level)]  # of five families, which stand in turn
