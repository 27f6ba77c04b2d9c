"""Rollouts: chains of the method itself, with big in it.

A chain is worth its answer less what it took of big. Of a problem's chains the better ones are learnt, the worse ones unlearnt.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean

from speculative.result import Result
from training.asking.labels import thinking
from training.asking.rows import Row, Span


def reward(result: Result, right: bool, price: float) -> float:
    """Whether the answer is right, less the price of big's share of all tokens that were written."""
    produced = {role: usage.produced_tokens for role, usage in result.usage.items()}
    return float(right) - price * produced.get("big", 0) / max(1, sum(produced.values()))


def reinforce(problem: str, results: Sequence[Result], rewards: Sequence[float]) -> list[Row]:
    """The chains of one problem: what small wrote weighs as much as its chain is better than their mean."""
    rows: list[Row] = []
    for result, value in zip(results, rewards, strict=True):
        weight = value - mean(rewards)
        if not weight:
            continue
        pieces = thinking(result.trace)
        spans = tuple(Span(piece.text, weight if piece.author == "small" else 0.0) for piece in pieces if piece.text)
        rows.append(Row(problem, spans, weight if pieces and pieces[-1].ends and pieces[-1].author == "small" else None))
    return rows
