"""While one model writes, the other is given what it has not seen: in the background, and with no effect but on time and cost."""

from __future__ import annotations

import asyncio
import gc
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from profiles import examples
from strategies import Recorded, Verbs, babble, check_books, check_result, kinds, policies, scripted_pair, started

from speculative import EngineError, Pair, Problem, UsageError, asolve
from speculative.engines.base import PREFILL_SEED
from speculative.errors import EngineUnreachableError, MethodError
from speculative.methods.registry import build
from speculative.runner import run
from speculative.testing import ScriptedEngine
from speculative.trace.events import Cancelled, Prefilled, Wrote
from speculative.trace.replay import ReplayEngine

LONG = "one two three four five six seven eight nine ten " * 4
PACE = 0.001


def warmed(trace: Any) -> list[Prefilled]:
    return [event for event in trace.walk() if isinstance(event, Prefilled)]


def chain_of(pair: Pair, every: int = 20, listener: Any = None, append_only: bool = True, **problem: Any) -> Any:
    return started(Problem.of("6*7?", prefill_every=every, **problem), pair, listener=listener, append_only=append_only)


@pytest.mark.parametrize("widths", [(1, 1), (2, 1), (1, 3)])
@pytest.mark.parametrize("listener", [None, Recorded()])
async def test_the_idle_model_follows_while_the_other_one_writes(widths: tuple[int, int], listener: Any) -> None:
    pair = scripted_pair(LONG, LONG, widths=widths, delay=PACE)
    chain = chain_of(pair, listener=listener)
    await chain.write("small", max_tokens=60)
    found = [prefix for _, prefix in pair["big"].calls]
    assert 2 <= len(found) <= 3
    assert all(longer.startswith(shorter) for shorter, longer in pairwise(found))
    await chain.write("big", max_tokens=1)
    assert pair["big"].calls[-1][1].startswith(found[-1])
    assert len(found[-1]) > len(found[0])
    await chain.close()
    events = warmed(chain.trace)
    assert {(event.call.role, event.seed) for event in events} == {("big", PREFILL_SEED)}
    assert chain.trace.usage()["big"].discarded_tokens >= len(events) >= 2
    check_books(chain.trace, pair)


async def test_short_chunks_are_not_streamed_and_warm_between_calls() -> None:
    pair = scripted_pair(LONG, LONG, delay=PACE)
    chain = chain_of(pair, every=20)
    for _ in range(6):
        await chain.write("small", max_tokens=10)
    await chain.close()
    assert {verb for verb, _ in pair["small"].calls} == {"complete"}
    assert 1 <= len(warmed(chain.trace)) <= 3


async def test_a_model_that_has_just_written_is_not_warmed() -> None:
    pair = scripted_pair(LONG, LONG, delay=PACE)
    chain = chain_of(pair, every=20)
    for _ in range(8):
        await chain.write("small", max_tokens=5)
        await chain.write("big", max_tokens=5)
    await chain.close()
    assert not warmed(chain.trace)


async def test_what_was_taken_back_has_not_been_seen() -> None:
    pair = scripted_pair(LONG, LONG, delay=PACE)
    chain = chain_of(pair, every=20, append_only=False)
    mark = chain.checkpoint()
    await chain.write("big", max_tokens=30)
    await chain.rewind(mark)
    await chain.write("small", max_tokens=30)
    await chain.close()
    assert [event.call.role for event in warmed(chain.trace)].count("big") == 1


async def test_one_at_a_time_none_is_waited_for_and_the_last_is_cancelled() -> None:
    slow = ScriptedEngine("x", name="big", delay=30)
    pair = Pair(slow, ScriptedEngine(LONG, name="small", delay=PACE))
    chain, running = chain_of(pair), list[int]()
    chain.at_step(lambda _: asyncio.sleep(0))
    task = asyncio.create_task(chain.write("small"))
    while not task.done():
        running.append(slow.running)
        await asyncio.sleep(PACE)
    assert max(running) == 1
    assert len(slow.calls) == 1
    await chain.close()
    assert slow.running == 0
    (cancelled,) = (event for event in chain.trace if isinstance(event, Cancelled))
    assert (cancelled.verb, cancelled.call.role, cancelled.error) == ("prefill", "big", "")
    check_books(chain.trace, pair)


