"""Budgets where several calls are under way."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from profiles import examples
from strategies import Recorded, chain_of, check_books, check_result, kept_by_author, scripted_pair

from speculative import STEP, Problem, UsageError
from speculative.methods.registry import build
from speculative.runner import run
from speculative.trace.events import Drafted

METHODS = Path(__file__).parents[2] / "examples" / "methods"
STEPS = "".join(f"Step {number} of the way.\n\n" for number in range(400))


def test_a_cap_does_not_turn_a_pipelined_check_into_big_writes_everything() -> None:
    texts = list[dict[str, str]]()
    for cap in (None, 3000):
        pair = scripted_pair(STEPS, STEPS, top=lambda seen: {"9": -0.1})
        problem = Problem.of("6*7?", max_tokens=1000, max_produced=cap)
        texts.append(kept_by_author(asyncio.run(run(problem, build(str(METHODS / "step_check.py")), pair)).trace))
    assert texts[0] == texts[1]
    assert len(texts[1]["small"]) > 800


async def test_a_step_in_flight_leaves_room_for_other_calls() -> None:
    chain = chain_of(STEPS, STEPS, max_tokens=2000, max_produced=1000, delay=0.0001)
    drafts = await asyncio.gather(*(chain.draft(role, stop=STEP) for role in ("big", "small", "big", "small")))
    assert [draft.text for draft in drafts] == [STEPS[: STEPS.index(STEP) + 2]] * 4


async def test_a_step_longer_than_its_reservation_goes_on() -> None:
    long = "word " * 40 + STEP + "more"
    for listener in (None, Recorded()):
        free, capped = chain_of(long, max_tokens=2000), chain_of(long, max_tokens=2000, max_produced=400, listener=listener)
        assert (await capped.draft("big", stop=STEP)).text == (await free.draft("big", stop=STEP)).text == long[: long.index(STEP) + 2]
        assert len(capped.engines["big"].calls) > 1
        check_books(capped.trace, capped.engines)
    assert listener
    assert listener.drafted == long[: long.index(STEP) + 2]


async def test_a_question_has_room_beside_a_draft_without_an_end() -> None:
    chain = chain_of("a" * 5000, "yes", max_tokens=8000, max_produced=2000, delay=0.0001)
    greedy = asyncio.create_task(chain.draft("big"))
    await asyncio.sleep(0.002)
    assert not greedy.done()
    assert (await chain.ask("small", "well?", max_tokens=3)).text == "yes"
    assert not greedy.done()
    greedy.cancel()
    await asyncio.gather(greedy, return_exceptions=True)


async def test_a_call_waits_for_room_that_another_one_holds_and_may_not_need() -> None:
    chain = chain_of(["a</think>", "b</think>", "c</think>"], "", max_tokens=8000, max_produced=100, delay=0.0001)
    drafts = await asyncio.gather(chain.draft("big"), chain.draft("big"), chain.draft("big"))
    assert sorted(draft.text for draft in drafts) == ["a", "b", "c"]
    assert not any(draft.no_room for draft in drafts)


async def test_a_write_waits_for_drafts_instead_of_ending_the_thinking() -> None:
    chain = chain_of("big " * 99, "s</think>", max_tokens=8000, max_produced=100, delay=0.0001)
    draft = asyncio.create_task(chain.draft("small"))
    await asyncio.sleep(0)
    await chain.write("big", max_tokens=8)
    assert (chain.text, chain.thinking) == ("big big ", True)
    await draft


async def test_no_room_is_a_value_of_its_own() -> None:
    chain = chain_of("a" * 99, "", max_tokens=16)
    await chain.write("big")
    draft = await chain.draft("small")
    assert (draft.no_room, draft.finish, draft.text) == (True, "no room", "")
    empty = await chain_of("</think>").draft("big")
    assert (empty.no_room, empty.text) == (False, "")
    (event,) = [event for event in chain.trace if isinstance(event, Drafted)]
    assert event.proposals[0].completion.finish == "no room"


async def test_the_cap_of_a_service_on_drafts_holds_for_every_method() -> None:
    chain = chain_of("abc", max_drafts=4)
    assert len(await chain.draft("big", 4, max_tokens=1)) == 4
    first = await chain.draft("big", 3, max_tokens=1)
    with pytest.raises(UsageError, match="draft: a call may ask for at most 4 drafts here, got 6"):
        await chain.draft("big", 2, after=first)
    with pytest.raises(UsageError, match="at most 4 drafts here, got 5"):
        await chain.child().draft("big", 5)
    with pytest.raises(UsageError, match="at most 2 drafts here, got 3"):
        await run(Problem.of("6*7?"), build("logprob_subselect", {"sgen": 3}), scripted_pair("a", "b"), max_drafts=2)


@settings(max_examples=examples(40))
@given(
    st.sampled_from(["step_check", "lookahead"]),
    st.integers(1, 400),
    st.integers(1, 300),
    st.sampled_from([0.0, 0.0001]),
    st.sampled_from(["", "x", "word " * 30, "</think>", STEPS]),
    st.sampled_from(["", "x\n\n", "</think>", STEPS[3:]]),
)
def test_no_cap_is_exceeded(name: str, produced: int, tokens: int, delay: float, big: Any, small: Any) -> None:
    problem = Problem.of("6*7?", max_tokens=tokens, max_produced=produced)
    pair = scripted_pair(big, small, delay=delay, top=lambda seen: {"9": -1.0, "1": -1.5})
    check_result(asyncio.run(run(problem, build(str(METHODS / f"{name}.py")), pair)), problem, pair)
