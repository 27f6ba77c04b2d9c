"""Tests where a text ends: at the same token for every speed, every cut into calls, and every engine."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path
from typing import Any

import pytest
from easy import EASY
from hypothesis import given, settings
from hypothesis import strategies as st
from profiles import examples, quick_cases
from strategies import Chunked, Recorded, Verbs, chain_of, check_books, started

from speculative import STEP, Chain, Method, Pair, Problem, Result, solve
from speculative.chain import text_stream
from speculative.engines.base import CallStats, Decoding
from speculative.engines.local import BundledEngine
from speculative.errors import EngineServerError
from speculative.methods.registry import build
from speculative.runner import run
from speculative.testing import ScriptedEngine
from speculative.tower import TowerEngine
from speculative.trace.events import Cancelled, Wrote

TAKE_OVER = str(Path(__file__).parents[2] / "examples" / "methods" / "take_over.py")
DOUBT = {"doubt": "40|48"}
RUNS: list[tuple[str, dict[str, Any], str]] = [
    ("mentor", {}, "bundled:small"),
    (TAKE_OVER, DOUBT, "bundled:small"),
    (TAKE_OVER, DOUBT, "random_switch(bundled:small,bundled:big)"),
]
"""Methods with a predicate and their small models; a tower lacks what `mentor` needs."""


def outcome(result: Result) -> tuple[Any, ...]:
    """Returns the parts of a result that must not depend on any clock."""
    usage = {role: (cost.kept_tokens, cost.produced_tokens) for role, cost in result.usage.items()}
    return result.reasoning, result.text, result.finish_reason, usage


# ---- the speed of the machine ---------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("name", "params", "small"), RUNS)
@settings(max_examples=examples(3), deadline=None)
@given(cap=st.none() | st.integers(20, 140))
def test_a_slow_predicate_changes_no_token_and_no_count(name: str, params: dict[str, Any], small: str, cap: int | None) -> None:
    says_yes = text_stream._says_yes

    def slowly(until: Any, text: str) -> bool:
        time.sleep(0.002)
        return says_yes(until, text)

    found = list[Any]()
    for ask in (says_yes, slowly):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(text_stream, "_says_yes", ask)
            found.append(outcome(solve(EASY, build(name, params), pair=Pair.open(small=small), seed=1, max_produced=cap)))
    assert found[0] == found[1]
    assert cap is None or sum(produced for role, (_, produced) in found[0][3].items() if "/" not in role) <= cap


async def test_a_paced_stream_writes_no_token_before_the_one_before_is_taken() -> None:
    engine = BundledEngine.open("small")
    prefix, plain = engine.tokenizer.encode(EASY), Decoding(30, temperature=1, seed=4)
    stats, beside, taken = CallStats(), CallStats(), list[int]()
    async for delta in engine.stream(prefix, Decoding(30, temperature=1, seed=4, paced=True), key="", stats=stats):
        taken += delta.ids
        if delta.completion is None:
            await engine.score([prefix], [taken], key="", stats=CallStats())  # a turn of the engine's thread
            assert stats.produced_tokens == len(taken)
    ((whole,),) = await engine.complete([prefix], plain, key="", stats=beside)
    assert (tuple(taken), stats.produced_tokens) == (whole.ids, beside.produced_tokens)
    await engine.aclose()


async def test_a_paced_stream_that_nobody_reads_on_lets_others_write() -> None:
    engine = BundledEngine.open("small")
    prefix, stats = engine.tokenizer.encode(EASY), CallStats()
    stream = engine.stream(prefix, Decoding(30, temperature=1, seed=4, paced=True), key="", stats=stats)
    await anext(stream)
    async with asyncio.timeout(60):  # the error in place of a test that never ends
        ((completion,),) = await engine.complete([prefix], Decoding(9, seed=1), key="", stats=CallStats())
    assert completion.ids
    assert stats.produced_tokens == 1
    await stream.aclose()  # type: ignore[attr-defined]
    await engine.aclose()


@settings(max_examples=examples(40), deadline=None)
@given(cap=st.integers(1, 90), size=st.integers(2, 9), doubt=st.sampled_from(["o", "T", "e."]))
def test_what_a_server_writes_beyond_is_counted_but_not_charged(cap: int, size: int, doubt: str) -> None:
    script, found = "One two.\n\nThree of them, no more.\n\nTo end: 42.</think>42<|im_end|>", list[Any]()
    for step in (1, size):
        pair = Pair(*(Chunked(script, name=role) for role in ("big", "small")))
        for engine in pair.values():
            engine.size = step  # type: ignore[attr-defined]
        result = asyncio.run(run(Problem.of("6*7?", max_produced=cap), build(TAKE_OVER, {"doubt": doubt}), pair))
        check_books(result.trace, pair)
        found.append((outcome(result)[:3], {role: cost.kept_tokens for role, cost in result.usage.items()}))
    assert found[0] == found[1]


@settings(max_examples=examples(30), deadline=None)
@given(cap=st.integers(1, 90), size=st.integers(2, 9), doubt=st.sampled_from(["o", "T", "e."]), around=st.booleans())
def test_what_is_written_beyond_within_a_tower_is_not_charged_either(cap: int, size: int, doubt: str, around: bool) -> None:
    script, found = "One two.\n\nThree of them, no more.\n\nTo end: 42.</think>42<|im_end|>", list[Any]()
    for step in (1, size):
        big, *engines = (Chunked(script, name=name) for name in ("big", "inner big", "inner small"))
        for engine in (big, *engines):
            engine.size = step
        pair = Pair(big, TowerEngine(build(TAKE_OVER, {"doubt": doubt}), Pair(*engines)))
        result = asyncio.run(run(Problem.of("6*7?", max_produced=cap), build("small_only", {"sequential_scale": int(around)}), pair))
        found.append((outcome(result)[:3], {role: cost.kept_tokens for role, cost in result.usage.items()}))
    assert found[0] == found[1]


@settings(max_examples=examples(20), deadline=None)
@given(cap=st.integers(1, 90), size=st.integers(2, 9), doubt=st.sampled_from(["o", "T", "e."]))
def test_what_a_tower_tells_beyond_is_not_charged(cap: int, size: int, doubt: str) -> None:
    script, found = "One two.\n\nThree of them, no more.\n\nTo end: 42.</think>42<|im_end|>", list[Any]()
    for step in (1, size):
        big, *engines = (Chunked(script, name=name) for name in ("big", "inner big", "inner small"))
        for engine in (big, *engines):
            engine.size = step
        pair = Pair(big, TowerEngine(build("small_only"), Pair(*engines)))
        result = asyncio.run(run(Problem.of("6*7?", max_produced=cap), build(TAKE_OVER, {"doubt": doubt}), pair))
        found.append((outcome(result)[:3], {role: cost.kept_tokens for role, cost in result.usage.items()}))
    assert found[0] == found[1]


class SlowlyClosed(Chunked):
    """Takes some turns to close a stream, as a connection to a server does."""

    error: Exception | None = None
    size = 10

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.closing = asyncio.Event()

    async def stream(self, *args: Any, **kwargs: Any) -> Any:
        try:
            async for delta in super().stream(*args, **kwargs):
                yield delta
        finally:
            self.closing.set()
            await asyncio.sleep(0.01)
            if self.error:
                raise self.error


@pytest.mark.parametrize("error", [None, EngineServerError("the server went away")])
@pytest.mark.parametrize("cancels", [False, True])
@pytest.mark.parametrize("tower", [False, True])
async def test_what_is_written_beyond_is_not_charged_though_the_call_ends_while_its_stream_closes(
    error: Exception | None, cancels: bool, tower: bool
) -> None:
    own = SlowlyClosed("One two three four five.", name="small")
    own.error = error
    small = TowerEngine(build("small_only"), Pair(ScriptedEngine("", name="inner big"), own)) if tower else own
    chain = started(Problem.of("6*7?", max_produced=200, degrade="fail"), Pair(ScriptedEngine("", name="big"), small))
    left = chain.left
    writing = asyncio.ensure_future(chain.write("small", until=lambda text: "two" in text))
    await own.closing.wait()
    if cancels:
        writing.cancel()
    with contextlib.suppress(asyncio.CancelledError, EngineServerError):
        await writing
    call = next(event.call for event in chain.trace if isinstance(event, Wrote | Cancelled))
    assert (call.produced_tokens, call.beyond_tokens) == (10, 3)
    assert left is not None
    assert chain.left == left - len("One two")


# ---- stop strings over the end of a call ----------------------------------------------------------------------------


STOPS = st.lists(
    st.sampled_from(["\n\nTw", "e.\n\nT", "\n\n", "\n", "ne.\n\nTwo.\n\nTh", "o", "zz", "hree.", STEP]), min_size=1, max_size=2
)


@settings(max_examples=examples(40), deadline=None)
@given(stops=STOPS, width=st.integers(1, 3), tokens=st.none() | st.integers(1, 30), listens=st.booleans())
def test_watchers_change_nothing_about_stop_strings(stops: list[str], width: int, tokens: int | None, listens: bool) -> None:
    async def written(watched: bool) -> tuple[Any, ...]:
        chain = chain_of(*["One.\n\nTwo.\n\nThree.</think>3"] * 2, widths=(width, width), listener=Recorded() if listens else None)
        if watched:
            chain.at_step(_look)
        draft = await chain.write("small", stop=stops, max_tokens=tokens)
        return draft.text, draft.finish, draft.ids, chain.text

    assert asyncio.run(written(watched=True)) == asyncio.run(written(watched=False))


@pytest.mark.parametrize("stops", quick_cases([["zz"], ["\n\nTw"], ["e.\n\nT"], ["\n\n"]]))
@pytest.mark.parametrize("width", [1, 2, 3])
def test_watchers_change_no_finish_where_a_limit_and_a_step_end_together(stops: list[str], width: int) -> None:
    async def written(watched: bool, **limits: Any) -> tuple[Any, ...]:
        chain = chain_of(*["One.\n\nTwo.\n\nThree.</think>3"] * 2, widths=(width, width), **limits)
        if watched:
            chain.at_step(_look)
        draft = await chain.write("small", stop=stops, max_tokens=None if limits else tokens)
        return draft.text, draft.finish, draft.ids, chain.text, chain.finish, chain.thinking

    for tokens in range(1, 25):
        limits = (
            {},
            {"max_tokens": tokens, "answer_tokens": 0},
            {"max_thinking": tokens},
            {"max_produced": tokens},
            {"context": 82 + tokens},
        )
        for limit in limits:
            assert asyncio.run(written(True, **limit)) == asyncio.run(written(False, **limit)), (tokens, limit)


@pytest.mark.parametrize("script", ["A.\n\n" * 6 + "B.</think>x", "A.\n\nB.\n\n" * 5 + "C.\n\n</think>x", "A.\n\n" * 40, "\n\n" * 40])
def test_watchers_change_nothing_about_loops(script: str) -> None:
    async def written(watched: bool, **limits: Any) -> tuple[Any, ...]:
        chain = chain_of(script, script, **limits)
        if watched:
            chain.at_step(_look)
        draft = await chain.write("small", max_tokens=None if limits else tokens)
        rest = await chain.write("small", stop="B.")
        return draft.text, draft.finish, rest.text, chain.text, chain.finish

    for tokens in range(1, 50, 3):
        for limit in ({}, {"max_tokens": tokens}, {"max_thinking": tokens}, {"max_produced": tokens}):
            assert asyncio.run(written(True, **limit)) == asyncio.run(written(False, **limit)), (tokens, limit)


async def _look(chain: Chain) -> None: ...


@settings(max_examples=examples(40), deadline=None)
@given(
    stop=st.sampled_from(["\n\nThr", "wo.\n\n", "o.\n", "Two", ".\n\nTwo.\n", "e"]),
    pieces=st.lists(st.integers(1, 9), min_size=1, max_size=6),
    drafts=st.booleans(),
    width=st.integers(1, 3),
)
def test_a_raw_text_ends_at_its_stop_string_however_calls_cut_it(stop: str, pieces: list[int], drafts: bool, width: int) -> None:
    script = "One.\n\nTwo.\n\nThree.\n\nFour."

    async def think(chain: Chain) -> None:
        sizes = iter(pieces)
        while chain.thinking:
            size = next(sizes, None)
            if drafts:
                await chain.accept(await chain.draft("big", max_tokens=size))
            else:
                await chain.write("big", max_tokens=size)
        await chain.answer("big")

    def seen(text: str, seed: int) -> str:
        return script[len(text.partition("Q:")[2]) :]

    pair = Pair(*(ScriptedEngine(seen, name=role, width=width) for role in ("big", "small")))
    result = asyncio.run(run(Problem.of("Q:", raw=True, stop=[stop], max_tokens=200), Verbs(script=think), pair))
    whole, end = result.reasoning + result.text, script.index(stop) + len(stop)
    assert whole.startswith(script[:end])
    assert len(whole) < end + width


async def test_a_stop_string_of_the_answer_may_begin_in_an_earlier_part_of_it() -> None:
    replies = ["So.</think>", "Four<think>", "hm</think>", "ty two and more<|im_end|>"]
    chain = Chain(Problem.of("6*7?", stop=["rty"]), Pair(ScriptedEngine(replies), ScriptedEngine("")))
    await chain.write("big")
    answer = await chain.answer("big")
    assert chain.answer_text.startswith("Fourty")
    assert (chain.answer_text, answer.finish) == ("Fourty", "stop")


# ---- who wrote it ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("listener", [None, Recorded()])
@pytest.mark.parametrize("drafts", [False, True])
@pytest.mark.parametrize("joins", [False, True])
async def test_what_a_tower_wrote_up_to_the_end_is_kept_by_its_models(joins: bool, drafts: bool, listener: Any) -> None:
    script = "One.\n\nTwo.\n\nThree.</think>3"
    inner = Pair(ScriptedEngine(script, name="b"), ScriptedEngine(script, name="s"))
    tower = TowerEngine(build("random_switch", {"switch_chunk": 2}), inner)
    chain = Chain(Problem.of("6*7?", max_produced=300), Pair(ScriptedEngine(script, name="big"), tower), listener=listener)
    await chain.write("big", max_tokens=5 if joins else 2)
    options: dict[str, Any] = {"stop": STEP} if joins else {"until": lambda text: text.endswith("Tw")}
    if drafts:
        await chain.accept(await chain.draft("small", **options))
    else:
        await chain.write("small", **options)
    assert chain.text == ("One.\n\n" if joins else "One.\n\nTw")
    usage = chain.trace.usage()
    assert usage["small"].kept_tokens == len(chain.text) - usage["big"].kept_tokens
    inside = [cost for role, cost in usage.items() if role.startswith("small/")]
    assert usage["small"].kept_tokens == sum(cost.kept_tokens for cost in inside)
    assert usage["small"].discarded_tokens == sum(cost.discarded_tokens for cost in inside) == 0


# ---- a write in parts -----------------------------------------------------------------------------------------------


async def test_a_write_in_parts_has_the_log_probabilities_of_all_of_them() -> None:
    chain = chain_of("One.\n\nTwo.\n\nThree.</think>3")
    chain.at_step(_look)
    child = chain.child(logprobs=True)
    draft = await child.write("big")
    assert draft.text == "One.\n\nTwo.\n\nThree."
    assert len(draft.logprobs) == len(draft.ids) == draft.tokens - 1  # the end has none


@pytest.mark.parametrize("back_to", [0, 1])
async def test_a_watcher_that_rewinds_ends_the_write_with_what_is_left_of_it(back_to: int) -> None:
    chain, asked = chain_of("One.\n\nTwo.\n\nThree.</think>3", append_only=False), list[str]()
    places = [chain.checkpoint()]

    async def watch(watched: Chain) -> None:
        places.append(watched.checkpoint())
        if len(places) == 3:
            await watched.rewind(places[back_to])

    chain.at_step(watch)
    draft = await chain.write("big", until=lambda text: asked.append(text) is not None)
    assert draft.text == chain.text == ("One.\n\n" if back_to else "")
    assert asked[-1] == "One.\n\nTwo.\n\n"
    assert chain.thinking


class Quiet(Method):
    """Writes what small says up to a stop string, and lets big end it."""

    async def think(self, chain: Chain) -> None:
        await chain.write("small", stop="\n\nShe")
        while chain.thinking:
            await chain.write("big")


def test_early_exit_leaves_the_stop_strings_of_its_method() -> None:
    plain, watched = (solve(EASY, Quiet(), seed=3, wrappers=wrappers) for wrappers in ([], ["early_exit(agree=9)"]))
    assert watched.reasoning == plain.reasoning
    assert watched.usage["big"].kept_tokens == plain.usage["big"].kept_tokens
