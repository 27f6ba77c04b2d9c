"""Slips: wrong steps, made up to look like what a small model writes."""

from __future__ import annotations

import random
from dataclasses import replace

from training.slips import misreckon
from training.tunnel.base import Problem
from training.tunnel.moves import DeadEndError, Move, State, Step

TRIES = 12


def slip(rng: random.Random, problem: Problem, state: State, move: Move) -> Step | None:
    """A wrong step in place of a right one; None where none comes to mind."""
    right = move.step()
    for _ in range(TRIES):
        try:
            wrong = _slip(rng, problem, state, move)
        except DeadEndError:
            continue
        if wrong is not None and wrong.text != right.text:
            return wrong
    return None


def _slip(rng: random.Random, problem: Problem, state: State, move: Move) -> Step | None:
    """One try; it may come out right."""
    other = move.other() if move.other and (not move.sums or rng.random() < 0.3) else None
    if other is not None:
        return other.step()
    if not move.sums:
        if move.value is None or move.finish:
            return None
        value = _another(rng, problem, state, move.value)
        words, opening = (f" {value}".join(text.rsplit(f" {move.value}", 1)) for text in (move.words, move.opening))
        return replace(move, words=words, value=value, opening=opening).step()
    place = rng.randrange(len(move.sums))
    if rng.random() < 0.35:
        left, sign, right = move.sums[place]
        if isinstance(left, int) and (rng.random() < 0.5 or isinstance(right, str)):
            left = _another(rng, problem, state, left)
        elif isinstance(right, int):
            right = _another(rng, problem, state, right)
        if rng.random() < 0.15:
            sign = {"+": "-", "-": "+", "*": "*", "/": "/"}[sign]
        return replace(move, sums=(*move.sums[:place], (left, sign, right), *move.sums[place + 1 :])).step()
    return move.step(move.results(lambda index, result: misreckon(rng, result) if index == place else result))


def _another(rng: random.Random, problem: Problem, state: State, number: int) -> int:
    """A number that could be mistaken for this one."""
    others = [n for n in problem.numbers(state) if n != number]
    return rng.choice(others) if others and rng.random() < 0.6 else misreckon(rng, number)
