"""Describes the parameters of a method that `speculative tune` chooses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

from msgspec import Struct

from speculative.methods.threshold import reaches
from speculative.trace.events import Accepted, Judgement, Rejected
from speculative.trace.trace import Trace

Comparison = Literal["below", "at_least", "above", "at_most"]
"""The scores, compared with the parameter, at which big gets a turn."""

SHARES = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.45)
"""Shares of the recorded scores at which big would get a turn; each of them gives a candidate."""


class GradedTrace(Struct, frozen=True):
    """A graded chain of a method."""

    trace: Trace
    correct: bool


class Tunable(Struct, frozen=True):
    """A parameter that can be chosen on problems.

    Attributes:
        field: the name of the parameter.
        big_if: the comparison of a recorded score with the parameter that gives big a turn; None for a parameter that is not compared.
        scores: returns all scores that a chain compared with the parameter, given the trace.
        shares: the shares of scores at which big would get a turn, each a candidate.
        values: the candidates of a parameter that is not compared.
        shapes: whether it changes the scores of other parameters, so that these are recorded for each of its values.
        exact: whether a chain stays the same with another value for which no decision differs.
        decide: returns the decisions of a chain with these scores, for a parameter that is not compared with them.
    """

    field: str
    big_if: Comparison | None = None
    scores: Callable[[Trace], Iterable[float]] | None = None
    shares: tuple[float, ...] = SHARES
    values: tuple[Any, ...] = ()
    shapes: bool = False
    exact: bool = True
    decide: Callable[[Sequence[float], float], list[bool]] | None = None

    def decisions(self, scores: Sequence[float], value: float) -> list[bool]:
        """Returns the decisions of a chain with these scores at a value."""
        return self.decide(scores, value) if self.decide else [self.gives_big(score, value) for score in scores]

    def gives_big(self, score: float, value: float) -> bool:
        """Returns whether big gets a turn at a score."""
        match self.big_if:
            case "below":
                return not reaches(score, value)
            case "at_most":
                return score <= value
            case "above":
                return score > value
            case _:
                return score >= value


def judgements(trace: Trace) -> list[Judgement]:
    """Returns the judgements behind all accepted and rejected drafts."""
    return [event.judgement for event in trace.walk() if isinstance(event, Accepted | Rejected) and event.judgement]


def judged(trace: Trace) -> list[float]:
    """Returns the scores of all judgements."""
    return [judgement.score for judgement in judgements(trace)]
