"""One model alone, and the wiring test."""

from __future__ import annotations

import pytest
from strategies import check_books, kept_by_author, kinds, scripted_pair

from speculative import Result, solve

SCRIPT = "Six sevens.</think>\\boxed{42}"


def solved(method: str, **settings: object) -> Result:
    pair = scripted_pair(SCRIPT, SCRIPT)
    result = solve("6*7?", method, pair=pair, **settings)
    check_books(result.trace, pair)
    return result


@pytest.mark.parametrize(
    ("method", "writer"), [("big_only", "big"), ("small_only", "small"), ("big_model_only", "big"), ("small_model_only", "small")]
)
def test_one_model_writes_everything_in_two_calls(method: str, writer: str) -> None:
    result = solved(method)
    assert (result.reasoning, result.answer) == ("Six sevens.", "42")
    assert {role for role, cost in result.usage.items() if cost.requests} == {writer}
    assert list(result.usage) == ["big", "small"]
    assert (result.usage[writer].requests, result.usage[writer].discarded_tokens) == (2, 0)


def test_the_other_model_can_answer() -> None:
    result = solved("small_only", answer_by="big")
    assert [(segment.author, segment.phase) for segment in result.trace.segments()] == [("small", "thinking"), ("big", "answer")]


@pytest.mark.parametrize("rounds", [1, 2])
def test_each_round_takes_the_end_back_and_costs_its_token(rounds: int) -> None:
    pair = scripted_pair([*["One.</think>", "Two.</think>", "Three.</think>"][: rounds + 1], "42"])
    result = solve("6*7?", "big_only", pair=pair, sequential_scale=rounds)
    assert result.reasoning == "\nWait".join(["One.", "Two.", "Three."][: rounds + 1])
    assert result.text == "42"
    assert result.usage["big"].discarded_tokens == rounds
    assert result.usage["big"].requests == rounds + 2
    prefixes = [seen.rpartition("<think>\n")[2] for _, seen in pair["big"].calls[:2]]  # type: ignore[attr-defined]
    assert prefixes == ["", "One.\nWait"]


def test_a_round_that_a_budget_ends_is_the_last() -> None:
    result = solve("6*7?", "big_only", pair=scripted_pair("endless " * 99), sequential_scale=5, max_tokens=80)
    assert kinds(result.trace).count("Wrote") == 1
    assert (result.finish_reason, result.reasoning.count("Wait")) == ("length", 0)


def test_placeholder_calls_both_and_keeps_the_big_ones_text() -> None:
    result = solve("6*7?", "placeholder", pair=scripted_pair("Big.</think>42", "Small.</think>43"))
    assert kept_by_author(result.trace) == {"big": "Big.42"}
    assert result.usage["small"].discarded_tokens == result.usage["small"].produced_tokens == 7
    assert kinds(result.trace) == ["Started", "Drafted", "Wrote", "Rejected", "Answered", "Ended"]


def test_placeholder_leaves_big_its_half_of_what_may_be_produced() -> None:
    result = solve("6*7?", "placeholder", pair=scripted_pair("Big is right.</think>42", "small " * 99), max_produced=80)
    assert result.reasoning == "Big is right."
    assert result.text == "42"
