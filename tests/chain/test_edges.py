"""Random runs at the edges: tiny budgets, and models that end at once, never end, write nothing, or open the thinking again."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from profiles import quick_cases
from strategies import SCRIPTS, Jittery, babble, check_any_speed, check_result, digit_odds

from speculative import Pair, Problem, Result
from speculative.methods.base import Method
from speculative.methods.registry import build
from speculative.runner import run
from speculative.testing import Script

EXAMPLES = Path(__file__).parents[2] / "examples" / "methods"

METHODS: tuple[tuple[str, dict[str, Any]], ...] = (
    (str(EXAMPLES / "step_check.py"), {"floor": 4}),
    (str(EXAMPLES / "lookahead.py"), {"depth": 4}),
    (str(EXAMPLES / "lookahead.py"), {"depth": 1}),
    (str(EXAMPLES / "take_over.py"), {"doubt": "[e2o]"}),
    (str(EXAMPLES / "reward_steps.py"), {"floor": 0.5}),
    ("logprob_subselect", {"sgen": 6, "lbound": 2, "stok": 3, "ltok": 2, "max_iterations": 4}),
    ("spec_rewrite", {"drafting_n": 2}),
    ("random_switch", {"unit": "step"}),
)


def edge(number: int) -> tuple[Problem, Method, tuple[Script, Script], tuple[int, int]]:
    """Returns a problem, a method, and what the two models say with tokens of which width."""
    chance = random.Random(number)
    tokens, produced = chance.randint(1, 200), chance.choice((None, None, chance.randint(1, 200), chance.randint(1, 900)))
    wrappers = chance.choice(([], [], [], ["early_exit(agree=2)"], ["vote(ballots=2)"]))
    name, params = chance.choice(METHODS)
    scripts = tuple(chance.choice((*SCRIPTS, babble(chance.randrange(99)), babble(chance.randrange(99)))) for _ in range(2))
    problem = Problem.of("6*7?", max_tokens=tokens, max_produced=produced, seed=number)
    return problem, build(name, params, wrappers), scripts, (chance.randint(1, 3), chance.randint(1, 3))


def attempt(number: int, chance: random.Random | None) -> Result:
    """Runs an edge, and checks what holds of every result."""
    problem, method, scripts, widths = edge(number)

    made = [
        Jittery(script, name=role, width=width, top=digit_odds, chance=chance)
        for role, script, width in zip(("big", "small"), scripts, widths, strict=True)
    ]
    judge = Jittery("", name="judge", rewards=lambda seen: crc32(seen[-30:].encode()) % 10 / 10, chance=chance)
    pair = Pair(*made, judge)
    result = asyncio.run(asyncio.wait_for(run(problem, method, pair), 60))
    check_result(result, problem, pair)
    return result


@pytest.mark.parametrize("first", quick_cases(range(0, 60, 20)))
def test_edges_hold(first: int) -> None:
    for number in range(first, first + 20):
        check_any_speed(attempt, number)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 2500, 100))
def test_2500_edges_hold(first: int) -> None:
    for number in range(first, first + 100):
        check_any_speed(attempt, number)
