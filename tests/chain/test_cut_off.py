"""A call that ends before its completion does: what it had written stays, be it heard or not."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from msgspec import structs
from strategies import LIMITS, Recorded, Verbs, check_books, kinds, scripted_pair

from speculative import Pair, Problem, Trace
from speculative.engines.base import CallStats, Decoding
from speculative.engines.http.engine import OpenAIEngine
from speculative.engines.local import BundledEngine
from speculative.errors import EngineServerError
from speculative.methods.registry import build
from speculative.runner import run
from speculative.testing import ScriptedEngine, ScriptedTokenizer
from speculative.testing.fake_server import FakeServer, Fault, Kind
from speculative.trace.events import Accepted, Cancelled, Degraded, Ended
from speculative.trace.replay import ReplayEngine

THOUGHT = "Déjà vu 😀 and so on. " * 99
ANSWER = "a</think>" + THOUGHT
PACE = 0.002
HEARD = pytest.mark.parametrize("heard", [False, True], ids=["quiet", "heard"])


async def replayed(trace: Trace, pair: Pair, method: Any, listener: Any = None) -> Trace:
    again = Pair(*(ReplayEngine(trace, role, like) for role, like in pair.items()))
    return (await run(trace.started.problem, method, again, listener)).trace


@contextlib.asynccontextmanager
async def served(kind: Kind, *faults: Fault, script: str = THOUGHT, width: int = 1) -> AsyncIterator[Pair]:
    """A pair behind servers. The big one breaks as told."""
    async with (
        FakeServer(ScriptedEngine(script, width=width), kind=kind, pace=PACE) as big,
        FakeServer(ScriptedEngine(script), kind=kind, pace=PACE) as small,
    ):
        tokenizers = [ScriptedTokenizer(width), ScriptedTokenizer()]
        both = zip((big, small), tokenizers, strict=True)
        engines = [await OpenAIEngine.connect(server.url, tokenizer=words, dialect="chatml") for server, words in both]
        big.faults.extend(faults)
        async with Pair(*engines) as pair:
            yield pair


@HEARD
@pytest.mark.parametrize("width", [1, 3])
@pytest.mark.parametrize(("script", "phase"), [(THOUGHT, "thinking"), (ANSWER, "answer")])
async def test_what_was_written_when_the_time_is_up_is_kept_and_replays(script: str, phase: str, width: int, heard: bool) -> None:
    for limit in LIMITS:
        pair, listener = scripted_pair(script, delay=PACE, widths=(width, width)), Recorded() if heard else None
        result = await run(Problem.of("6*7?", max_seconds=limit), build("big_only"), pair, listener)
        if len(result.trace.ledger.text(phase)) > 5:  # pyright: ignore[reportArgumentType]
            break
    check_books(result.trace, pair)
    assert result.finish_reason == "time"
    text = result.trace.ledger.text(phase)  # pyright: ignore[reportArgumentType]
    assert len(text) > 5
    assert script.removeprefix("a</think>").startswith(text)
    assert result.usage["big"].discarded_tokens <= 4  # the beginning of a character
    for ear in (None, Recorded()):
        again = await replayed(result.trace, pair, build("big_only"), ear)
        assert again.timeless() == result.trace.timeless()
        assert ear is None or ear.told == result.reasoning + result.trace.ledger.text("answer")


@pytest.mark.parametrize("width", [1, 3])
@pytest.mark.parametrize("kind", ["vllm", "sglang", "llama.cpp"])
async def test_what_a_server_had_sent_when_the_time_is_up_is_kept(kind: Kind, width: int) -> None:
    async with served(kind, *[Fault("stall", after=40)] * len(LIMITS), width=width) as pair:
        for limit in LIMITS:
            result = await run(Problem.of("6*7?", max_seconds=limit), build("big_only"), pair)
            assert result.finish_reason == "time"
            if len(result.reasoning) >= 30:
                break
        assert len(result.reasoning) >= 30
        assert THOUGHT.startswith(result.reasoning)
        check_books(result.trace)


class Endless(BundledEngine):
    """Its texts have no end."""

    async def complete(self, prefixes: Any, decoding: Decoding, **settings: Any) -> Any:
        return await super().complete(prefixes, structs.replace(decoding, stop_ids=()), **settings)


async def test_what_the_bundled_engine_had_written_when_the_time_is_up_is_kept() -> None:
    async with Pair(*[Endless.open("small")] * 2) as pair:
        problem = Problem.of("Mia has 82 apples. She buys 6 boxes.", max_tokens=15_000, max_seconds=0.1)
        several = await run(problem, Verbs(script=lambda chain: chain.draft("big", 3)), pair)
        assert several.reasoning == ""
        for limit in LIMITS:
            result = await run(structs.replace(problem, max_seconds=limit), build("big_only"), pair)
            if result.reasoning:
                break
        assert result.finish_reason == "time"
        assert [type(event) for event in result.trace][1:] == [Cancelled, Accepted, Ended]
        usage = result.usage["big"]
        assert 0 < usage.kept_tokens <= usage.produced_tokens < usage.kept_tokens + 4
        check_books(result.trace)


async def test_a_call_that_is_cancelled_leaves_what_it_has_written_in_its_tally() -> None:
    engine = BundledEngine.open("small")
    prompt = engine.tokenizer.encode("Mia has 82 apples.")
    ((whole,),) = await engine.complete([prompt], Decoding(60), key="", stats=CallStats())
    for pause in LIMITS:
        stats = CallStats()
        task = asyncio.create_task(engine.complete([prompt], Decoding(15_000), key="", stats=stats))
        await asyncio.sleep(pause)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        if stats.produced_tokens:
            break
    assert stats.produced_tokens == len(stats.written) > 0
    assert tuple(stats.written[:60]) == whole.ids[: len(stats.written)]
    await engine.aclose()


async def test_what_was_written_before_ctrl_c_is_in_the_trace() -> None:
    pair, trace = scripted_pair(THOUGHT, delay=PACE), Trace([])
    task = asyncio.create_task(run(Problem.of("6*7?"), build("big_only"), pair, trace=trace))
    while pair["big"].produced < 20:  # noqa: ASYNC110 (a scripted engine has no events)
        await asyncio.sleep(0.005)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(trace.ledger.text("thinking")) > 10
    check_books(trace, pair)


async def test_what_a_method_may_take_back_is_not_kept() -> None:
    class TakesBack(Verbs):
        append_only = False

    pair = scripted_pair(THOUGHT, delay=PACE)
    for seconds in LIMITS:
        result = await run(Problem.of("6*7?", max_seconds=seconds), TakesBack(script=lambda chain: chain.write("big")), pair)
        if any(isinstance(event, Cancelled) and event.proposal for event in result.trace):
            break
    assert result.reasoning == ""
    (cut,) = (event for event in result.trace if isinstance(event, Cancelled))
    assert cut.proposal
    assert THOUGHT.startswith(cut.proposal.text)


@HEARD
@pytest.mark.parametrize("width", [1, 3])
@pytest.mark.parametrize("kind", ["half", "close", "error", "garbage"])
async def test_the_survivor_goes_on_behind_what_the_lost_server_had_written(kind: Any, width: int, heard: bool) -> None:
    script = "Déjà vu 😀 six sevens are 42.\n\nSo it is.</think>\n\n42"
    async with served("vllm", Fault(kind, after=7), script=script, width=width) as pair:
        listener = Recorded() if heard else None
        result = await run(Problem.of("6*7?", degrade="small"), build("big_only"), pair, listener)
        assert (result.reasoning, result.text) == ("Déjà vu 😀 six sevens are 42.\n\nSo it is.", "42")
        assert [type(event) for event in result.trace][1:3] == [Cancelled, Degraded]
        assert result.trace.segments()[0].author == "big"
        assert result.trace.segments()[0].text
        assert listener is None or listener.told == "Déjà vu 😀 six sevens are 42.\n\nSo it is.\n\n42"
        for ear in (None, Recorded()):
            assert (await replayed(result.trace, pair, build("big_only"), ear)).timeless() == result.trace.timeless()


async def test_what_a_server_had_written_when_it_failed_is_in_the_errors_trace() -> None:
    async with served("vllm", Fault("close", after=7)) as pair:
        with pytest.raises(EngineServerError) as raised:
            await run(Problem.of("6*7?"), build("big_only"), pair)
    assert raised.value.trace
    assert kinds(raised.value.trace) == ["Started", "Cancelled"]
    (cut,) = (event for event in raised.value.trace if isinstance(event, Cancelled))
    assert cut.proposal
    assert (cut.proposal.text, cut.proposal.completion.finish) == ("Déjà v"[:5], "cut")
