"""Beams of both models, kept by how sure the big one is."""

from __future__ import annotations

from typing import Any

import pytest
from strategies import check_books, scripted_pair

from speculative import Result, solve
from speculative.engines.base import Completion, Decoding, Ids
from speculative.methods.logprob_subselect import FINISH_TOKENS
from speculative.testing import ScriptedEngine


class Sure(ScriptedEngine):
    """As sure of a continuation as the digit that its prefix last says."""

    def _completion(self, prefix: Ids, decoding: Decoding, seed: int) -> Completion:
        done = super()._completion(prefix, decoding, seed)
        digits = [character for character in self._tokenizer.show(prefix) if character.isdigit()]
        return Completion(
            done.ids, done.finish, done.end_id, tuple(-1 / (1 + int(digits[-1])) for _ in done.ids) if digits else done.logprobs
        )


def beams(*firsts: str, then: str = "....</think>42") -> Any:
    """A small model whose first drafts are these, one after the other; later it says `then`."""
    left = list(firsts)
    return lambda seen, seed: left.pop(0) if left else then


def solved(small: Any, big: Any = "bbbb", **settings: Any) -> tuple[Result, dict[str, Any]]:
    from speculative import Pair

    pair = Pair(Sure(big, name="big"), ScriptedEngine(small, name="small"))
    result = solve("?", "logprob_subselect", pair=pair, **{"stok": 2, "ltok": 2, "answer_instruction": "", **settings})
    check_books(result.trace, pair)
    return result, dict(pair)


def calls(engine: Any, verb: str = "complete") -> list[str]:
    return [seen.rpartition("<think>\n")[2] for kind, seen in engine.calls if kind == verb]


def test_the_best_beams_are_kept_and_both_models_text_stays() -> None:
    result, _ = solved(beams("a1", "a9", "a5", "a0"), lbound=0, sgen=4, max_iterations=1)
    assert result.reasoning.startswith("a9bb")
    assert result.reasoning == "a9bb...."


def test_every_iteration_is_two_calls_for_all_beams_at_once() -> None:
    result, _ = solved(beams("a1", "a9", "a5", "a0", then="a7"), lbound=0, sgen=4, max_iterations=2)
    drafted = [event for event in result.trace if type(event).__name__ == "Drafted"]
    assert [(event.call.role, len(event.proposals), event.call.requests) for event in drafted] == [
        ("small", 4, 1),
        ("big", 4, 1),
        ("small", 2, 1),
        ("big", 2, 1),
    ]


def test_beams_that_ended_are_not_extended() -> None:
    result, pair = solved(beams("1</think>", "a2", then="3</think>"), lbound=0, sgen=2, sdecay=2, max_iterations=1)
    assert calls(pair["big"])[0] == "a2"
    assert len([seen for seen in calls(pair["big"]) if seen.startswith("1")]) == 0
    assert result.reasoning.startswith("a2bb")


def test_more_than_two_thirds_that_ended_end_the_search() -> None:
    for ended, rounds in ((3, 1), (2, 3)):
        firsts = beams("a9", "a8", "a7", "a6", "a1", "a1", "a1", "a1", then="a0")
        result, _ = solved(firsts, big=["b</think>"] * ended + ["bb"] * 30 + ["42"], sgen=8, lbound=4, max_iterations=3)
        drafted = [event for event in result.trace if type(event).__name__ == "Drafted" and event.call.role == "small"]
        assert len(drafted) == rounds


def test_the_surest_beam_that_is_left_wins() -> None:
    result, _ = solved(beams("a1", "a9", "a5"), big=["b</think>", "b</think>", "bb", "42"], sgen=3, sdecay=2, lbound=3, max_iterations=9)
    assert (result.reasoning, result.text) == ("a9b", "42")
    rejected = [event for event in result.trace if type(event).__name__ == "Rejected"]
    assert len(rejected) == 1


def test_few_beams_are_drawn_twice_again_until_the_iterations_are_used_up() -> None:
    result, _ = solved(beams("a1", "a9", "a5", "a0", then="a7"), lbound=2, sgen=4, max_iterations=3)
    drafted = [len(event.proposals) for event in result.trace if type(event).__name__ == "Drafted" and event.call.role == "small"]
    assert drafted == [4, 4, 4]


def test_a_closed_beam_among_growing_ones_is_kept_as_it_is() -> None:
    small = beams("a9", "a5", "a4", "a3", then="c1")
    big = iter(["b</think>", "bb", "bb", "bb"])
    result, pair = solved(small, big=lambda seen, seed: next(big, "dd"), sgen=4, sdecay=2, lbound=2, max_iterations=2)
    assert "a9b" not in calls(pair["small"])
    assert result.reasoning.startswith("a9b")


def test_every_beam_may_end_before_big_sees_one() -> None:
    result, pair = solved("x</think>42", sgen=2, stok=9)
    assert result.reasoning == "x"
    assert calls(pair["big"]) == ["x\n</think>\n\n"]


def test_one_beam_is_no_search() -> None:
    result, pair = solved("so</think>", sgen=1, max_iterations=9)
    assert result.reasoning == "so"
    assert len(pair["big"].calls) == 1
    assert not any(type(event).__name__ == "Drafted" for event in result.trace)


def test_small_writes_on_for_a_while_only() -> None:
    result, _ = solved("x" * 9000, sgen=1, max_tokens=100_000)
    assert len(result.reasoning) == FINISH_TOKENS


@pytest.mark.parametrize("settings", [{"max_tokens": 8}, {"max_produced": 20}, {"max_tokens": 1}])
def test_a_budget_that_is_used_up_ends_the_search(settings: dict[str, int]) -> None:
    result, _ = solved(beams(then="a1"), sgen=4, **settings)
    assert result.finish_reason == "length"
    assert sum(cost.produced_tokens for cost in result.usage.values()) <= settings.get("max_produced", 99)


def test_big_must_give_logprobs() -> None:
    assert scripted_pair()["big"].abilities >= {"logprobs"}
