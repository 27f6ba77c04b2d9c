"""Counts the votes of several chains."""

from __future__ import annotations

from collections.abc import Sequence
from math import fsum

from msgspec import Struct

from speculative.answers import extract_answer, normalize_answer

MOST_CHAINS = 1024
"""Chains of one problem at most. A chain may start 4,096 children before it grows (`chain/progress.py`)."""


class Ballot(Struct, frozen=True):
    """The answer of a chain, as it is counted, and the weight of its vote: at most 1."""

    answer: str
    weight: float = 1.0


def elect(ballots: Sequence[Ballot]) -> str:
    """Returns the answer with the most weight, the first of equal ones."""
    weights = _weights(ballots)
    return max(weights, key=lambda answer: fsum(weights[answer]), default="")


def is_decided(ballots: Sequence[Ballot], running: int) -> bool:
    """Returns whether `running` further ballots cannot change the elected answer.

    They may all go to the second answer with their full weight, and must leave it below the first.
    """
    weights = sorted(_weights(ballots).values(), key=fsum, reverse=True)
    first, second = [*weights, [], []][:2]
    return fsum(first) > fsum([*second, *[1.0] * running])


def _weights(ballots: Sequence[Ballot]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for ballot in ballots:
        if ballot.answer:
            found.setdefault(ballot.answer, []).append(ballot.weight)
    return found


def count_key(text: str) -> str:
    """Returns the text by which an answer is counted.

    This is the whole text where no part says that it is the answer.
    """
    found = extract_answer(text)
    return normalize_answer(text if found is None else found)
