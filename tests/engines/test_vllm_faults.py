"""Real vLLM servers that break in the middle of a chain: typed errors or recovery, nothing hung, nothing left at work."""

import asyncio
import os
import signal

import pytest
from real import PROBLEMS, company, counted, counts, group, quiet, stopped, through_doors, until

import speculative
from speculative.engines.base import CallStats, Decoding
from speculative.engines.http.client import Deadlines
from speculative.engines.vllm import guard
from speculative.errors import EngineBusyError, EngineError, EngineServerError, EngineTimeoutError, EngineUnreachableError
from speculative.methods.base import Method
from speculative.pair import Pair
from speculative.trace.events import Cancelled, Degraded, TextDelta

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(600), pytest.mark.usefixtures("nothing_left")]

RETRY_STATUSES = ("429 later", "503", "closed")
LASTING = {
    "500": EngineServerError,
    "429": EngineBusyError,
    "garbage": EngineServerError,
    "half": EngineServerError,
    "cut": EngineServerError,
}


async def chain(pair, method="random_switch", *, seed=1, max_tokens=600, **settings):
    return await speculative.asolve(PROBLEMS[0]["problem"], method, pair=pair, seed=seed, max_tokens=max_tokens, **settings)


STEPS = {"seed": 3, "switch_chunk": 5}
"""Even a short chain is several calls of each model then."""

ROLES = ("big", "small")


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("fault", RETRY_STATUSES)
async def test_what_passes_is_tried_again(servers, fault, role):
    """And the server is asked nothing twice."""
    async with through_doors(servers) as (pair, doors):
        whole, before = await chain(pair, temperature=0, **STEPS), counts(servers)
        doors[role].faults.extend([None, fault, fault])
        result = await chain(pair, temperature=0, **STEPS)
        assert doors[role].broken == 2
        assert (result.finish_reason, result.reasoning, result.degraded) == (whole.finish_reason, whole.reasoning, None)
        assert result.text == whole.text != ""
        await counted(servers, before, result.usage)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("heard", [False, True])
@pytest.mark.parametrize("fault", LASTING)
async def test_what_does_not_pass_is_a_typed_error_with_the_trace(servers, fault, heard, role):
    async with through_doors(servers) as (pair, doors):
        doors[role].faults.extend([None, fault])
        with pytest.raises(LASTING[fault], match=doors[role].url.removesuffix("/v1")) as raised:
            await asyncio.wait_for(chain(pair, listener=(lambda _: None) if heard else None, **STEPS), 60)
        assert doors[role].broken == 1
        calls = [event for event in raised.value.trace if hasattr(event, "call")]
        assert [event.call.role for event in calls].count(role) == 2
        assert isinstance(calls[-1], Cancelled)
        assert calls[-1].error == str(raised.value)
        for usage in raised.value.trace.usage().values():
            assert usage.produced_tokens == usage.kept_tokens + usage.discarded_tokens


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    ("fault", "heard"), [("500", False), ("garbage", False), ("half", False), ("500", True), ("half", True), ("cut", True)]
)
async def test_the_survivor_finishes_the_chain(servers, fault, heard, role):
    told = []

    def listener(happened):
        if type(happened).__name__ == "TextDelta" and happened.committed:
            told.append(happened.text)

    (survivor,) = set(ROLES) - {role}
    async with through_doors(servers) as (pair, doors):
        doors[role].faults.extend([None, *[fault] * 50])
        result = await chain(pair, degrade=survivor, listener=listener if heard else None, **STEPS)
        assert result.degraded == role
        assert result.finish_reason in ("stop", "length", "loop")
        assert result.text
        assert [event.survivor for event in result.trace if isinstance(event, Degraded)] == [survivor]
        calls = [event.call.role for event in result.trace if hasattr(event, "call")]
        assert calls.count(role) == 2
        assert set(calls[[at for at, called in enumerate(calls) if called == role][1] + 1 :]) == {survivor}
        for usage in result.usage.values():
            assert usage.produced_tokens == usage.kept_tokens + usage.discarded_tokens
        if heard:
            assert "".join(told).strip() == (result.reasoning + result.trace.ledger.text("answer")).strip()


def short(engine, first_token=60.0):
    """Deadlines that a test can wait for, and that a server at work keeps."""
    engine.client.deadlines = Deadlines(connect=2, first_token=first_token, between=6, whole=120)


class Listener:
    """Hears what is written, and tells when that is some text."""

    def __init__(self):
        self.texts, self._begun = [], asyncio.Event()

    def __call__(self, happened):
        if isinstance(happened, TextDelta):
            self.texts.append((happened.role, happened.text))
        if len(self.texts) > 20:
            self._begun.set()

    async def begun(self, task):
        """Waits for that; a task that ends before it raises what it ended with."""
        waiting = asyncio.create_task(self._begun.wait())
        await asyncio.wait([waiting, task], timeout=60, return_when=asyncio.FIRST_COMPLETED)
        begun = waiting.done()
        waiting.cancel()
        if task.done():
            task.result()
        assert begun
        assert not task.done()


