"""Only tokens count as tokens: until ids come it is before the first token, and between two nothing else renews the deadline."""

import asyncio
import contextlib
from types import SimpleNamespace

import pytest

import speculative
from speculative.engines.base import CallStats, Decoding
from speculative.engines.http import client as http
from speculative.engines.http import retries
from speculative.engines.http.client import Deadlines
from speculative.engines.http.engine import OpenAIEngine
from speculative.errors import EngineTimeoutError, EngineUnreachableError
from speculative.pair import Pair
from speculative.testing import ScriptedEngine, ScriptedTokenizer
from speculative.testing.fake_server import FakeServer, Fault
from speculative.trace.events import Degraded

PROMPT = [97, 98]
TEXT = "One.\n\nTwo.</think>\n\n7"
FIRST = r"no first token within 0\.3 s"
SHORT = Deadlines(first_token=0.3, between=0.3)
"""Short for servers that never write: a busy machine cannot make them answer later."""


@pytest.fixture(params=["vllm", "sglang", "llama.cpp"])
def kind(request):
    return request.param


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    real = retries.stamina.retry_context

    def quick(on, **settings):
        return real(on, attempts=settings["attempts"], timeout=settings["timeout"], wait_initial=0.01, wait_max=0.02, wait_jitter=0.01)

    monkeypatch.setattr(retries.stamina, "retry_context", quick)


@contextlib.asynccontextmanager
async def rig(kind, count=1):
    """Servers, and an engine on them."""
    async with contextlib.AsyncExitStack() as stack:
        scripted = ScriptedEngine(TEXT * 4)
        servers = [await stack.enter_async_context(FakeServer(scripted, kind=kind)) for _ in range(count)]
        engine = await OpenAIEngine.connect([one.url for one in servers], tokenizer=ScriptedTokenizer(), dialect="chatml")
        yield engine, *servers
        await engine.aclose()


async def complete(engine, stats):
    ((completion,),) = await engine.complete([PROMPT], Decoding(8), key="chain", stats=stats)
    return completion


async def stream(engine, stats):
    return [delta async for delta in engine.stream(PROMPT, Decoding(8), key="chain", stats=stats)][-1].completion


@pytest.mark.parametrize("call", [complete, stream])
@pytest.mark.parametrize("fault", ["ping", "stall"])
async def test_comments_progress_and_empty_events_are_not_a_first_token(kind, call, fault):
    """llama.cpp sends its progress through the prompt before it stalls."""
    async with rig(kind) as (engine, server):
        engine.client.deadlines = SHORT
        server.faults.append(Fault(fault))
        with pytest.raises(EngineTimeoutError, match=FIRST):
            await call(engine, CallStats())


@pytest.mark.parametrize("call", [complete, stream])
@pytest.mark.parametrize("fault", ["ping", "stall"])
async def test_comments_and_empty_events_do_not_renew_the_deadline_between_tokens(kind, call, fault):
    async with rig(kind) as (engine, server):
        engine.client.deadlines = Deadlines(between=0.3)
        server.faults.append(Fault(fault, after=4))
        stats = CallStats()
        with pytest.raises(EngineTimeoutError, match=r"no further token for 0\.3 s"):
            await call(engine, stats)
        assert 1 <= stats.produced_tokens <= 4  # a busy machine may be late with the second one


@pytest.mark.parametrize("call", [complete, stream])
async def test_a_server_that_only_pings_is_left_for_a_replica_and_the_call_counts_once(kind, call, monkeypatch):
    async with rig(kind, count=2) as (engine, one, two):
        stuck = one if engine.client.replicas.pick("chain") == one.url else two

        async def patience(base, verb):
            return 0.3 if base == stuck.url else 180.0

        monkeypatch.setattr(engine.client, "_first_token_timeout", patience)
        stuck.faults.append(Fault("ping"))
        stats = CallStats()
        completion = await call(engine, stats)
        assert not stuck.faults
        assert (stats.requests, stats.prompt_tokens, stats.cached_tokens) == (1, len(PROMPT), 0)
        assert stats.produced_tokens == len(completion.ids) == 8


