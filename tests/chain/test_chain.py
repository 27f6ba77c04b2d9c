"""The verbs that change the chain."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import pytest
from strategies import Recorded, chain_of, check_books, kept_by_author, kinds, started

from speculative import Pair, Problem
from speculative.chain.chain import Chain
from speculative.engines.base import Completion
from speculative.errors import ChainStateError
from speculative.prompts import Question
from speculative.testing import ScriptedEngine

STEPS = "One.\n\nTwo.\n\nThree.\n\n"


# ---- write ----------------------------------------------------------------------------------------------------------


async def test_write_goes_on_from_where_the_chain_stands_whoever_wrote_it() -> None:
    chain = chain_of("abcdef</think>", "abcdef</think>", widths=(1, 2))
    await chain.write("big", max_tokens=2)
    await chain.write("small", max_tokens=1)
    await chain.write("big")
    assert chain.text == "abcdef"
    assert [(s.author, s.text) for s in chain.trace.segments()] == [("big", "ab"), ("small", "cd"), ("big", "ef")]
    assert (chain.thinking, chain.finish) == (False, "stop")


async def test_write_stops_with_the_token_in_which_the_stop_string_completes() -> None:
    chain = chain_of("One.\n\nTwo", widths=(3, 1))
    draft = await chain.write("big", stop="\n\n")
    assert draft.text == "One.\n\n"
    chain = chain_of("Five\n\nTwo", widths=(3, 1))
    draft = await chain.write("big", stop="\n\n")
    assert draft.text == "Five\n\n"
    assert chain.steps.done == ["Five\n\n"]


async def test_after_the_end_nothing_is_written_and_no_engine_called() -> None:
    chain = chain_of("a</think>")
    await chain.write("big")
    calls = len(chain.engines["big"].calls)
    draft = await chain.write("big")
    assert (draft.text, draft.tokens, draft.state) == ("", 0, "accepted")
    assert len(chain.engines["big"].calls) == calls
    assert kinds(chain.trace) == ["Wrote"]


async def test_a_method_may_not_ask_for_less_than_one_token() -> None:
    chain = chain_of("abc")
    with pytest.raises(ChainStateError, match="write: max_tokens must be at least 1, got 0"):
        await chain.write("big", max_tokens=0)
    with pytest.raises(ChainStateError, match="draft: n must be at least 1, got 0"):
        await chain.draft("big", 0)
    with pytest.raises(ChainStateError, match="no engine has the role 'judge'; the pair has big, small"):
        await chain.write("judge")


async def test_an_unfinished_character_at_a_hand_over_is_rolled_back_and_counted() -> None:
    chain = chain_of("a😀b</think>", "a😀b</think>")
    first = await chain.write("big", max_tokens=3)
    assert (first.text, first.tokens) == ("a", 1)
    await chain.write("small")
    assert chain.text == "a😀b"
    usage = chain.trace.usage()
    assert (usage["big"].produced_tokens, usage["big"].kept_tokens, usage["big"].discarded_tokens) == (3, 1, 2)


@pytest.mark.parametrize("width", [1, 2, 3])
async def test_chunks_of_one_token_get_through_characters_of_four_bytes(width: int) -> None:
    text = "é日本😀👩‍👧\n\n😀😀"
    chain = chain_of(f"{text}</think>", widths=(width, 1))
    while chain.thinking:
        await chain.write("big", max_tokens=1)
    assert chain.text == text
    check_books(chain.trace, chain.engines)


@pytest.mark.parametrize("listener", [None, Recorded()])
async def test_an_engine_that_never_gets_a_character_whole_is_not_asked_for_ever(listener: Any) -> None:
    """It says `length` after the first byte, whatever length it is given."""

    class Stuck(ScriptedEngine):
        def _completion(self, *_: Any) -> Completion:
            return Completion((496,), "length")

    chain = started(Problem.of("6*7?"), Pair(Stuck("", name="big"), Stuck("", name="small")), listener=listener)
    draft = await chain.write("big")
    assert (draft.text, chain.finish) == ("", "length")
    assert (await chain.draft("big", 2))[0].text == ""
    assert len(chain.engines["big"].calls) == 2
    check_books(chain.trace, chain.engines)


async def test_a_stop_within_the_token_that_begins_a_character_gets_forward() -> None:
    chain = chain_of("\n\n😀😀b</think>", widths=(3, 1))
    while chain.thinking:
        await chain.write("big", stop="\n\n")
    assert chain.text == "\n\n😀😀b"


async def test_a_budget_without_room_for_a_whole_character_ends_the_thinking() -> None:
    chain = chain_of("😀" * 9, max_tokens=3)
    await chain.write("big")
    assert (chain.text, chain.finish, chain.tokens) == ("", "length", 0)
    assert chain.trace.usage()["big"].discarded_tokens == 3


async def test_bytes_that_are_no_character_are_kept_as_such_and_end() -> None:
    chain = chain_of("x")
    tokenizer = chain.engines["big"].tokenizer
    tokenizer.parse = lambda text: [0x1F0] * 9  # the first byte of a character, nine times
    await chain.write("big", max_tokens=6)
    assert chain.text == "�" * 5
    check_books(chain.trace, chain.engines)


# ---- watching -------------------------------------------------------------------------------------------------------


async def test_watchers_are_called_after_every_step_even_within_one_write() -> None:
    chain, seen = chain_of(f"{STEPS}Four</think>"), list[str]()

    async def watch(watched: Chain) -> None:
        seen.append(watched.text)

    chain.at_step(watch)
    draft = await chain.write("big")
    assert seen == ["One.\n\n", "One.\n\nTwo.\n\n", STEPS]
    assert (draft.text, draft.tokens, draft.finish) == (chain.text, chain.tokens, "end")
    assert draft.ids == tuple(chain.engines["big"].tokenizer.encode(f"{STEPS}Four"))


async def test_a_watcher_can_stop_a_write_at_a_step() -> None:
    chain = chain_of(STEPS)

    async def watch(watched: Chain) -> None:
        if len(watched.steps.done) == 2:
            watched.stop("enough")

    chain.at_step(watch)
    await chain.write("big")
    assert (chain.text, chain.finish) == ("One.\n\nTwo.\n\n", "stop")


@pytest.mark.parametrize(
    ("settings", "text"), [({"stop": "\n\n"}, "One.\n\n"), ({"max_tokens": 8}, "One.\n\nTw"), ({"stop": "wo"}, "One.\n\nTwo")]
)
async def test_a_watched_write_ends_where_it_would_unwatched(settings: dict[str, Any], text: str) -> None:
    async def watch(watched: Chain) -> None: ...

    for watchers in ([], [watch]):
        chain = chain_of(STEPS)
        for watcher in watchers:
            chain.at_step(watcher)
        assert (await chain.write("big", **settings)).text == text == chain.text


# ---- accept, reject -------------------------------------------------------------------------------------------------


async def test_accept_commits_a_draft_and_what_it_hangs_on_and_rejects_the_rest() -> None:
    chain = chain_of("abcdef", "abcdef", widths=(1, 3))
    first = await chain.draft("small", max_tokens=1)
    second, other = await chain.draft("big", 2, after=first, max_tokens=2)
    below = await chain.draft("small", after=second, max_tokens=1)
    await chain.accept(second)
    assert chain.text == "abcde"
    assert [draft.state for draft in (first, second, other, below)] == ["accepted", "accepted", "rejected", "rejected"]
    assert kinds(chain.trace)[-2:] == ["Accepted", "Rejected"]
    assert kept_by_author(chain.trace) == {"small": "abc", "big": "de"}
    check_books(chain.trace, chain.engines)


async def test_accept_can_keep_what_hangs_off_the_draft() -> None:
    chain = chain_of("abcdef")
    first = await chain.draft("big", max_tokens=1)
    sibling = await chain.draft("big", max_tokens=1)
    below = await chain.draft("big", after=first, max_tokens=1)
    lowest = await chain.draft("big", after=below, max_tokens=1)
    await chain.accept(first, keep_descendants=True)
    assert [draft.state for draft in (first, sibling, below, lowest)] == ["accepted", "rejected", "open", "open"]
    await chain.accept(lowest)
    assert chain.text == "abc"


async def test_a_draft_is_accepted_once_and_only_at_the_chains_end() -> None:
    chain = chain_of("abcdef")
    draft = await chain.draft("big", max_tokens=1)
    other = await chain.draft("big", max_tokens=1)
    await chain.accept(draft)
    for wrong, state in ((draft, "accepted"), (other, "rejected")):
        with pytest.raises(ChainStateError, match=f"accept: draft {wrong.id} must be open, got {state}; draft again"):
            await chain.accept(wrong)
    late = await chain.draft("big", max_tokens=1)
    await chain.write("big", max_tokens=1)
    with pytest.raises(ChainStateError, match="does not follow the chain's end"):
        await chain.accept(late)


async def test_reject_takes_along_what_hangs_off() -> None:
    chain = chain_of("abcdef")
    first, other = await chain.draft("big", 2, max_tokens=1)
    below = await chain.draft("big", after=first, max_tokens=1)
    chain.reject(first, "wrong")
    chain.reject([first, below], "twice says nothing")
    assert [draft.state for draft in (first, below, other)] == ["rejected", "rejected", "open"]
    assert [event.reason for event in chain.trace if type(event).__name__ == "Rejected"] == ["wrong"]
    with pytest.raises(ChainStateError, match="nothing can follow it"):
        await chain.draft("big", after=below)


# ---- insert, resume, rewind -----------------------------------------------------------------------------------------


async def test_insert_takes_an_end_back_and_the_thinking_goes_on() -> None:
    chain = chain_of(["ab</think>", "cd</think>"])
    await chain.write("big")
    assert chain.tokens == 3
    await chain.resume()
    assert (chain.thinking, chain.tokens) == (True, 2)
    await chain.write("big")
    assert chain.text == "ab\nWaitcd"
    assert chain.engines["big"].calls[-1][1].endswith("<think>\nab\nWait")
    usage = chain.trace.usage()["big"]
    assert (usage.produced_tokens, usage.kept_tokens, usage.discarded_tokens) == (6, 5, 1)


async def test_text_of_the_method_costs_nothing_and_completes_steps() -> None:
    chain = chain_of("")
    await chain.insert("Given.\n\n")
    await chain.insert("")
    assert (chain.tokens, chain.steps.done, chain.trace.usage()) == (0, ["Given.\n\n"], {})
    assert [(s.author, s.tokens) for s in chain.trace.segments()] == [("method", 0)]


async def test_resume_after_an_end_that_an_empty_draft_followed() -> None:
    chain = chain_of(["ab</think>", "c"])
    await chain.write("big")
    empty = await chain.draft("big")
    await chain.accept(empty)
    await chain.resume()
    assert chain.thinking
    assert chain.tokens == 2


async def test_rewind_takes_text_steps_and_endings_back() -> None:
    chain = chain_of(f"{STEPS}</think>", append_only=False)
    await chain.write("big", max_tokens=6)
    mark = chain.checkpoint()
    await chain.write("big")
    assert not chain.thinking
    await chain.rewind(mark)
    assert (chain.text, chain.steps.done, chain.thinking, chain.tokens) == ("One.\n\n", ["One.\n\n"], True, 6)
    await chain.write("big")
    assert chain.text == STEPS
    check_books(chain.trace, chain.engines)


async def test_rewinding_to_an_end_is_ended_and_to_a_spent_budget_is_spent() -> None:
    chain = chain_of("ab</think>", append_only=False)
    await chain.write("big")
    mark = chain.checkpoint()
    await chain.rewind(mark)
    assert chain.finish == "stop"
    chain = chain_of("a" * 99, max_tokens=16, append_only=False)
    await chain.write("big")
    await chain.rewind(chain.checkpoint())
    assert chain.finish == "length"


async def test_what_is_written_after_a_rewind_is_drawn_anew() -> None:
    chain = chain_of(lambda seen, seed: f"{seed}</think>", append_only=False)
    mark = chain.checkpoint()
    first = (await chain.write("big")).text
    await chain.rewind(mark)
    assert (await chain.write("big")).text != first


async def test_a_mark_in_text_that_was_taken_back_leads_nowhere() -> None:
    chain = chain_of("abcdef", append_only=False)
    start = chain.checkpoint()
    await chain.write("big", max_tokens=1)
    late = chain.checkpoint()
    await chain.rewind(start)
    for _ in range(2):
        await chain.write("big", max_tokens=1)
    with pytest.raises(ChainStateError, match="taken back already"):
        await chain.rewind(late)
    await chain.rewind(start)
    assert chain.text == ""


async def test_a_draft_of_before_hangs_off_the_end_again_after_a_rewind() -> None:
    chain = chain_of("abcdef", append_only=False)
    mark = chain.checkpoint()
    draft = await chain.draft("big", max_tokens=3)
    await chain.write("big", max_tokens=1)
    await chain.rewind(mark)
    await chain.accept(draft)
    assert chain.text == "abc"


# ---- answer ---------------------------------------------------------------------------------------------------------


async def test_answer_closes_the_thinking_and_each_family_writes_its_own_marker() -> None:
    chain = chain_of("abc</think>42<|im_end|>", "abc</think>42<|im_end|>", widths=(1, 2))
    await chain.write("small")
    draft = await chain.answer("big")
    assert (draft.text, chain.answer_text, chain.finish) == ("42", "42", "stop")
    assert chain.engines["big"].calls[-1][1].endswith("<think>\nabc\n</think>\n\n")
    assert chain.text == "abc"
    with pytest.raises(ChainStateError, match="answered already"):
        await chain.answer("big")
    with pytest.raises(ChainStateError, match="answered already"):
        await chain.insert("more")


async def test_stop_strings_of_the_problem_end_the_answer_and_never_the_thinking() -> None:
    chain = chain_of("a.b</think>c.d", stop=(".",))
    await chain.write("big")
    await chain.answer("big")
    assert (chain.text, chain.answer_text) == ("a.b", "c.")


async def test_a_budget_that_ended_the_thinking_cues_the_answer() -> None:
    chain = chain_of(["a" * 300, "42}"], max_tokens=256)
    await chain.write("big")
    await chain.answer("big")
    assert chain.answer_text == "The answer is \\boxed{42}"
    assert (chain.boxed, chain.finish) == ("42", "length")
    assert chain.trace.segments()[-2].author == "method"
    assert chain.trace.usage()["big"].kept_tokens == 224 + 3 + 1


@pytest.mark.parametrize("limit", [1, 2, 8, 9, 21, 22, 64, 170, 180, 256])
async def test_the_cue_of_an_answer_counts_towards_the_limit(limit: int) -> None:
    chain = chain_of(["a" * 300, "4" * 300], max_tokens=limit)
    await chain.write("big")
    await chain.answer("big")
    assert len(chain.text) + len(chain.answer_text) == limit  # each character is a token
    assert chain.answer_text.startswith("The answer is \\boxed{4") == (limit - len(chain.text) > len("The answer is \\boxed{"))
    assert chain.finish == "length"


@pytest.mark.parametrize("limit", [8, 21, 64, 256])
async def test_inserted_text_counts_towards_the_limit(limit: int) -> None:
    chain = chain_of(["a" * 5, "b" * 300, "4" * 300], max_tokens=limit)
    await chain.write("big", max_tokens=5)
    await chain.insert("-")
    while chain.thinking:
        await chain.write("big")
    await chain.answer("big")
    assert "-" in chain.text
    assert len(chain.text) + len(chain.answer_text) == limit
    assert chain.finish == "length"


@pytest.mark.parametrize("written", [0, 5])
async def test_an_insert_is_cut_where_the_limit_is_reached(written: int) -> None:
    chain = chain_of("a" * 5, max_tokens=64, answer_tokens=8)
    if written:
        await chain.write("big", max_tokens=written)
    await chain.insert("é" * 999)
    assert chain.text == "a" * written + "é" * ((56 - written) // 2)
    assert (chain.finish, chain.thinking) == ("length", False)
    await chain.insert("é")
    assert chain.text.count("é") == (56 - written) // 2
    check_books(chain.trace, chain.engines)


async def test_an_answer_can_hang_off_a_draft() -> None:
    chain = chain_of("abc</think>42", "abc</think>42", widths=(1, 3))
    thought = await chain.draft("small")
    one = await chain.answer("big", after=thought)
    two = await chain.answer("small", after=thought)
    assert not chain.answered
    assert chain.engines["big"].calls[-1][1].endswith("abc\n</think>\n\n")
    with pytest.raises(ChainStateError, match="is an answer already"):
        await chain.answer("big", after=one)
    with pytest.raises(ChainStateError, match="ended, nothing can follow"):
        await chain.draft("big", after=one)
    await chain.accept(one)
    assert (chain.text, chain.answer_text, chain.finish, two.state) == ("abc", "42", "stop", "rejected")
    check_books(chain.trace, chain.engines)


async def test_answering_after_the_draft_that_was_accepted_is_answering() -> None:
    chain = chain_of("abc</think>42")
    thought = await chain.draft("big")
    await chain.accept(thought)
    await chain.answer("big", after=thought)
    assert chain.answer_text == "42"


@pytest.mark.parametrize(("settings", "finish"), [({"max_tokens": 3}, "length"), ({"context": 150, "max_tokens": 8000}, "context")])
async def test_an_answer_without_room_is_empty_and_no_engine_is_called(settings: dict[str, Any], finish: str) -> None:
    chain = chain_of("a" * 999, **settings)
    thought = await chain.draft("big")
    hanging = await chain.answer("big", after=thought)
    await chain.accept(thought)
    if finish == "context":
        await chain.insert("b" * 100)
    answer = await chain.answer("big")
    assert (answer.text, hanging.text if finish == "length" else "", chain.finish) == ("", "", finish)
    assert not chain.answered
    check_books(chain.trace, chain.engines)


# ---- children -------------------------------------------------------------------------------------------------------


async def test_a_child_writes_its_own_chain_and_the_parent_can_take_it_over() -> None:
    def script(seen: str, seed: int) -> str:
        return f"{seed % 10}" if "</think>" in seen else f"{seed % 100}</think>"

    chain = chain_of(script, max_tokens=100, append_only=False)
    await chain.write("big")
    children = [chain.child(), chain.child()]
    for child in children:
        await child.write("big")
        await child.answer("big")
    assert children[0].text != children[1].text
    lost = await children[0].draft("big")
    await chain.become(children[1])
    assert (chain.text, chain.answer_text, chain.finish) == (children[1].text, children[1].answer_text, "stop")
    await chain.close()
    assert lost.state == "rejected"
    check_books(chain.trace, chain.engines)
    assert chain.produced == sum(cost.produced_tokens for cost in chain.trace.usage().values())


async def test_become_rejects_what_was_open_and_ends_what_was_under_way() -> None:
    chain = chain_of("ab" * 50, delay=0.001, append_only=False)
    child = chain.child()
    await child.write("big", max_tokens=2)
    before = await chain.draft("big", max_tokens=1)
    under_way = asyncio.create_task(chain.draft("big"))
    await asyncio.sleep(0.005)
    await chain.become(child)
    assert chain.engines["big"].running == 0
    assert [draft.state for draft in (before, await under_way)] == ["rejected", "rejected"]
    assert (chain.text, chain.thinking) == ("ab", False)
    check_books(chain.trace, chain.engines)


async def test_become_takes_only_a_child_that_is_at_rest() -> None:
    chain = chain_of("abc", delay=0.001, append_only=False)
    with pytest.raises(ChainStateError, match="must be a child of this chain"):
        await chain.become(chain_of("abc"))
    child = chain.child()
    writing = asyncio.create_task(child.write("big"))
    await asyncio.sleep(0)
    with pytest.raises(ChainStateError, match="write is still at work on the child"):
        await chain.become(child)
    await writing


async def test_children_draw_from_their_place_or_from_the_seed_they_are_given() -> None:
    chain = chain_of(lambda seen, seed: f"{seed}</think>")
    for child in (chain.child(seed=7), chain.child(seed=7)):
        await child.write("big")
        assert child.text == (await chain_of(lambda seen, seed: f"{seed}</think>", seed=7).write("big")).text


async def test_a_grandchild_is_nested_and_its_cost_is_everybodys() -> None:
    chain = chain_of("ab</think>")
    grandchild = chain.child().child()
    await grandchild.write("big")
    await chain.close()
    assert grandchild.path == (0, 0)
    assert kinds(chain.trace) == ["Child", "Ended"]
    assert [type(event).__name__ for event in chain.trace.walk()] == ["Child", "Child", "Wrote", "Ended", "Ended", "Ended"]
    assert chain.trace.usage()["big"].discarded_tokens == 3 == chain.produced


# ---- rules ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["write", "accept", "insert", "rewind", "become", "answer"])
async def test_overlapping_exclusive_verbs_raise(verb: str) -> None:
    chain = chain_of("abcdef", delay=0.001, append_only=False)
    mark, child = chain.checkpoint(), chain.child()
    draft = await chain.draft("big", max_tokens=1)
    verbs = {
        "write": lambda: chain.write("big"),
        "accept": lambda: chain.accept(draft),
        "insert": lambda: chain.insert("x"),
        "rewind": lambda: chain.rewind(mark),
        "become": lambda: chain.become(child),
        "answer": lambda: chain.answer("big"),
    }
    writing = asyncio.create_task(chain.write("small"))
    await asyncio.sleep(0)
    with pytest.raises(ChainStateError, match=f"{verb}: write is still at work"):
        await verbs[verb]()
    await asyncio.gather(chain.draft("big"), chain.ask("big", "why?"), writing)  # these may overlap


async def test_a_closed_chain_takes_nothing_more() -> None:
    chain = chain_of("abc")
    await chain.close()
    await chain.close()
    assert kinds(chain.trace) == ["Ended"]
    for verb in (lambda: chain.insert("x"), lambda: chain.ask("big", "why?")):
        with pytest.raises(ChainStateError, match="the chain is over"):
            await verb()
    assert (await chain.write("big")).text == ""


async def test_the_listener_hears_the_chains_events_and_all_text() -> None:
    listener = Recorded()
    chain = chain_of("a😀\n\nb</think>c", listener=listener)
    await chain.write("big")
    child = chain.child()
    await child.write("big")
    await chain.draft("big", 2, asked=Question("rewrite", "x"))
    await chain.answer("big")
    await chain.close()
    assert listener.trace == chain.trace
    assert listener.told == "a😀\n\nbc"
    assert {delta.chain for delta in listener if not hasattr(delta, "at")} == {(), (0,)}


async def test_a_listener_that_fails_fails_the_chain_and_not_the_engine() -> None:
    def broken(happened: object) -> None:
        raise BrokenPipeError("nobody reads")

    with pytest.raises(BrokenPipeError):
        await chain_of("abc", listener=broken).write("big")


async def test_a_chain_that_is_over_is_gone_with_the_last_who_holds_it() -> None:
    chain = chain_of("abc</think>42")
    draft = await chain.draft("big", max_tokens=1)
    await chain.accept(draft)
    await chain.write("big")
    await chain.answer("big")
    await chain.close()
    seen = weakref.ref(chain)
    gc.disable()
    try:
        del chain
        assert seen() is None
    finally:
        gc.enable()
