"""The verbs that commit nothing, alone and at the same time."""

from __future__ import annotations

import asyncio
from math import inf, nan
from typing import Any

import pytest
from strategies import chain_of, check_books, kinds, started
from waiting import until

from speculative import EngineError, Pair, Problem
from speculative.chain.chain import Chain
from speculative.engines.base import MIN_LOGPROB
from speculative.errors import ChainStateError
from speculative.prompts import Question
from speculative.testing import ScriptedEngine

# ---- draft ----------------------------------------------------------------------------------------------------------


async def test_drafts_are_drawn_in_one_call_and_commit_nothing() -> None:
    chain = chain_of("", lambda seen, seed: f"{seed}</think>")
    drafts = await chain.draft("small", 3)
    assert len({draft.text for draft in drafts}) == 3
    assert [draft.id for draft in drafts] == [0, 1, 2]
    assert (chain.text, chain.tokens, len(chain.engines["small"].calls)) == ("", 0, 1)
    assert chain.trace.usage()["small"].requests == 1


async def test_drafts_hang_off_drafts_and_one_call_serves_them_all() -> None:
    chain = chain_of("abcdefgh", "abcdefgh", widths=(1, 2))
    first, second = await chain.draft("small", 2, max_tokens=1)
    below = await chain.draft("big", 2, after=[first, second], max_tokens=3)
    assert [draft.text for draft in below] == ["cde"] * 4
    assert [draft.parent for draft in below] == [first, first, second, second]
    assert [above.id for above in below[3].path()] == [1, 5]
    assert chain.trace.usage()["big"].requests == 1
    assert await chain.draft("big", after=[]) == []


async def test_a_drafts_logprobs_are_there_when_asked_for_and_finite() -> None:
    chain = chain_of("a😀")
    draft = await chain.draft("big", max_tokens=3, logprobs=True)
    assert (draft.text, draft.logprobs) == ("a", (-0.1,))
    bare = await chain.draft("big", max_tokens=3)
    assert bare.logprobs == ()


@pytest.mark.parametrize("turns", range(12))
async def test_a_draft_that_is_cancelled_in_any_turn_is_counted(turns: int) -> None:
    chain = chain_of("abc", "abc")
    task = asyncio.create_task(chain.draft("small", max_tokens=3))
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    await chain.close()
    check_books(chain.trace, chain.engines)


async def test_nothing_follows_a_draft_that_ended() -> None:
    chain = chain_of("a</think>")
    draft = await chain.draft("big")
    assert (draft.ended, draft.finish, draft.tokens) == (True, "end", 2)
    with pytest.raises(ChainStateError, match="draft 0 ended, nothing can follow it"):
        await chain.draft("big", after=draft)


async def test_without_room_drafts_are_empty_and_no_engine_is_called() -> None:
    chain = chain_of("a" * 99, max_tokens=16)
    await chain.write("big")
    drafts = await chain.draft("small", 2)
    assert [(draft.text, draft.no_room) for draft in drafts] == [("", True)] * 2
    assert chain.engines["small"].calls == []


async def test_no_draft_hangs_off_text_that_is_no_longer_the_end() -> None:
    chain = chain_of("abcdef")
    draft = await chain.draft("big", max_tokens=1)
    await chain.write("big", max_tokens=1)
    for verb in (lambda: chain.draft("big", after=draft), lambda: chain.score("big", [draft]), lambda: chain.answer("big", after=draft)):
        with pytest.raises(ChainStateError, match="does not follow the chain's end"):
            await verb()


async def test_a_draft_can_be_the_reply_to_a_question() -> None:
    chain = chain_of("long thought", "Short.\n\nVery.<|im_end|>")
    await chain.write("big", max_tokens=12)
    rewrite = await chain.draft("small", asked=Question("rewrite", "long thought"))
    assert rewrite.text == "Short.\n\nVery."
    assert "Reasoning so far:\n\nlong thought" in chain.engines["small"].calls[0][1]
    check = await chain.draft("small", asked=Question("check"))
    assert check.text == "Short.\n\n"


async def test_siblings_draw_differently_and_always_the_same() -> None:
    async def texts() -> list[str]:
        script = lambda seen, seed: f"{seed}</think>"  # noqa: E731
        chain = chain_of(script, script, seed=5)
        drafts = [*await chain.draft("big", 2), await chain.draft("big"), await chain.draft("small")]
        return [draft.text for draft in drafts]

    assert await texts() == await texts()
    assert len(set(await texts())) == 4


# ---- work under way -------------------------------------------------------------------------------------------------


async def under_way(chain: Chain, *drafting: Any) -> list[asyncio.Task[Any]]:
    """Calls that have begun, have written a token each, and have not ended."""
    engines = list(chain.engines.values())
    before = [engine.produced for engine in engines]
    tasks = [asyncio.create_task(each) for each in drafting]

    def write() -> bool:
        calls = sum(engine.running for engine in engines)
        return calls >= len(tasks) and all(one.produced - old >= one.running for one, old in zip(engines, before, strict=True))

    await until(write)
    assert not any(task.done() for task in tasks)
    return tasks