async def test_none_begins_when_the_chain_is_over_although_a_write_was_left_behind() -> None:
    """A method that does not wait for its write: that is cancelled, and warms nobody any more."""
    complaints = list[Any]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    for turns in range(1, 8):
        pair, left = scripted_pair(LONG, LONG), list[Any]()

        async def leaves(chain: Any, turns: int = turns, left: list[Any] = left) -> None:
            left.append(asyncio.create_task(chain.write("small")))
            for _ in range(turns):
                await asyncio.sleep(0)

        with pytest.raises(MethodError, match="write") as caught:
            await run(Problem.of("6*7?", prefill_every=1), Verbs(script=leaves), pair)
        trace = caught.value.trace
        before = len(trace.events)
        await asyncio.gather(*left, return_exceptions=True)
        for _ in range(20):
            await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert len(trace.events) == before
        check_books(trace, pair)
    gc.collect()
    assert not complaints


async def test_a_chain_that_is_cancelled_leaves_no_warm_up() -> None:
    slow = ScriptedEngine("x", name="big", delay=30)
    pair = Pair(slow, ScriptedEngine(LONG, name="small", delay=PACE))
    task = asyncio.create_task(run(Problem.of("6*7?", prefill_every=10), build("small_only"), pair))
    while not slow.calls:  # noqa: ASYNC110 (a scripted engine has no events)
        await asyncio.sleep(PACE)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert slow.running == 0


async def test_a_failure_is_recorded_and_none_of_the_chain() -> None:
    def failing(*_: Any) -> str:
        raise EngineUnreachableError("nothing listens there")

    pair = Pair(ScriptedEngine(failing, name="big"), ScriptedEngine(LONG + "</think>42", name="small", delay=PACE))
    result = await asolve("6*7?", "small_only", pair=pair, prefill_every=20, degrade="small")
    assert (result.text, result.degraded) == ("42", None)
    failed = [event for event in result.trace if isinstance(event, Cancelled)]
    assert failed
    assert {(event.verb, event.error) for event in failed} == {("prefill", "nothing listens there")}


async def test_never_behind_the_engine_that_writes() -> None:
    both = ScriptedEngine(LONG + "</think>42", delay=PACE)
    for pair in (
        Pair(both, both),
        Pair(both, ScriptedEngine(LONG + "</think>42", delay=PACE)),
    ):  # (one server, spoken to twice, has one name)
        result = await asolve("6*7?", "small_only", pair=pair, prefill_every=10)
        assert not warmed(result.trace)


async def test_off_by_default_without_room_and_after_a_loss() -> None:
    pair = scripted_pair(LONG, LONG)
    assert not warmed((await asolve("6*7?", "small_only", pair=pair)).trace)
    narrow = Pair(ScriptedEngine(LONG, name="big", context=200), ScriptedEngine(LONG, name="small", delay=PACE))
    chain = chain_of(narrow, every=30)
    await chain.write("small", max_tokens=190)
    assert len(narrow["big"].calls) < 5
    spent = chain_of(pair, every=10, max_produced=40)
    await spent.write("small")
    assert spent.produced <= 40
    with pytest.raises(UsageError, match="prefill_every must be at least 0, got -1"):
        Problem.of("6*7?", prefill_every=-1)


async def test_a_warm_up_by_hand_counts_as_seen() -> None:
    pair = scripted_pair(LONG, LONG, delay=PACE)
    chain = chain_of(pair, every=20)
    await chain.write("small", max_tokens=15)
    await chain.prefill("big")
    await chain.write("small", max_tokens=15)
    await chain.close()
    assert len(warmed(chain.trace)) == 1


