"""The bundled problems, and a test for texts of their kind."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Literal, get_args

import msgspec
from msgspec import structs

from speculative.errors import SpeculativeError, UsageError
from speculative.evaluate.grading.choices import Kind

Set = Literal["benchmark", "tuning"]
SETS: tuple[Set, ...] = get_args(Set)
FILES = {"benchmark": "problems.jsonl", "tuning": "tuning.jsonl"}
BundledTask = Literal["tunnel", "stories"]
DEFAULT_TASK: BundledTask = "tunnel"
FOLDERS: dict[BundledTask, tuple[str, ...]] = {"tunnel": ("bundled",), "stories": ("bundled", "stories")}
"""The folder of each task's problem files."""
SIZE = 500
REINSTALL = "install speculative-reasoning again"

KNOWN_WORDS = 0.9
"""The share of a text's words that must occur in the bundled problems."""


class TaskProblem(msgspec.Struct, frozen=True):
    """A problem of a task, with its gold answer.

    `level` is the task's own grouping; bundled problems of a higher one have more steps. `kind` is the kind of grading; None
    stands for grading by a harness.
    """

    id: str
    problem: str
    answer: str
    level: int | str = ""
    task: str = DEFAULT_TASK
    kind: Kind | None = "integer"


@cache
def problems(name: Set = "benchmark", task: BundledTask = DEFAULT_TASK) -> tuple[TaskProblem, ...]:
    """Returns all problems of a task's set, by level.

    Methods are compared on `benchmark`, settings are chosen on `tuning`.

    Raises:
        SpeculativeError: The bundled file is missing or damaged.
    """
    path = files("speculative").joinpath(*FOLDERS[task], FILES[name])
    try:
        rows = (msgspec.json.decode(line, type=TaskProblem) for line in path.read_bytes().splitlines())
        found = tuple(structs.replace(row, task=task) for row in rows)
    except OSError as error:
        raise SpeculativeError(f"the bundled problems {path} cannot be read: {error.strerror}; {REINSTALL}") from None
    except msgspec.DecodeError as error:
        raise SpeculativeError(f"the bundled problems {path} are damaged: {error}; {REINSTALL}") from None
    if len(found) != SIZE:
        raise SpeculativeError(f"the bundled problems {path} are damaged: {len(found)} problems instead of {SIZE}; {REINSTALL}")
    return found


def chosen(
    name: Set = "benchmark",
    *,
    level: int | None = None,
    n: int | None = None,
    seed: int | None = None,
    task: BundledTask = DEFAULT_TASK,
) -> list[TaskProblem]:
    """Returns the first `n` problems of a set, or `n` random ones with a seed.

    Raises `UsageError`.
    """
    found = list(problems(name, task))
    levels = sorted({problem.level for problem in found})
    if level is not None and level not in levels:
        raise UsageError(f"level must be from {levels[0]} to {levels[-1]}, got {level}")
    if n is not None and n < 1:
        raise UsageError(f"n must be at least 1, got {n}")
    found = [problem for problem in found if level is None or problem.level == level]
    if seed is not None:
        random.Random(seed).shuffle(found)
    return found[:n]


def spread(problems: Sequence[TaskProblem], limit: int | None) -> list[TaskProblem]:
    """Returns `limit` problems spread evenly over the levels. Raises `UsageError`."""
    if limit is None or limit >= len(problems):
        return list(problems)
    if limit < 1:
        raise UsageError(f"limit must be at least 1, got {limit}")
    by_level: dict[int | str, list[TaskProblem]] = {}
    for problem in problems:
        by_level.setdefault(problem.level, []).append(problem)
    levels = sorted(by_level, key=lambda level: (isinstance(level, str), level))
    each, rest = divmod(limit, len(levels))
    one_more = {levels[place * len(levels) // rest] for place in range(rest)}
    return [problem for level in levels for problem in by_level[level][: each + (level in one_more)]]


def find(text: str) -> TaskProblem | None:
    """Returns the bundled problem with exactly that text."""
    known = (problem for task in FOLDERS for name in SETS for problem in problems(name, task))
    return next((problem for problem in known if problem.problem == text.strip()), None)


def is_similar(text: str) -> bool:
    """Returns True if the bundled pair may solve a text.

    Such a text tells a number, then asks `What is … ?`, or `How many … ?` in a line of its own, and shares nine of ten words
    with the problems of the task `tunnel`.
    """
    words = re.findall(r"[^\W\d_]+", text.lower())
    asks = re.search(r"\d.*(?:\n(?:how many|what is)|\. what is)\b[^.?!]*\?\s*$", text.lower(), re.DOTALL)
    known = sum(word in _known_words() for word in words)
    return bool(asks and known >= KNOWN_WORDS * len(words))


@cache
def _known_words() -> frozenset[str]:
    texts = (problem.problem for name in SETS for problem in problems(name))
    return frozenset(word for text in texts for word in re.findall(r"[a-z]+", text.lower()))
