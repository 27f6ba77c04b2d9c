"""What no method, model, failure or cancellation may break."""

from __future__ import annotations

import asyncio
import random
import tempfile
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from profiles import examples
from strategies import (
    CONCURRENT,
    JUDGED,
    POLICIES,
    WRAPPERS,
    Recorded,
    babble,
    check_books,
    check_result,
    pairs,
    policies,
    problems,
    scripted_pair,
)

from speculative import EngineError, Method, Pair, Problem, Result, Trace, asolve
from speculative.methods.registry import build, names
from speculative.runner import run
from speculative.testing import ScriptedEngine

Policy = tuple[str, dict[str, Any], list[str]]


def test_every_method_and_wrapper_is_among_the_random_ones() -> None:
    assert sorted(POLICIES | CONCURRENT | JUDGED) == names()
    assert sorted(wrapper.partition("(")[0] for wrapper in WRAPPERS) == names(wrappers=True)


@settings(max_examples=examples(150))
@given(policies(), pairs(), problems())
def test_produced_is_kept_plus_discarded_and_budgets_hold(policy: Policy, pair: Pair, problem: Problem) -> None:
    name, params, wrappers = policy
    listener = Recorded()
    method = build(name, params, wrappers)
    result = asyncio.run(run(method.prepare(problem), method, pair, listener))
    check_result(result, problem, pair)
    assert listener.trace == result.trace


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r"), min_size=1, max_size=60) | st.sampled_from(
    ["😀", "a😀b👩‍👧", "日本\n\n語"]
)


@pytest.mark.slow
@settings(max_examples=examples(80))
@given(TEXT, TEXT, st.integers(1, 7), st.tuples(st.integers(1, 3), st.integers(1, 3)), st.sampled_from(["chunk", "step"]), st.integers())
def test_of_one_shared_script_nothing_is_lost_or_doubled(
    thought: str, answer: str, chunk: int, widths: tuple[int, int], unit: str, seed: int
) -> None:
    script = f"{thought}</think>{answer}"
    pair, seed, listener = scripted_pair(script, script, widths=widths), seed % (1 << 32), Recorded()
    result = asyncio.run(asolve("6*7?", "random_switch", pair=pair, switch_chunk=chunk, unit=unit, seed=seed, listener=listener))
    if result.finish_reason == "loop":
        return
    assert result.reasoning == thought
    assert result.trace.ledger.text("answer") == answer
    assert listener.told == thought + answer
    check_books(result.trace, pair)


@settings(max_examples=examples(60))
@given(policies(), pairs(), problems(), st.integers(0, 40))
def test_cancelling_a_chain_stops_its_calls_and_counts_its_waste(policy: Policy, pair: Pair, problem: Problem, turns: int) -> None:
    name, params, wrappers = policy
    listener, method = Recorded(), build(name, params, wrappers)

    async def cancelled() -> None:
        task = asyncio.create_task(run(problem, method, pair, listener))
        for _ in range(turns):
            await asyncio.sleep(0)
        if not task.cancel():  # it had finished
            return
        with pytest.raises(asyncio.CancelledError):
            await task
        check_books(listener.trace, pair)
        assert listener.trace.ended is None

    asyncio.run(cancelled())


@settings(max_examples=examples(60))
@given(policies(), st.integers(0, 1 << 30), problems(), st.integers(1, 12))
def test_a_failing_engine_is_a_typed_error_with_the_partial_trace(policy: Policy, salt: int, problem: Problem, fails_at: int) -> None:
    name, params, wrappers = policy
    calls, say = iter(range(1, 1 << 20)), babble(salt)

    def failing(seen: str, seed: int) -> str:
        if next(calls) >= fails_at:
            raise EngineError("the server is gone")
        return say(seen, seed)

    pair, method = scripted_pair(failing, failing), build(name, params, wrappers)
    outcome = asyncio.run(outcome_of(problem, method, pair))
    if isinstance(outcome, EngineError):
        assert str(outcome) == "the server is gone"
        assert outcome.trace
        assert outcome.trace.ended is None
        check_books(outcome.trace, pair)
    else:
        assert next(calls) <= fails_at
        check_result(outcome, problem, pair)


async def outcome_of(problem: Problem, method: Method, pair: Pair) -> Result | EngineError:
    try:
        return await run(problem, method, pair)
    except EngineError as error:
        return error


@settings(max_examples=examples(60))
@given(policies(), pairs(), problems())
def test_a_trace_reads_back_equal(policy: Policy, pair: Pair, problem: Problem) -> None:
    name, params, wrappers = policy
    result = asyncio.run(run(problem, build(name, params, wrappers), pair))
    with tempfile.NamedTemporaryFile() as file:
        result.trace.save(file.name)
        again = Trace.load(file.name)
    assert again == result.trace
    assert again.usage() == result.usage
    assert again.timeless() == result.trace.timeless()


@settings(max_examples=examples(60))
@given(policies(), pairs(), problems())
def test_the_trace_is_the_same_with_and_without_a_listener(policy: Policy, pair: Pair, problem: Problem) -> None:
    name, params, wrappers = policy
    method = build(name, params, wrappers)
    quiet = asyncio.run(run(problem, method, pair))
    heard = asyncio.run(run(problem, method, pair, Recorded()))
    assert heard.trace.timeless() == quiet.trace.timeless()


class Jittery(ScriptedEngine):
    """Takes a random number of turns for everything, another one each time."""

    async def _pace(self, tokens: int, stats: Any) -> None:
        for _ in range(random.randrange(5)):
            await asyncio.sleep(0)
        await super()._pace(tokens, stats)


@pytest.mark.parametrize("name", sorted(POLICIES))
@pytest.mark.parametrize("wrappers", [[], pytest.param(["vote(ballots=3)"], marks=pytest.mark.slow)], ids=["bare", "vote"])
def test_a_chain_among_32_is_token_for_token_what_it_is_alone(name: str, wrappers: list[str]) -> None:
    pair = Pair(Jittery(babble(1), width=1), Jittery(babble(2), width=2))
    given = [Problem.of(f"problem {i % 4}", max_tokens=150, seed=i) for i in range(32)]
    method = build(name, {}, wrappers)

    async def together() -> list[list[Any]]:
        results = await asyncio.gather(*(run(problem, method, pair) for problem in given))
        return [result.trace.timeless() for result in results]

    crowd = asyncio.run(together())
    for place in (0, 7, 31):
        assert asyncio.run(run(given[place], method, pair)).trace.timeless() == crowd[place]