@settings(max_examples=examples(80), deadline=None)
@given(policies(), st.integers(0, 1 << 30), st.tuples(st.integers(1, 3), st.integers(1, 3)), st.integers(1, 40), st.booleans())
def test_the_tokens_are_the_same_with_and_without(
    policy: tuple[str, dict[str, Any], list[str]], salt: int, widths: tuple[int, int], every: int, heard: bool
) -> None:
    name, params, wrappers = policy
    method = build(name, params, wrappers)
    pair = scripted_pair(babble(salt), babble(salt + 1), widths=widths)

    async def result_of(every: int, engines: Any = pair) -> Any:
        problem = method.prepare(Problem.of("6*7?", max_tokens=200, seed=salt, prefill_every=every))
        return await run(problem, method, engines, Recorded() if heard else None)

    cold = asyncio.run(result_of(0))
    pair = scripted_pair(babble(salt), babble(salt + 1), widths=widths)
    warm = asyncio.run(result_of(every, pair))
    assert (warm.reasoning, warm.text, warm.finish_reason) == (cold.reasoning, cold.text, cold.finish_reason)
    assert warm.trace.segments() == cold.trace.segments()
    check_result(warm, Problem.of("6*7?", max_tokens=200), pair)
    again = asyncio.run(result_of(every, Pair(*(ReplayEngine(warm.trace, role, like) for role, like in pair.items()))))
    assert again.trace.segments() == warm.trace.segments()


class Patient(ScriptedEngine):
    """Lets the others have so many turns before it takes up a warm-up."""

    def __init__(self, *args: Any, turns: int, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.turns = turns

    async def complete(self, prefixes: Any, decoding: Any, *, key: str, stats: Any) -> Any:
        for _ in range(self.turns if decoding.seed == PREFILL_SEED else 0):
            await asyncio.sleep(0)
        return await super().complete(prefixes, decoding, key=key, stats=stats)


@settings(max_examples=examples(40), deadline=None)
@given(st.integers(1, 12), st.integers(1, 150), st.lists(st.integers(1, 30), max_size=9), st.booleans())
def test_within_a_cap_the_tokens_are_the_same_however_many_there_are(every: int, cap: int, chunks: list[int], heard: bool) -> None:
    async def verbs(chain: Any) -> None:
        for chunk in chunks:
            await chain.write("small", max_tokens=chunk)
        while chain.thinking:
            await chain.write("small", max_tokens=max(1, chain.left - 20))
        await chain.answer("small")

    def result_of(turns: int) -> Any:
        pair = Pair(Patient(LONG, name="big", turns=turns), ScriptedEngine(LONG * 9, name="small"))
        problem = Problem.of("6*7?", max_tokens=2000, max_produced=cap, prefill_every=every)
        result = asyncio.run(run(problem, Verbs(script=verbs), pair, Recorded() if heard else None))
        check_result(result, problem, pair)
        return result

    late, early = result_of(50), result_of(0)
    assert late.trace.segments() == early.trace.segments()
    assert [event.call.produced_tokens for event in late.trace if isinstance(event, Wrote)] == [
        event.call.produced_tokens for event in early.trace if isinstance(event, Wrote)
    ]


def test_warm_ups_have_a_part_of_the_cap_and_no_more() -> None:
    pair = scripted_pair(LONG * 9, LONG * 9, delay=0.0)
    result = asyncio.run(asolve("6*7?", "small_only", pair=pair, max_tokens=2000, max_produced=300, prefill_every=9))
    usage = result.usage
    assert 0 < usage["big"].requests - 1 <= 30


async def test_a_chain_without_steps_to_warm_has_no_other_events() -> None:
    async def verbs(chain: Any) -> None:
        await chain.draft("small", max_tokens=50)
        await chain.ask("small", "why?")
        await chain.answer("small")

    result = await run(Problem.of("6*7?", prefill_every=5), Verbs(script=verbs), scripted_pair(LONG, LONG))
    assert kinds(result.trace) == ["Started", "Drafted", "Asked", "Answered", "Rejected", "Ended"]


async def test_a_bug_in_an_engine_is_still_an_engine_error() -> None:
    def broken(*_: Any) -> str:
        raise ZeroDivisionError("oops")

    pair = Pair(ScriptedEngine(broken, name="big"), ScriptedEngine(LONG + "</think>", name="small", delay=PACE))
    with pytest.raises(EngineError, match="ZeroDivisionError"):
        await asolve("6*7?", "small_only", pair=pair, prefill_every=20, answer_by="big")
