"""Fits the table of counts behind `policy` to graded chains."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from speculative.methods.policy_table import PolicyTable
from speculative.methods.tunable import GradedTrace, judgements
from speculative.trace.events import Rejected, Wrote
from speculative.trace.trace import Trace

QUANTILES = (0.03, 0.06, 0.1, 0.15, 0.2, 0.3, 0.5)
"""The quantiles of the scores between the bins: finer among low scores, where decisions differ."""

STAGES = 16
"""Numbers of a step that are told apart; later steps count as the last one."""


def fit_table(runs: Sequence[GradedTrace], by: str) -> PolicyTable | None:
    """Counts the decisions of chains; None without a score or a step of big."""
    import numpy as np  # here, since the list of methods imports this module

    scores = [judgement.score for run in runs for judgement in judgements(run.trace)]
    tokens = [_tokens_of(event) for run in runs for event in run.trace.walk() if isinstance(event, Wrote) and event.call.role == "big"]
    if not scores or not tokens:
        return None
    edges = tuple(sorted({float(f"{edge:.6g}") for edge in np.quantile(scores, QUANTILES)}))
    bins = len(edges) + 1
    steps, right = np.zeros((bins + 1, bins), dtype=int), np.zeros((bins + 1, 2), dtype=int)
    ends = np.zeros((STAGES, 2), dtype=int)
    for run in runs:
        lowest, number = bins, 0
        for score, kept in _decisions(run.trace):
            ends[min(number, STAGES - 1)] += (0, 1)
            found = int(np.searchsorted(edges, score, side="right"))
            steps[lowest, found] += 1
            lowest, number = min(lowest, found) if kept else lowest, number + 1
        ends[min(number, STAGES - 1)] += (1, 1)
        right[lowest] += (int(run.correct), 1)
    rows = [tuple(tuple(map(int, row)) for row in counts) for counts in (steps, ends, right)]
    return PolicyTable(by, edges, rows[0], rows[1], rows[2], round(fmean(tokens), 2))  # pyright: ignore[reportArgumentType]


def _decisions(trace: Trace) -> list[tuple[float, bool]]:
    """Returns the score of each judged step, and whether it was kept."""
    found: list[tuple[float, bool]] = []
    for event in trace.walk():
        judgement = getattr(event, "judgement", None)
        if judgement is not None:
            found.append((judgement.score, not isinstance(event, Rejected)))
    return found


def _tokens_of(event: Wrote) -> int:
    return event.call.produced_tokens
