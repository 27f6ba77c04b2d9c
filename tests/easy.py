"""Short problems that the bundled pair can read: a chain has about sixty tokens."""

from __future__ import annotations

import json

from speculative.evaluate.problems import TaskProblem

TEXT = "A: Mia has {} nuts.\nB: Mia buys {} more nuts.\nHow many nuts does Mia have at the end?"
EASY = TEXT.format(40, 8)


def easy_problems(count: int) -> list[TaskProblem]:
    """Problems of one kind with other numbers."""
    return [TaskProblem(f"easy-{n}", TEXT.format(20 + n, 3 + 2 * n), str(23 + 3 * n)) for n in range(count)]


def easy_lines(count: int, answer: str | None = None) -> str:
    """Lines of a data file; all have the same answer if one is given."""
    return "\n".join(json.dumps({"problem": one.problem, "answer": answer or one.answer}) for one in easy_problems(count))