async def test_a_server_that_is_stopped_is_a_timeout_and_one_that_goes_on_serves_again(servers, endless):
    engine, listener = endless["small"], Listener()
    short(engine)
    async with company(servers["small"], "small"):
        task = asyncio.create_task(chain(endless, "small_only", max_tokens=7000, listener=listener))
        await listener.begun(task)
        with stopped(servers["small"]):
            async with asyncio.timeout(60):
                with pytest.raises(EngineTimeoutError, match="no further token for 6 s") as raised:
                    await task
                short(engine, first_token=6)
                with pytest.raises(EngineTimeoutError, match="no answer within 6 s"):
                    await engine.complete([[1, 2, 3]], Decoding(4), key="", stats=CallStats())
    (cut,) = (event for event in raised.value.trace if isinstance(event, Cancelled))
    assert 20 < cut.call.produced_tokens < 6000
    assert cut.proposal.text == "".join(text for _, text in listener.texts)
    engine.client.deadlines = Deadlines()
    await quiet(servers)  # what it was at work on has nobody to be written for
    assert (await engine.complete([[1, 2, 3]], Decoding(4), key="", stats=CallStats()))[0][0].finish == "length"


class Pieces(Method):
    """Small writes many pieces: when the first of them are heard there are more to come, however fast the server is."""

    async def think(self, chain):
        for _ in range(30):
            await chain.write("small", max_tokens=64)


async def test_a_chain_goes_on_when_its_server_does(servers, endless):
    """Stopped for a moment, within the deadlines, and continued: the chain is the one that it would have been."""
    settings = {"temperature": 2.0, "max_tokens": 2000}
    whole = await chain(endless, Pieces(answer_by="small"), **settings)
    before, listener = counts(servers), Listener()
    task = asyncio.create_task(chain(endless, Pieces(answer_by="small"), listener=listener, **settings))
    await listener.begun(task)
    with stopped(servers["small"]):
        await asyncio.sleep(1.5)
        assert not task.done()
    result = await task
    assert whole.usage["small"].kept_tokens == 2000 - 6  # the text that opens a cut answer counts, and no model writes it
    assert (result.reasoning, result.text, result.finish_reason) == (whole.reasoning, whole.text, whole.finish_reason)
    await counted(servers, before, result.usage)


async def test_a_stopped_server_is_survived(servers, pair, endless, monkeypatch):
    engines, tallies, complete = Pair(pair["big"], endless["small"]), [], endless["small"].complete
    short(engines["small"])

    def followed(*given, stats, **rest):
        tallies.append(stats)
        return complete(*given, stats=stats, **rest)

    monkeypatch.setattr(endless["small"], "complete", followed)
    async with company(servers["small"], "small"):
        task = asyncio.create_task(chain(engines, "small_only", max_tokens=7000, degrade="big"))
        await until(lambda: task.done() or any(stats.produced_tokens > 40 for stats in tallies))
        with stopped(servers["small"]):
            result = await task
    assert result.degraded == "small"
    (lost,) = (event for event in result.trace if isinstance(event, Degraded))
    assert "no further token for 6 s" in lost.error
    (cut,) = (event for event in result.trace if isinstance(event, Cancelled))
    assert result.reasoning.startswith(cut.proposal.text)  # it stays, although nobody had been told of it
    assert result.usage["small"].kept_tokens > 20
    assert result.usage["small"].discarded_tokens < 4  # the beginning of a character
    assert result.usage["big"].kept_tokens > 0
    assert result.text


async def test_a_server_that_is_killed_in_the_middle_of_chains_fails_one_and_leaves_the_other_to_the_survivor(servers, pair, endless):
    """The last test: it takes the small server away."""
    small, engines = servers["small"], Pair(pair["big"], endless["small"])
    members, settings = guard.process_tree(small.process.pid), {"max_tokens": 4000, "temperature": 1.0}
    one, other = Listener(), Listener()
    async with company(small, "small"):
        tasks = [
            asyncio.create_task(chain(engines, "small_only", seed=1, listener=one, **settings)),
            asyncio.create_task(chain(engines, "small_only", seed=2, listener=other, degrade="big", **settings)),
        ]
        for listener, task in zip((one, other), tasks, strict=True):
            await listener.begun(task)
        os.killpg(group(small), signal.SIGKILL)
        async with asyncio.timeout(90):
            failed, survived = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(failed, EngineServerError | EngineUnreachableError)
    assert small.url.removesuffix("/v1") in str(failed)
    (cut,) = (event for event in failed.trace if isinstance(event, Cancelled))
    assert cut.call.produced_tokens > 0
    assert (survived.degraded, survived.finish_reason) == ("small", "stop")
    heard = "".join(text for role, text in other.texts if role == "small")
    assert survived.reasoning.startswith(heard)  # what a listener was told stays
    assert survived.usage["small"].kept_tokens > 20
    assert survived.usage["big"].kept_tokens > 0
    assert survived.text
    with pytest.raises(EngineError, match=small.url):
        await endless["small"].complete([[1, 2]], Decoding(1), key="", stats=CallStats())
    await asyncio.to_thread(small.process.wait, 20)
    assert not [pid for pid in members if guard.start_time(pid)]
