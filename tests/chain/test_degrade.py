"""A server dies in the middle of a chain: the survivor finishes it, or the chain fails, and the trace says which."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from profiles import examples
from strategies import (
    GONE,
    Mortal,
    Recorded,
    Verbs,
    babble,
    check_books,
    check_result,
    kept_by_author,
    kinds,
    policies,
    scripted_pair,
    started,
)

from speculative import EngineError, Pair, Problem, Result, Trace, asolve
from speculative.chain.chain import Chain
from speculative.chain.pending import PendingCall
from speculative.errors import (
    EngineBusyError,
    EngineRefusedError,
    EngineServerError,
    EngineTimeoutError,
    EngineUnreachableError,
    UnsupportedMethodError,
    UsageError,
)
from speculative.methods.registry import build
from speculative.prompts import Question
from speculative.report.timeline import Timeline, TraceRecorder
from speculative.runner import run
from speculative.testing import ScriptedEngine
from speculative.trace.events import Accepted, Cancelled, Degraded
from speculative.trace.replay import ReplayEngine


def mortal_pair(big: Any = "", small: Any = "", lives: int = 0, widths: tuple[int, int] = (1, 1), **settings: Any) -> Pair:
    """The small one dies after so many tokens."""
    return Pair(ScriptedEngine(big, name="big", width=widths[0]), Mortal(small, name="small", width=widths[1], lives=lives, **settings))


def chain_of(pair: Pair, listener: Any = None, degrade: Any = "big", **problem: Any) -> Chain:
    return started(Problem.of("6*7?", degrade=degrade, **problem), pair, listener=listener)


def degraded(trace: Trace) -> list[Degraded]:
    return [event for event in trace.walk() if isinstance(event, Degraded)]


# ---- verb by verb ---------------------------------------------------------------------------------------------------


async def test_a_write_that_never_began_is_written_by_the_survivor() -> None:
    pair = mortal_pair("abc</think>", "xyz", lives=0)
    chain = chain_of(pair)
    draft = await chain.write("small")
    assert (draft.author, draft.text, chain.text) == ("big", "abc", "abc")
    assert kinds(chain.trace) == ["Cancelled", "Degraded", "Wrote"]
    (event,) = degraded(chain.trace)
    assert (event.role, event.survivor, event.error) == ("small", "big", GONE)
    assert (await chain.write("small")).author == "big"
    assert len(pair["small"].calls) == 1
    await chain.answer("small")
    check_books(chain.trace, pair)
    assert set(kept_by_author(chain.trace)) == {"big"}


@pytest.mark.parametrize("widths", [(1, 1), (1, 2), (3, 1)])
async def test_what_was_told_before_the_death_stays_and_the_survivor_goes_on_behind_it(widths: tuple[int, int]) -> None:
    script = "Déjà vu 😀 six sevens are 42.\n\nSo it is.</think>\n\n42"
    for lives in range(1, 30):
        pair, listener = mortal_pair(script, script, lives, widths), Recorded()
        chain = chain_of(pair, listener)
        await chain.write("small")
        assert chain.text == "Déjà vu 😀 six sevens are 42.\n\nSo it is."
        await chain.answer("small")
        assert chain.answer_text == "\n\n42"
        assert listener.told == chain.text + chain.answer_text
        check_books(chain.trace, pair)
        assert chain.trace.usage()["small"].kept_tokens <= lives + 1  # an end comes with the last token
        half = next((event.proposal for event in chain.trace if isinstance(event, Cancelled)), None)
        if half:
            assert next(event for event in chain.trace if isinstance(event, Accepted)).drafts == (half.id,)
            assert kept_by_author(chain.trace)["small"].endswith(half.text)


async def test_a_chunk_is_no_longer_for_two_authors() -> None:
    chain = chain_of(mortal_pair("a" * 50, "b" * 50, 4), Recorded())
    draft = await chain.write("small", max_tokens=10)
    assert draft.text == chain.text == "bbbb" + "a" * 6
    assert draft.tokens == chain.tokens == 10


async def test_an_answer_that_broke_off_is_finished_behind_its_cue() -> None:
    listener = Recorded()
    pair = mortal_pair("word " * 60, "word " * 60, lives=228)
    chain = chain_of(pair, listener, max_tokens=256)
    await chain.write("small")
    assert chain.finish == "length"
    assert pair["small"].produced == 224
    await chain.answer("small")
    cue = next(segment.text for segment in chain.trace.segments() if segment.author == "method")
    assert chain.answer_text.startswith(cue)
    told = "".join(delta.text for delta in listener if type(delta).__name__ == "TextDelta" and delta.committed)
    assert told == chain.text + chain.answer_text
    assert chain.tokens == 256 - len(cue)
    assert [segment.author for segment in chain.trace.segments()] == ["small", "method", "small", "big"]
    check_books(chain.trace, pair)


async def test_a_cue_is_told_once_when_the_answer_never_began() -> None:
    listener = Recorded()
    chain = chain_of(mortal_pair("word " * 60, "word " * 60, lives=224), listener, max_tokens=256)
    await chain.write("small")
    await chain.answer("small")
    assert chain.answer_text.startswith("The answer is ")
    told = "".join(delta.text for delta in listener if type(delta).__name__ == "TextDelta" and delta.committed)
    assert told == chain.text + chain.answer_text


async def test_drafts_are_drawn_by_the_survivor() -> None:
    chain = chain_of(mortal_pair("abcdef", "xyz", widths=(1, 2)))
    first = await chain.draft("big", max_tokens=2)
    drafts = await chain.draft("small", 2, after=first, max_tokens=2)
    assert [(draft.author, draft.text, draft.parent) for draft in drafts] == [("big", "cd", first)] * 2
    await chain.accept(drafts[1])
    assert chain.text == "abcd"
    answer = await chain.answer("small", after=await chain.draft("small", max_tokens=1))
    assert answer.author == "big"
    await chain.close()
    check_books(chain.trace)


async def test_drafts_that_are_under_way_together_all_find_out() -> None:
    chain = chain_of(mortal_pair("abcdef", "xyz"))
    found = await asyncio.gather(*(chain.draft("small", max_tokens=3) for _ in range(4)), chain.ask("small", "well?"))
    assert [draft.author for draft in found[:4]] == ["big"] * 4
    assert found[4].text == "abcdef"
    assert len(degraded(chain.trace)) == 1
    assert kinds(chain.trace).count("Cancelled") == 5


async def test_a_draft_whose_ground_is_gone_by_then_is_rejected_and_empty() -> None:
    chain = chain_of(Pair(ScriptedEngine("abcdef", name="big"), Mortal("xyz" * 9, name="small", lives=3, delay=0.01)))
    task = asyncio.create_task(chain.draft("small"))
    await asyncio.sleep(0)
    await chain.write("big", max_tokens=2)
    draft = await task
    assert (draft.state, draft.text) == ("rejected", "")
    await chain.close()
    check_books(chain.trace)


async def test_scores_and_questions_come_from_the_survivor() -> None:
    pair = Pair(Mortal("abc", name="big", lives=-1), ScriptedEngine("yes", name="small", width=2, scores=lambda prefix, text: -0.5))
    chain = chain_of(pair, degrade="small")
    drafts = await chain.draft("small", 2)
    assert await chain.score("big", drafts) == [[-0.5] * 2] * 2
    assert drafts[0].scores == {"big": [-0.5] * 2}
    assert (await chain.ask("big", "why?", after=drafts[0])).text == "yes"
    assert chain.reply_room("big", Question("free", "why?")) > 0
    assert chain.trace.usage()["small"].scored_tokens == 4
    await chain.prefill("big")
    assert "Prefilled" not in kinds(chain.trace)


async def test_scores_and_replies_about_drafts_that_were_decided_on_are_empty() -> None:
    chain = chain_of(Pair(Mortal("abc", name="big", lives=-1), ScriptedEngine("yes", name="small")), degrade="small")
    drafts = await chain.draft("small", 2)
    work = [asyncio.create_task(chain.score("big", drafts)), asyncio.create_task(chain.ask("big", "why?", after=drafts[0]))]
    await asyncio.sleep(0)
    chain.reject(drafts)
    scores, reply = await asyncio.gather(*work)
    assert (scores, reply.finish) == ([[], []], "cut")


async def test_warming_a_dead_server_loses_it() -> None:
    chain = chain_of(mortal_pair("abc", "xyz"))
    await chain.prefill("small")
    assert kinds(chain.trace) == ["Cancelled", "Degraded"]


# ---- what is a death, and who survives ------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [EngineUnreachableError, EngineTimeoutError, EngineServerError])
async def test_these_are_deaths(error: type[EngineError]) -> None:
    result = await asolve("6*7?", "small_only", pair=mortal_pair("42</think>42", error=error), degrade="big")
    assert (result.degraded, result.text, result.finish_reason) == ("small", "42", "stop")


@pytest.mark.parametrize("error", [EngineError, EngineRefusedError, EngineBusyError])
async def test_these_are_none(error: type[EngineError]) -> None:
    with pytest.raises(error) as raised:
        await asolve("6*7?", "small_only", pair=mortal_pair("42", error=error), degrade="big")
    assert raised.value.trace
    assert not degraded(raised.value.trace)


@pytest.mark.parametrize("degrade", ["fail", "small"])
async def test_the_others_death_is_an_error_unless_asked_for(degrade: Any) -> None:
    pair, listener = mortal_pair("42", "so it is", lives=3), Recorded()
    with pytest.raises(EngineUnreachableError, match="nothing listens") as raised:
        await asolve("6*7?", "small_only", pair=pair, degrade=degrade, listener=listener)
    assert raised.value.trace
    (cancelled,) = (event for event in raised.value.trace if isinstance(event, Cancelled))
    assert cancelled.proposal
    assert (cancelled.proposal.text, cancelled.proposal.completion.finish, cancelled.lost) == ("so ", "cut", True)
    assert raised.value.trace.usage()["small"].discarded_tokens == 3
    check_books(raised.value.trace, pair)


async def test_a_survivor_that_dies_too_is_an_error() -> None:
    pair = Pair(Mortal("abc", name="big", lives=1), Mortal("xyz", name="small"))
    with pytest.raises(EngineUnreachableError) as raised:
        await asolve("6*7?", "random_switch", pair=pair, degrade="big")
    assert raised.value.trace
    assert len(degraded(raised.value.trace)) <= 1


async def test_a_judge_has_no_survivor() -> None:
    async def judged(chain: Chain) -> None:
        await chain.ask("judge", "is it?")

    pair = Pair(ScriptedEngine("a"), ScriptedEngine("b"), Mortal("c"))
    with pytest.raises(EngineUnreachableError):
        await run(Problem.of("6*7?", degrade="big"), Verbs(script=judged), pair)


async def test_a_survivor_that_lacks_what_the_method_needs_is_refused_before_the_first_token() -> None:
    pair = Pair(ScriptedEngine("a", name="big"), ScriptedEngine("b", name="small", abilities=frozenset({"continue", "ids"})))
    with pytest.raises(UnsupportedMethodError, match="degrade=small cannot continue without big: logprob_subselect needs logprobs of it"):
        await asolve("6*7?", "logprob_subselect", pair=pair, degrade="small")
    await asolve("6*7?", "logprob_subselect", pair=pair, degrade="big")


def test_what_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match="degrade must be one of fail, big, small, got 'large'"):
        Problem.of("6*7?", degrade="large")  # pyright: ignore[reportArgumentType]


async def test_beams_are_still_judged_when_small_stands_in_for_big() -> None:
    pair = Pair(Mortal(babble(1), name="big"), ScriptedEngine(babble(2), name="small"))
    result = await asolve("6*7?", "logprob_subselect", pair=pair, degrade="small", max_tokens=200, sgen=4, stok=3, ltok=3)
    judged = [event for event in result.trace if type(event).__name__ == "Drafted" and event.proposals[0].completion.logprobs]
    assert judged
    assert result.degraded == "big"


# ---- whatever the method --------------------------------------------------------------------------------------------

Policy = tuple[str, dict[str, Any], list[str]]


@settings(max_examples=examples(150))
@given(
    policies(), st.integers(0, 1 << 30), st.tuples(st.integers(1, 3), st.integers(1, 3)), st.integers(0, 60), st.booleans(), st.booleans()
)
def test_every_method_is_finished_by_the_survivor_and_replays(
    policy: Policy, salt: int, widths: tuple[int, int], lives: int, big_dies: bool, heard: bool
) -> None:
    name, params, wrappers = policy
    method = build(name, params, wrappers)
    engines = [ScriptedEngine(babble(salt + 1), width=widths[0]), Mortal(babble(salt), width=widths[1], lives=lives)]
    pair = Pair(*(reversed(engines) if big_dies else engines))
    problem = Problem.of("6*7?", max_tokens=200, seed=salt, degrade="small" if big_dies else "big")
    listener = Recorded() if heard else None

    async def both() -> tuple[Result, Trace, Trace]:
        result = await run(method.prepare(problem), method, pair, listener)
        replays = [Pair(*(ReplayEngine(result.trace, role, like) for role, like in pair.items())) for _ in range(2)]
        again = [await run(method.prepare(problem), method, replay, ear) for replay, ear in zip(replays, (None, Recorded()), strict=True)]
        return result, again[0].trace, again[1].trace

    result, quiet, loud = asyncio.run(both())
    check_result(result, problem, pair)
    mortal = engines[1]
    assert result.degraded == (("big" if big_dies else "small") if mortal.dead else None)
    assert Result.from_trace(result.trace).degraded == result.degraded
    assert quiet.timeless() == result.trace.timeless()
    assert loud.timeless() == result.trace.timeless()
    kept = "".join(span.text for span in Timeline(result.trace).spans if span.status == "kept" and span.phase == "thinking")
    assert kept == result.reasoning


# ---- what is shown --------------------------------------------------------------------------------------------------


async def test_the_picture_shows_who_was_lost_where() -> None:
    recorder = TraceRecorder()
    pair = mortal_pair("one two three</think>4", "one two three</think>4", lives=4)
    result = await asolve("6*7?", "small_only", pair=pair, degrade="big", listener=recorder)
    spans = [(span.author, span.status, span.text) for span in recorder.timeline.spans]
    assert spans == [
        ("big", "note", f"small is lost, big continues: {GONE}"),
        ("small", "kept", "one "),
        ("big", "kept", "two three"),
        ("big", "kept", "4"),
    ]
    assert recorder.timeline.spans == Timeline(result.trace).spans


async def test_text_of_a_call_that_was_cut_off_is_in_the_trace() -> None:
    """Ctrl-C in the middle of a write: what was on the screen is in the saved trace too."""
    pair, recorder = scripted_pair("six times seven " * 20, delay=0.01), TraceRecorder()
    task = asyncio.create_task(run(Problem.of("6*7?"), build("big_only"), pair, recorder))
    while pair["big"].produced < 12:  # noqa: ASYNC110 (a scripted engine has no events)
        await asyncio.sleep(0.005)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (cancelled,) = (event for event in recorder.trace if isinstance(event, Cancelled))
    assert cancelled.proposal
    assert cancelled.proposal.text.startswith("six times se")
    check_books(recorder.trace, pair)
    timeline = Timeline(recorder.trace)
    assert recorder.timeline.spans == timeline.spans
    assert timeline.spans[0].text == cancelled.proposal.text


async def test_a_call_is_not_begun_again_for_drafts_that_were_rejected() -> None:
    flight, begun = PendingCall([None]), list[int]()
    flight.cancel()

    async def call() -> int:
        begun.append(1)
        return 1

    assert await flight.run(call()) is None
    assert not begun
