"""The test doubles keep the promises of real engines."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from speculative.engines.base import MIN_LOGPROB, CallStats, Completion, Decoding
from speculative.errors import ContextExceededError, UnknownSpecialTokenError
from speculative.testing import ScriptedEngine, ScriptedTokenizer


async def written(engine: ScriptedEngine, prefix: str, **settings: Any) -> list[tuple[str, str]]:
    tokenizer, stats = ScriptedTokenizer(engine.tokenizer.width), CallStats()  # type: ignore[attr-defined]
    decoding = Decoding(
        **{"max_tokens": 99, "stop_ids": (tokenizer.special_token_id("</think>"), tokenizer.special_token_id("<|im_end|>")), **settings}
    )
    (found,) = await engine.complete([tokenizer.parse(prefix)], decoding, key="", stats=stats)
    assert stats.produced_tokens == sum(completion.produced for completion in found) == engine.produced
    return [(tokenizer.show(completion.ids), completion.finish) for completion in found]


async def test_a_whole_script_goes_on_from_where_the_chain_stands_and_then_answers() -> None:
    script = "abc</think>42<|im_end|>"
    for seen, text in (
        ("<think>\n", "abc"),
        ("<think>\nab", "c"),
        ("<think>\nelsewhere", "abc"),
        ("<think>\nabc\n</think>\n\n", "42"),
        ("</think>\n\n4", "2"),
    ):
        assert await written(ScriptedEngine(script), seen) == [(text, "end")]
    assert await written(ScriptedEngine("abc"), "<think>\nabc\n</think>\n\n") == [("abc", "end")]


async def test_replies_come_in_turn_and_the_last_one_for_ever() -> None:
    assert await written(ScriptedEngine(["a", "b"]), "x", n=4) == [("a", "end"), ("b", "end"), ("b", "end"), ("b", "end")]


async def test_decoding_ends_as_it_does_in_real_engines() -> None:
    assert await written(ScriptedEngine("abcdef", width=2), "x", max_tokens=2) == [("abcd", "length")]
    assert await written(ScriptedEngine("abcdef", width=2), "x", stop=("c",)) == [("abcd", "stop")]
    assert await written(ScriptedEngine("abcdef", context=4), "x") == [("abc", "context")]
    assert await written(ScriptedEngine("a"), "x", stop_ids=()) == [("a", "end")]
    with pytest.raises(ContextExceededError, match="scripted: a prefix of 3 tokens does not fit into its context of 3"):
        await written(ScriptedEngine("a", context=3), "xyz")


async def test_a_stream_gives_the_ids_that_complete_gives() -> None:
    engine, decoding = ScriptedEngine("a😀b</think>c"), Decoding(99, stop_ids=(ScriptedTokenizer().special_token_id("</think>"),))
    deltas = [delta async for delta in engine.stream([], decoding, key="", stats=CallStats())]
    ((completion,),) = await engine.complete([[]], decoding, key="", stats=CallStats())
    assert deltas[-1].completion == completion
    assert tuple(token for delta in deltas for token in delta.ids) == completion.ids


async def test_a_cancelled_call_has_produced_something_and_is_over() -> None:
    engine, stats = ScriptedEngine("abc" * 99, delay=0.001), CallStats()
    task = asyncio.create_task(engine.complete([[]], Decoding(200), key="", stats=stats))
    while not stats.produced_tokens:  # noqa: ASYNC110 (CallStats has no events)
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert engine.running == 0
    assert 0 < stats.produced_tokens < 200


async def test_scores_are_one_for_each_token() -> None:
    engine = ScriptedEngine("", width=2, scores=lambda prefix, text: -float(len(prefix)))
    tokenizer = ScriptedTokenizer(2)
    scores = await engine.score([tokenizer.encode("ab"), []], [tokenizer.encode("cde"), []], key="", stats=(stats := CallStats()))
    assert (scores, stats.scored_tokens) == ([[-2.0, -2.0], []], 2)
    assert await ScriptedEngine("").score([[1]], [[2]], key="", stats=CallStats()) == [[-0.1]]
    await engine.aclose()


async def test_likely_tokens_choices_and_rewards_are_scripted() -> None:
    engine = ScriptedEngine("ab", top=lambda seen: {"a": -0.5, "c": -1.0} if not seen else {}, rewards=len)
    a, b, c = ScriptedTokenizer().encode("abc")
    decoding = Decoding(2, top_logprobs=2, choices=(c, b))
    ((found,),) = await engine.complete([[]], decoding, key="", stats=CallStats())
    assert found.top_logprobs == (((a, -0.5), (c, -1.0)), ((b, -0.1),))
    assert found.choice_logprobs == (-1.0, MIN_LOGPROB)
    (scores,) = await engine.score([[]], [[a, b]], key="", stats=CallStats(), top=1)
    assert scores.top == (((a, -0.5),), ((b, -0.1),))
    assert await engine.reward([[a, b, c], [a]], key="", stats=(stats := CallStats())) == [3, 1]
    assert (stats.requests, stats.prompt_tokens, stats.scored_tokens) == (1, 4, 0)


def test_the_vocabulary_has_bytes_for_text_and_its_own_door_for_markers() -> None:
    tokenizer = ScriptedTokenizer(3)
    assert tokenizer.to_bytes(tokenizer.encode("a</think>😀")) == "a</think>😀".encode()
    assert tokenizer.special_token_id("</think>") not in tokenizer.encode("</think>")
    assert tokenizer.parse("a</think>b") == [*tokenizer.encode("a"), tokenizer.special_token_id("</think>"), *tokenizer.encode("b")]
    assert tokenizer.to_bytes([tokenizer.special_token_id("</think>")]) == b""
    with pytest.raises(UnknownSpecialTokenError, match="no special token '<s>'"):
        tokenizer.special_token_id("<s>")


def test_a_completion_counts_the_token_that_ended_it() -> None:
    assert Completion((1, 2), "end", 3).produced == 3
    assert Completion((1, 2), "length").produced == 2