@pytest.mark.parametrize("call", [complete, stream])
async def test_a_connection_that_breaks_before_the_first_token_is_tried_again(kind, call):
    async with rig(kind) as (engine, server):
        server.faults.extend([Fault("ping", seconds=0.05), Fault("close")])
        server.requests.clear()
        completion = await call(engine, CallStats())
        assert len(completion.ids) == 8
        assert len(server.requests) == 3
        server.faults.extend([Fault("ping", seconds=0.02)] * 4)
        with pytest.raises(EngineUnreachableError, match="the connection was closed"):
            await call(engine, CallStats())


async def test_what_a_failed_attempt_found_in_its_cache_is_not_counted():
    """llama.cpp tells it before the first token."""

    class Cached(FakeServer):
        async def _tell(self, response, said):
            if "prompt_progress" in said:
                said["prompt_progress"]["cache"] = 2
            if said.get("stop"):
                said["timings"] = {"cache_n": 1}
            await super()._tell(response, said)

    async with Cached(ScriptedEngine(TEXT), kind="llama.cpp") as server:
        engine = await OpenAIEngine.connect(server.url, tokenizer=ScriptedTokenizer(), dialect="chatml")
        server.faults.append(Fault("close"))
        stats = CallStats()
        await complete(engine, stats)
        assert stats.cached_tokens == 1
        await engine.aclose()


async def test_the_other_model_goes_on_where_a_server_only_pings(kind):
    async with rig(kind) as (engine, server):
        engine.client.deadlines = SHORT
        server.faults.append(Fault("ping"))
        result = await speculative.asolve("?", "big_only", degrade="small", pair=Pair(engine, ScriptedEngine(TEXT)), max_tokens=40)
        (loss,) = (event for event in result.trace if isinstance(event, Degraded))
        assert "no first token within" in loss.error


async def test_a_reader_that_is_slow_is_not_a_server_that_is_silent(kind, monkeypatch):
    """The time between two reads of ours is none of the server's: it is no part of any deadline."""
    async with rig(kind) as (engine, server):
        server.pace = 0.01
        loop = asyncio.get_running_loop()
        clock, late, seen = loop.time, 0.0, 0
        monkeypatch.setattr(loop, "time", lambda: clock() + late)
        async for delta in engine.stream(PROMPT, Decoding(30), key="", stats=CallStats()):
            seen += len(delta.ids)
            late += 70.0  # as if each token took the listener that long, which is more than a server may be silent
            await asyncio.sleep(0.01)  # in which the timer of the deadline runs
        assert seen == 30


class VirtualLoop:
    """A loop whose time passes when the test says so."""

    def __init__(self):
        self.now, self.timers = 0.0, []

    def time(self):
        return self.now

    def call_at(self, when, callback):
        timer = SimpleNamespace(when=when, callback=callback, cancel=lambda: self.timers.clear())
        self.timers.append(timer)
        return timer

    def run_until(self, end):
        """Lets time pass, and returns how many timers ran."""
        ran = 0
        while due := [timer for timer in self.timers if timer.when <= end]:
            first = min(due, key=lambda timer: timer.when)
            self.timers.remove(first)
            self.now, ran = max(self.now, first.when), ran + 1
            assert ran < 100, "the timer spins"
            first.callback()
        self.now = end
        return ran


@pytest.mark.parametrize(("pause", "resume"), [(1.9, 2.1), (0.5, 2.4), (1.0, 9.0)])
def test_a_slow_reader_does_not_postpone_the_end_of_the_whole_call(monkeypatch, pause, resume):
    """The timer may run while no read waits: it then waits no longer than the call may last."""
    loop, closed = VirtualLoop(), []
    monkeypatch.setattr(http.asyncio, "get_running_loop", lambda: loop)
    deadline = http._TokenDeadline(SimpleNamespace(close=lambda: closed.append(loop.now)), between=2.0, ends=2.5)
    deadline.begin()
    loop.run_until(pause)
    deadline.pause()
    loop.run_until(resume)
    assert not closed
    deadline.begin()
    loop.run_until(20.0)
    assert closed == [max(2.5, resume)]