async def test_accept_cancels_what_is_under_way_and_counts_it() -> None:
    chain = chain_of("a" * 500, "a" * 500, delay=0.001)
    draft = await chain.draft("small", max_tokens=1)
    (lost,) = await under_way(chain, chain.draft("big"))
    await chain.accept(draft)
    assert chain.engines["big"].running == 0
    cut = await lost
    assert (cut.state, cut.text) == ("rejected", "")
    assert "Cancelled" in kinds(chain.trace)
    assert chain.trace.usage()["big"].discarded_tokens > 0
    check_books(chain.trace, chain.engines)


async def test_accept_can_spare_the_work_on_descendants() -> None:
    chain = chain_of("abcdefgh" * 20, "x" * 500, delay=0.001)
    draft = await chain.draft("big", max_tokens=1)
    kept, lost = await under_way(chain, chain.draft("big", after=draft, max_tokens=40), chain.draft("small", max_tokens=400))
    await chain.accept(draft, keep_descendants=True)
    below = await kept
    assert (below.state, below.parent, (await lost).state) == ("open", draft, "rejected")
    await chain.accept(below)
    assert chain.text == ("abcdefgh" * 20)[:41]
    check_books(chain.trace, chain.engines)


async def test_reject_cancels_the_work_on_what_it_rejects() -> None:
    chain = chain_of("a" * 500, "a" * 500, delay=0.001)
    first, second = await chain.draft("small", 2, max_tokens=1)
    both, one = await under_way(chain, chain.draft("big", after=[first, second], max_tokens=30), chain.draft("big", after=first))
    chain.reject(first)
    assert [draft.state for draft in await both] == ["rejected", "open"]
    assert (await one).state == "rejected"
    check_books(chain.trace, chain.engines)


async def test_drafts_that_land_while_they_are_rejected_are_paid_for_and_rejected() -> None:
    chain = chain_of("abc")
    draft = await chain.draft("big", max_tokens=1)
    landing = asyncio.create_task(chain.draft("small"))
    while not chain.engines["small"].produced:  # noqa: ASYNC110  until the very turn in which it is done
        await asyncio.sleep(0)
    await chain.accept(draft)
    late = await landing
    assert late.state == "rejected"
    check_books(chain.trace, chain.engines)


async def test_cancelling_the_one_who_drafts_is_not_mistaken_for_accept() -> None:
    chain = chain_of("a" * 500, delay=0.001)
    (task,) = await under_way(chain, chain.draft("big"))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert chain.engines["big"].running == 0
    assert kinds(chain.trace) == ["Cancelled"]


async def test_closing_a_chain_ends_everything_under_way_and_counts_it() -> None:
    chain = chain_of("a" * 500, "a" * 500, delay=0.001)
    tasks = await under_way(chain, chain.draft("big"), chain.ask("small", "why?"), chain.child().write("big"))
    await chain.close()
    assert [engine.running for engine in chain.engines.values()] == [0, 0]
    assert kinds(chain.trace)[-1] == "Ended"
    check_books(chain.trace, chain.engines)
    await asyncio.gather(*tasks, return_exceptions=True)
    assert kinds(chain.trace)[-1] == "Ended"


async def test_drafts_at_the_same_time_never_produce_more_than_allowed() -> None:
    chain = chain_of("a" * 500, "a" * 500, max_tokens=1000, max_produced=100, delay=0.0001)
    await asyncio.gather(*(chain.draft(role, n) for role in ("big", "small") for n in (1, 2, 3)))
    assert chain.produced <= 100
    assert chain.finish == "length"


async def test_a_promise_ends_no_thinking() -> None:
    chain = chain_of("a" * 500, "b</think>", max_tokens=1000, max_produced=400, delay=0.0001)
    greedy = asyncio.create_task(chain.draft("big", max_tokens=340))
    await asyncio.sleep(0)
    await chain.draft("small", max_tokens=2)
    assert chain.thinking
    await greedy


# ---- score, ask, warm -----------------------------------------------------------------------------------------------


async def test_score_reads_drafts_after_what_they_follow_in_one_call() -> None:
    chain = chain_of("abcdef", "abcdef", widths=(1, 3), scores=lambda prefix, text: -float(len(text)))
    await chain.write("small", max_tokens=1)
    first = await chain.draft("small", max_tokens=1)
    answer = await chain.answer("small", after=first)
    scores = await chain.score("big", [first, answer])
    assert scores == [[-3.0] * 3, [-6.0] * 6]
    assert first.scores == {"big": scores[0]}
    prefixes = [seen.rpartition("<think>\n")[2] for verb, seen in chain.engines["big"].calls if verb == "score"]
    assert prefixes == ["abc", "abcdef\n</think>\n\n"]
    assert chain.trace.usage()["big"].scored_tokens == 9
    assert chain.trace.usage()["big"].requests == 1
    assert await chain.score("big", []) == []


