"""Tests the promises of every method, with hostile models and engines of any speed."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from profiles import examples, quick_cases
from strategies import CONCURRENT, JUDGED, POLICIES, Recorded, babble, check_books, check_result, pairs, problems

from speculative import EngineError, Method, Pair, Problem, Result, Trace
from speculative.methods.registry import build
from speculative.runner import run
from speculative.testing import ScriptedEngine
from speculative.trace.replay import ReplayEngine

SPEEDY = CONCURRENT | JUDGED
ALL = [*sorted(POLICIES.items()), *sorted(SPEEDY.items())]
HOSTILE = ["", "</think>", "<|im_end|>", "\n\n", "---\n\n", "so", "😀", "7*6=42\n\n</think>"]
"""Models that say one thing for ever: nothing, an end, blank lines, punctuation, half a step."""


class Jittery(ScriptedEngine):
    """Takes a random number of turns for everything, another one each time."""

    async def _pace(self, tokens: int, stats: Any) -> None:
        for _ in range(random.randrange(6)):
            await asyncio.sleep(0)
        await super()._pace(tokens, stats)


def judged(pair: Pair, name: str, salt: int = 0, kind: type[ScriptedEngine] = ScriptedEngine) -> Pair:
    """The pair, with a judge that rewards texts at random where the method needs one."""
    if name not in JUDGED:
        return pair
    return Pair(**pair, judge=kind("", name="judge", rewards=lambda text: random.Random(f"{salt}/{text}").random()))


def kept(trace: Trace) -> list[tuple[str, str, str]]:
    return [(segment.author, segment.phase, segment.text) for segment in trace.segments()]


@pytest.mark.parametrize(("name", "params"), ALL, ids=[f"{name}{'-' * (place >= len(POLICIES))}" for place, (name, _) in enumerate(ALL)])
@settings(max_examples=examples(25))
@given(st.data())
def test_nothing_is_lost_budgets_hold_and_it_ends(name: str, params: st.SearchStrategy[dict[str, Any]], data: st.DataObject) -> None:
    method, problem = build(name, data.draw(params)), data.draw(problems())
    hostile = st.sampled_from(HOSTILE).map(lambda text: lambda seen, seed: text)
    pair = data.draw(pairs() | st.builds(lambda big, small: Pair(ScriptedEngine(big), ScriptedEngine(small)), hostile, hostile))
    pair = judged(pair, name, data.draw(st.integers(0, 99)))
    listener = Recorded()
    result = asyncio.run(run(method.prepare(problem), method, pair, listener))
    check_result(result, problem, pair)
    assert listener.trace == result.trace


@pytest.mark.parametrize("name", quick_cases(sorted(SPEEDY), 2))
@settings(max_examples=examples(150))
@given(st.data(), st.integers(0, 1 << 30), st.integers(1, 200))
def test_the_text_depends_on_no_engines_speed(name: str, data: st.DataObject, salt: int, tokens: int) -> None:
    method, problem = build(name, data.draw(SPEEDY[name])), Problem.of("6*7?", max_tokens=tokens, seed=salt)
    traces: list[Trace] = []
    for kind in (ScriptedEngine, Jittery, Jittery):
        pair = judged(Pair(kind(babble(salt)), kind(babble(salt + 1), width=2)), name, kind=kind)
        result = asyncio.run(run(problem, method, pair))
        check_result(result, problem, pair)
        traces.append(result.trace)
    replay = Pair(**{role: ReplayEngine(traces[-1], role, like) for role, like in pair.items()})
    traces.append(asyncio.run(run(problem, method, replay)).trace)
    assert all(kept(trace) == kept(traces[0]) for trace in traces)


@pytest.mark.parametrize("name", sorted(SPEEDY))
@settings(max_examples=examples(25))
@given(st.data(), pairs(), problems(), st.integers(0, 40), st.integers(1, 12))
def test_a_cancelled_or_failed_chain_stops_its_calls(
    name: str, data: st.DataObject, pair: Pair, problem: Problem, turns: int, fails_at: int
) -> None:
    method, listener, pair = build(name, data.draw(SPEEDY[name])), Recorded(), judged(pair, name)

    async def cancelled() -> None:
        task = asyncio.create_task(run(problem, method, pair, listener))
        for _ in range(turns):
            await asyncio.sleep(0)
        if task.cancel():
            with pytest.raises(asyncio.CancelledError):
                await task
        check_books(listener.trace, pair)

    asyncio.run(cancelled())
    calls, say = iter(range(1, 1 << 20)), babble(turns)

    def failing(seen: str, seed: int) -> str:
        if next(calls) >= fails_at:
            raise EngineError("the server is gone")
        return say(seen, seed)

    broken = judged(Pair(ScriptedEngine(failing), ScriptedEngine(failing)), name)
    outcome = asyncio.run(outcome_of(problem, method, broken))
    assert outcome.trace
    check_books(outcome.trace, broken)


async def outcome_of(problem: Problem, method: Method, pair: Pair) -> Result | EngineError:
    try:
        return await run(problem, method, pair)
    except EngineError as error:
        return error
