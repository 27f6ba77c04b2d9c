"""Instructs a small model that was trained to ask for help.

The instruction stands behind the problem.
"""

from msgspec import structs

from speculative.problem import Problem


def with_hint(problem: Problem, hint: str) -> Problem:
    """Returns the problem with a line behind its last message; both models read it."""
    *before, last = problem.messages
    if not hint:
        return problem
    return structs.replace(problem, messages=(*before, structs.replace(last, content=f"{last.content}\n{hint}")))
