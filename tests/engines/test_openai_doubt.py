"""A server that was silent once is not waited for as long the next time, until it answers; one that is merely slow is."""

import contextlib
import re

import pytest

import speculative
from speculative.engines.base import CallStats, Decoding
from speculative.engines.http import replicas
from speculative.engines.http.client import Deadlines
from speculative.engines.http.engine import OpenAIEngine
from speculative.engines.http.replicas import Replicas
from speculative.errors import EngineTimeoutError
from speculative.pair import Pair
from speculative.testing import ScriptedEngine, ScriptedTokenizer
from speculative.testing.fake_server import FakeServer, Fault
from speculative.trace.events import Degraded

PROMPT = [97, 98]
TEXT = "One.\n\nTwo.</think>\n\n7"
WHOLE, SHORT = r"no first token within 0\.5 s; see", r"within 0\.1 s of a server that was silent before; see"
QUICK = Deadlines(first_token=0.5, between=0.3, doubted=0.1)
"""The short one is for servers that say nothing at all: a busy machine cannot make them answer later."""
PATIENT = Deadlines(first_token=0.5, between=0.3, doubted=60)
"""For servers that still say what they run: on a busy machine that takes a while."""


@contextlib.asynccontextmanager
async def rig(*, count=1, pace=0.0):
    """Servers, and an engine on them that has heard of each."""
    async with contextlib.AsyncExitStack() as stack:
        scripted = ScriptedEngine(TEXT * 4)
        servers = [await stack.enter_async_context(FakeServer(scripted, pace=pace)) for _ in range(count)]
        engine = await OpenAIEngine.connect([one.url for one in servers], tokenizer=ScriptedTokenizer(), dialect="chatml")
        engine.client.deadlines = QUICK
        yield engine, *servers
        await engine.aclose()


async def write(engine, key="chain"):
    return await engine.complete([PROMPT], Decoding(6), key=key, stats=CallStats())


async def fails(engine, told):
    with pytest.raises(EngineTimeoutError, match=told):
        await write(engine)


async def test_a_silent_server_is_given_up_sooner_until_it_answers():
    async with rig() as (engine, server):
        server.silent = True
        await fails(engine, WHOLE)
        await fails(engine, "/v1/models: no answer " + SHORT)
        await fails(engine, SHORT)
        server.silent = False
        engine.client.deadlines = Deadlines()
        assert await write(engine)
        engine.client.deadlines, server.silent = QUICK, True
        await fails(engine, WHOLE)


async def test_a_slow_server_that_is_alone_has_all_of_its_time():
    """It still says what it runs: its queue is long, and nobody else could do the work."""
    async with rig() as (engine, server):
        engine.client.deadlines = PATIENT
        server.faults.extend([Fault("stall"), Fault("stall")])
        await fails(engine, WHOLE)
        await fails(engine, WHOLE)


async def test_a_server_that_does_not_say_what_it_runs_has_answered(monkeypatch):
    async with rig() as (engine, server):
        engine.client.deadlines = PATIENT
        server.faults.extend([Fault("stall"), Fault("stall")])
        await fails(engine, WHOLE)
        monkeypatch.setattr(server, "_pages", dict)
        await fails(engine, WHOLE)


async def test_where_another_one_can_take_over_a_slow_one_is_left_soon():
    async with rig(count=2) as (engine, one, two):
        stuck, other = (one, two) if engine.client.replicas.pick("chain").startswith(one.url) else (two, one)
        stuck.faults.extend([Fault("stall")] * 2)
        assert await write(engine)
        engine.client.replicas._fell.clear()  # it has rested
        assert engine.client.replicas.is_suspect(stuck.url)
        assert await engine.client._first_token_timeout(stuck.url, "POST") == 0.1
        assert await engine.client._first_token_timeout(other.url, "POST") == 0.5
        assert await write(engine)
        assert not stuck.faults


async def test_a_stream_that_stalls_is_silence_too():
    async with rig() as (engine, server):
        server.faults.append(Fault("stall", after=2))
        await fails(engine, "no further token")
        server.silent = True
        await fails(engine, SHORT)


def test_doubt_ends(monkeypatch):
    """However it is with the server, it is given all of its time again some day."""
    now = [1000.0]
    monkeypatch.setattr(replicas.time, "monotonic", lambda: now[0])
    servers = Replicas(["http://one", "http://two"])
    servers.mark_failed("http://one/v1", silent=True)
    now[0] += replicas.SUSPECT_FOR_S / 2
    servers.mark_failed("http://one/v1")  # given up early: that is no reason to doubt it for longer
    assert servers.is_suspect("http://one/v1")
    assert not servers.is_suspect("http://two/v1")
    now[0] += replicas.SUSPECT_FOR_S / 2
    assert not servers.is_suspect("http://one/v1")


async def test_where_the_other_model_goes_on_alone_a_slow_one_is_left_soon():
    """`degrade`: the first chain that meets the stuck server waits, the next ones hardly do."""
    async with rig() as (engine, server):
        server.faults.extend([Fault("stall")] * 3)
        asked = {"pair": Pair(engine, ScriptedEngine(TEXT)), "max_tokens": 40}
        one = await speculative.asolve("?", "big_only", degrade="small", **asked)
        two = await speculative.asolve("?", "big_only", degrade="small", **asked)
        engine.client.deadlines = PATIENT
        with pytest.raises(EngineTimeoutError, match=WHOLE):
            await speculative.asolve("?", "big_only", **asked)
    for result, told in ((one, WHOLE), (two, SHORT)):
        (loss,) = (event for event in result.trace if isinstance(event, Degraded))
        assert re.search(told, loss.error)