async def test_what_is_in_the_chain_already_cannot_be_scored() -> None:
    chain = chain_of("abc")
    draft = await chain.draft("big", max_tokens=1)
    await chain.accept(draft)
    with pytest.raises(ChainStateError, match="score it before it is accepted"):
        await chain.score("big", [draft])


@pytest.mark.parametrize("wild", [-inf, nan])
async def test_the_logarithm_of_zero_survives_a_trace(wild: float) -> None:
    chain = chain_of("abc", scores=lambda prefix, text: wild)
    draft = await chain.draft("big", max_tokens=1)
    assert await chain.score("small", [draft]) == [[MIN_LOGPROB]]


async def test_a_side_question_never_enters_the_chain() -> None:
    chain = chain_of("abc", ["because.<|im_end|>"])
    await chain.write("big", max_tokens=2)
    draft = await chain.draft("big", max_tokens=1)
    assert [reply.text for reply in await chain.ask("small", "Why?", after=draft, n=2)] == ["because."] * 2
    assert chain.text == "ab"
    assert "abc\n</think>\n\n<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>" in chain.engines["small"].calls[0][1]
    usage = chain.trace.usage()["small"]
    assert usage.discarded_tokens == usage.produced_tokens == 18


@pytest.mark.parametrize(("kind", "reply"), [("answer", "42}"), ("check", "7*6=42\n\n")])
async def test_a_probe_stops_where_its_reply_is_complete(kind: Any, reply: str) -> None:
    chain = chain_of("", [f"{reply}and more"])
    assert (await chain.ask("small", Question(kind))).text == reply


async def test_ask_and_warm_do_nothing_where_there_is_no_room() -> None:
    chain = chain_of("a" * 999, max_tokens=2000, context=100)
    await chain.write("big")
    await chain.insert("b" * 100)
    replies = await chain.ask("big", "why?", n=2)
    assert [(reply.no_room, reply.has_text) for reply in replies] == [(True, False)] * 2
    await chain.prefill("big")
    assert len(chain.engines["big"].calls) == 1
    spent = chain_of("a" * 99, max_tokens=64, max_produced=8)
    await spent.write("big")
    assert (await spent.ask("small", "why?")).no_room
    await spent.prefill("small")
    assert spent.engines["small"].calls == []


async def test_warm_shows_an_idle_model_the_chain_and_throws_its_token_away() -> None:
    chain = chain_of("abc", "😀")
    await chain.write("big", max_tokens=2)
    await chain.prefill("small")
    assert chain.engines["small"].calls[0][1].endswith("<think>\nab")
    assert chain.trace.usage()["small"].discarded_tokens == 1
    assert chain.text == "ab"


# ---- engines that fail ----------------------------------------------------------------------------------------------


async def test_whatever_an_engine_raises_comes_out_typed() -> None:
    def failing(*_: Any) -> Any:
        raise TimeoutError("no answer in 30 s")

    chain = chain_of(failing, "abc", scores=failing)
    draft = await chain.draft("small")
    for verb in (lambda: chain.write("big"), lambda: chain.ask("big", "?"), lambda: chain.score("big", [draft])):
        with pytest.raises(EngineError, match="big failed: TimeoutError: no answer in 30 s"):
            await verb()
    errors = [event.error for event in chain.trace if type(event).__name__ == "Cancelled"]
    assert errors == ["big failed: TimeoutError: no answer in 30 s"] * 3


async def test_a_stream_that_ends_without_its_completion_is_an_error() -> None:
    chain = chain_of("abc", listener=lambda _: None)

    async def cut(*_: Any, **__: Any) -> Any:
        return
        yield

    chain.engines["big"].stream = cut
    with pytest.raises(EngineError, match="a stream ended without its completion"):
        await chain.write("big")


async def test_an_engine_that_cannot_stream_is_heard_all_the_same() -> None:
    told: list[Any] = []
    chain = chain_of("ab</think>", listener=told.append, abilities=frozenset({"continue", "ids"}))
    await chain.write("big")
    assert [verb for verb, _ in chain.engines["big"].calls] == ["complete"]
    assert [delta.text for delta in told if hasattr(delta, "text")] == ["ab"]


async def test_what_does_not_fit_into_the_judges_context_has_no_scores_and_ends_the_thinking() -> None:
    pair = Pair(ScriptedEngine("", name="big", context=120), ScriptedEngine("a" * 999, name="small"))
    chain = started(Problem.of("6*7?", max_tokens=2000), pair)
    short, long = await chain.draft("small", max_tokens=5), await chain.draft("small", max_tokens=300)
    assert await chain.score("big", [short]) == [[-0.1] * 5]
    assert chain.thinking
    assert await chain.score("big", [short, long]) == [[], []]
    assert chain.finish == "context"
    assert await chain.score("big", [long]) == [[]]
