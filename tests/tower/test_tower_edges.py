"""Random runs at the edges with a tower in the pair: the books hold, no cap is exceeded, and no speed changes a token."""

from __future__ import annotations

import asyncio
import random

import pytest
from strategies import SCRIPTS, Jittery, babble, check_any_speed, digit_odds

from speculative import Pair, Problem, Result
from speculative.methods.registry import build
from speculative.runner import run
from speculative.tower import TowerEngine
from speculative.trace.state import Ledger

OUTER = ("random_switch", "small_only", "lookahead", "spec_rewrite", "takeover")
INNER = ("random_switch", "step_verify", "lookahead", "spec_rewrite", "big_only", "best_step", "trigger")


def attempt(number: int, jitter: random.Random | None) -> Result:
    """Runs an edge, and checks what holds of every result."""
    chance = random.Random(number)
    tokens, produced = chance.randint(1, 200), chance.choice((None, None, chance.randint(1, 200), chance.randint(1, 900)))
    method, inner = build(chance.choice(OUTER)), build(chance.choice(INNER), {}, chance.choice(([], ["early_exit(agree=2)"])))
    width = chance.randint(1, 3)

    engines = [
        Jittery(chance.choice((*SCRIPTS, babble(chance.randrange(99)))), name=name, width=width, top=digit_odds, chance=jitter)
        for name in ("big", "inner big", "inner small")
    ]
    pair = Pair(engines[0], TowerEngine(inner, Pair(*engines[1:])))
    every = chance.choice((0, 0, 1, 5, 30))
    problem = Problem.of("6*7?", max_tokens=tokens, max_produced=produced, seed=number, prefill_every=every)
    result = asyncio.run(asyncio.wait_for(run(problem, method, pair), 60))
    usage = result.usage
    assert usage == Ledger.of(result.trace.events).usage()
    whole = {role: cost for role, cost in usage.items() if "/" not in role}
    assert sum(cost.produced_tokens for cost in whole.values()) <= (produced or 1 << 30)
    assert sum(cost.kept_tokens for cost in whole.values()) == result.trace.ledger.kept <= tokens
    for cost in usage.values():
        assert 0 <= cost.kept_tokens <= cost.produced_tokens == cost.kept_tokens + cost.discarded_tokens
    assert sum(usage[row].produced_tokens for row in ("small/big", "small/small") if row in usage) == sum(e.produced for e in engines[1:])
    assert all(engine.running == 0 for engine in engines)
    return result


@pytest.mark.parametrize("first", range(0, 40, 20))
def test_edges_with_a_tower_hold(first: int) -> None:
    for number in range(first, first + 20):
        check_any_speed(attempt, number)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 1000, 100))
def test_1000_edges_with_a_tower_hold(first: int) -> None:
    for number in range(first, first + 100):
        check_any_speed(attempt, number)
