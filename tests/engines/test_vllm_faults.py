"""Real vLLM servers that break in the middle of a chain: typed errors or recovery, nothing hung, nothing left at work."""

import asyncio
import contextlib
import os
import signal
import time

import pytest
from real import PROBLEMS, SHIPPED, Door, group, metric, prompt, stopped, until

import speculative
from speculative.engines.base import Decoding, Tally
from speculative.engines.http import Deadlines
from speculative.engines.openai import OpenAIEngine
from speculative.errors import EngineBusy, EngineError, EngineFault, EngineTimeout, EngineUnreachable
from speculative.events import Degraded
from speculative.pair import Pair

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(600)]

PASSING = ("429 later", "503", "closed")
LASTING = {"500": EngineFault, "429": EngineBusy, "garbage": EngineFault, "half": EngineFault, "cut": EngineFault}


async def connected(url, role, **settings):
    return await OpenAIEngine.connect(url, tokenizer=str(SHIPPED / role), **settings)


@contextlib.asynccontextmanager
async def through_a_door(servers):
    """The pair, its small server behind a door that can break."""
    async with Door(servers["small"].url) as door:
        engines = [await connected(servers["big"].url, "big"), await connected(door.url, "small")]
        async with Pair(*engines) as opened:
            yield opened, door


async def chain(pair, method="random_switch", seed=1, **settings):
    return await speculative.asolve(PROBLEMS[0]["problem"], method, pair=pair, seed=seed, max_tokens=600, **settings)


SMALL_STEPS = {"seed": 3, "switch_ratio": 9, "switch_chunk": 5}
"""Even a short chain is many calls of small then."""


def idle(servers):
    return all(metric(one.url, "num_requests_running") == 0 for one in servers.values())


@pytest.mark.parametrize("fault", PASSING)
async def test_what_passes_is_tried_again(servers, fault):
    async with through_a_door(servers) as (pair, door):
        whole = await chain(pair, temperature=0)
        door.faults.extend([None, fault, fault])
        result = await chain(pair, temperature=0)
        assert door.broken == 2
        assert (result.finish_reason, result.reasoning, result.degraded) == (whole.finish_reason, whole.reasoning, None)


@pytest.mark.parametrize("fault", LASTING)
async def test_what_does_not_pass_is_a_typed_error_with_the_trace(servers, fault):
    async with through_a_door(servers) as (pair, door):
        door.faults.extend([None, fault])
        start = time.monotonic()
        with pytest.raises(LASTING[fault]) as raised:
            await chain(pair, listener=lambda _: None, **SMALL_STEPS)
        assert time.monotonic() - start < 60
        assert raised.value.trace is not None
        assert len(raised.value.trace.events) > 2
        await until(lambda: idle(servers))


@pytest.mark.parametrize(
    ("fault", "heard"), [("500", False), ("garbage", False), ("half", False), ("500", True), ("half", True), ("cut", True)]
)
async def test_the_survivor_finishes_the_chain(servers, fault, heard):
    told = []

    def listener(happened):
        if type(happened).__name__ == "TextDelta" and happened.committed:
            told.append(happened.text)

    async with through_a_door(servers) as (pair, door):
        door.faults.extend([None, *[fault] * 50])
        result = await chain(pair, degrade="big", listener=listener if heard else None, **SMALL_STEPS)
        assert result.degraded == "small"
        assert result.finish_reason in ("stop", "length", "loop")
        assert [event.survivor for event in result.trace if isinstance(event, Degraded)] == ["big"]
        calls = [event.call.role for event in result.trace if hasattr(event, "call")]
        assert set(calls[calls.index("small", 1) + 1 :]) == {"big"}
        for usage in result.usage.values():
            assert usage.produced_tokens == usage.kept_tokens + usage.discarded_tokens
        if heard:
            assert "".join(told).strip() == (result.reasoning + result.trace.ledger.text("answer")).strip()
        await until(lambda: idle(servers))


def short(pair):
    """Deadlines that a test can wait for."""
    for engine in pair.values():
        engine.link.deadlines = Deadlines(connect=2, first_token=6, between=6, whole=120)
    return pair


async def test_a_server_that_is_stopped_is_a_timeout_and_one_that_goes_on_serves_again(servers, pair):
    engine = short(pair)["small"]
    prefix = prompt(engine, PROBLEMS[0]["problem"])
    tally = Tally()
    task = asyncio.create_task(engine.complete([prefix], Decoding(6000, temperature=1.0, seed=3), key="", tally=tally))
    await until(lambda: tally.produced_tokens > 20 or task.done())
    start = time.monotonic()
    with stopped(servers["small"]):
        with pytest.raises(EngineTimeout, match="no further token for 6 s"):
            await task
        with pytest.raises(EngineTimeout, match="no answer within 6 s"):
            await engine.complete([prefix], Decoding(4), key="", tally=Tally())
        assert time.monotonic() - start < 30
    engine.link.deadlines = Deadlines()
    assert (await engine.complete([prefix], Decoding(4), key="", tally=Tally()))[0][0].finish == "length"


async def test_a_chain_goes_on_when_its_server_does(servers, pair):
    """Stopped for a moment, within the deadlines, and continued."""
    task = asyncio.create_task(chain(pair, "small_only", sequential_scale=4, temperature=1.0))
    await until(lambda: metric(servers["small"].url, "num_requests_running") >= 1 or task.done())
    with stopped(servers["small"]):
        await asyncio.sleep(1.5)
    result = await task
    assert result.finish_reason in ("stop", "length", "loop")


async def test_a_stopped_server_is_survived(servers, pair):
    task = asyncio.create_task(chain(short(pair), "small_only", sequential_scale=30, temperature=1.0, degrade="big"))
    await until(lambda: metric(servers["small"].url, "num_requests_running") >= 1 or task.done())
    with stopped(servers["small"]):
        result = await task
    assert result.degraded == "small"
    assert result.usage["big"].kept_tokens > 0


async def test_a_server_that_is_killed_in_the_middle_of_chains_fails_one_and_leaves_the_other_to_the_survivor(servers, pair):
    """The last test: it takes the small server away."""

    async def forever(**settings):
        for seed in range(1000):
            result = await chain(pair, "small_only", seed, temperature=1.0, sequential_scale=3, **settings)
            if result.degraded:
                return result
        raise AssertionError("the server outlived a thousand chains")

    tasks = [asyncio.create_task(forever()), asyncio.create_task(forever(degrade="big"))]
    await until(lambda: metric(servers["small"].url, "num_requests_running") >= 2, 60)
    start = time.monotonic()
    os.killpg(group(servers["small"]), signal.SIGKILL)
    failed, survived = await asyncio.gather(*tasks, return_exceptions=True)
    assert time.monotonic() - start < 90
    assert isinstance(failed, EngineFault | EngineUnreachable)
    assert failed.trace is not None
    assert survived.degraded == "small"
    assert survived.answer or survived.finish_reason != "stop"
    assert survived.usage["big"].kept_tokens > 0
    with pytest.raises(EngineError, match=servers["small"].url):
        await pair["small"].complete([[1, 2]], Decoding(1), key="", tally=Tally())
    await until(lambda: metric(servers["big"].url, "num_requests_running") == 0)
