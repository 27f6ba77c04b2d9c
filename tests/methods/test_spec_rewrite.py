"""Rounds of thinking, rewritten by the small model."""

from __future__ import annotations

from typing import Any

import pytest
from strategies import check_books, kept_by_author, kinds, scripted_pair

from speculative import Pair, Result, solve
from speculative.testing import ScriptedEngine

BIG = ["Long one.</think>", "Long two.</think>", "Long three.</think>", "\\boxed{42}"]
SMALL = ["One.<|im_end|>", "Two.<|im_end|>"]


def solved(big: Any = BIG, small: Any = SMALL, **settings: Any) -> tuple[Result, Pair]:
    pair = scripted_pair(big, small)
    result = solve("6*7?", "spec_rewrite", pair=pair, **settings)
    check_books(result.trace, pair)
    return result, pair


def asked(pair: Pair, role: str) -> list[str]:
    return [seen for _, seen in pair[role].calls]  # type: ignore[attr-defined]


def test_each_rounds_text_is_replaced_and_big_goes_on_from_there() -> None:
    result, pair = solved()
    assert result.reasoning == "One.\nWaitTwo.\nWaitLong three."
    assert result.text == "\\boxed{42}"
    assert asked(pair, "big")[1].endswith("<think>\nOne.\nWait")
    assert "Reasoning so far:\n\nLong two.\n\n" in asked(pair, "small")[1]
    assert kept_by_author(result.trace) == {"small": "One.Two.", "method": "\nWait\nWait", "big": "Long three.\\boxed{42}"}


def test_a_full_rewrite_replaces_everything_so_far() -> None:
    result, pair = solved(full_rewrite=True)
    assert result.reasoning == "Two.\nWaitLong three."
    assert "Reasoning so far:\n\nOne.\nWaitLong two.\n\n" in asked(pair, "small")[1]


def test_rewrites_are_drawn_in_one_call_and_the_longest_is_kept() -> None:
    result, pair = solved(small=["a<|im_end|>", "ccc<|im_end|>", "bb<|im_end|>"], thinking_n_ignore=1, drafting_n=3)
    assert result.reasoning == "ccc\nWaitLong two."
    assert result.usage["small"].requests == 1 == len(asked(pair, "small"))
    assert kinds(result.trace).count("Rejected") == 1


def test_without_rewrites_it_is_budget_forcing_and_without_rounds_it_is_big_alone() -> None:
    result, _ = solved(drafting_n=0)
    assert result.reasoning == "Long one.\nWaitLong two.\nWaitLong three."
    assert {role for role, cost in result.usage.items() if cost.requests} == {"big"}
    assert solved(thinking_n_ignore=0)[0].reasoning == "Long one."


def test_the_small_model_can_write_the_first_round() -> None:
    result, pair = solved(small=["Mine.</think>", "M.<|im_end|>", "O.<|im_end|>"], small_first=True)
    assert "Reasoning so far:\n\nMine.\n\n" in asked(pair, "small")[1]
    assert result.reasoning == "M.\nWaitO.\nWaitLong two."


@pytest.mark.parametrize("curious", [False, True])
def test_a_rewrite_can_be_asked_to_end_with_a_question(curious: bool) -> None:
    _, pair = solved(draft_propose_ignore_str=curious)
    assert ("question" in asked(pair, "small")[0]) == curious


@pytest.mark.parametrize(("tokens", "fillers"), [(0, 0), (99, 0), (100, 20), (299, 40)])
def test_bloat_stands_before_the_problem_in_hundreds_of_tokens(tokens: int, fillers: int) -> None:
    _, pair = solved(bloat_tokens=tokens)
    prompt = asked(pair, "big")[0]
    assert prompt.count("The problem comes later. ") == fillers
    assert "6*7?" in prompt.rpartition("later. ")[2]


def test_a_round_that_a_budget_ends_is_answered_with_what_there_is() -> None:
    result, _ = solved(["x" * 300, "42}"], max_tokens=256)
    assert (result.reasoning, result.finish_reason, result.answer) == ("x" * 224, "length", "42")


def test_a_rewrite_that_nothing_can_pay_for_leaves_the_thought_as_it_is() -> None:
    result, _ = solved(["x" * 41 + "</think>", "42}"], max_produced=48)
    assert result.reasoning.startswith("x" * 41)
    assert not result.usage["small"].requests
    assert result.usage["big"].produced_tokens <= 48


def test_a_thought_that_small_has_no_room_to_rewrite_is_kept() -> None:
    pair = Pair(ScriptedEngine(BIG, name="big"), ScriptedEngine(SMALL, name="small", context=330))
    result = solve("6*7?" * 40, "spec_rewrite", pair=pair, thinking_n_ignore=1)
    assert result.reasoning == "Long one.\nWaitLong two."
    assert not result.usage["small"].requests
