"""Methods with a judge: `reward_guided`, `tilted_best`, `advantage`."""

from __future__ import annotations

from typing import Any

import pytest
from solving import authors, by, counts, reasons, solved, texts, thought_of

from speculative import Pair, Result, solve
from speculative.errors import UnsupportedMethodError, UsageError
from speculative.methods.registry import build
from speculative.testing import ScriptedEngine


def judge(**rewards: float) -> ScriptedEngine:
    """A reward model that rewards the last step by the text that it holds."""

    def reward(text: str) -> float:
        last = thought_of(text).rstrip().rpartition("\n\n")[2].replace(" ", "_")
        return next((value for name, value in rewards.items() if name in last), 0.9)

    return ScriptedEngine("", name="judge", rewards=reward)


def guided(method: str = "reward_guided", big: Any = None, small: Any = None, rewards: Any = None, **settings: Any) -> Result:
    return solved(method, big or by("big"), small or by("small"), judge=judge(**rewards or {}), **settings)


LOW = {"small_1": 0.1, "small_3": 0.69}


# ---- reward_guided --------------------------------------------------------------------------------------------------


def test_steps_with_a_low_reward_are_written_again_by_big() -> None:
    result = guided(rewards=LOW)
    assert texts(result) == ["s small 0.\n\n", "b big 1.\n\n", "s small 2.\n\n", "b big 3.\n\n", "s small 4.\n\n"]
    assert counts(result, "Rewarded", "judge") == 5
    assert reasons(result) == ["the score 0.1 is below 0.7", "the score 0.69 is below 0.7"]
    assert result.usage["judge"].prompt_tokens > 0
    assert authors(guided(rewards=LOW, threshold=0.5, first_big_steps=1)) == "bs"


@pytest.mark.parametrize("pipeline", ["accept", "both"])
def test_a_pipeline_accepts_the_same_text(pipeline: str) -> None:
    assert texts(guided(rewards=LOW, temperature=0, pipeline=pipeline)) == texts(guided(rewards=LOW, temperature=0))


def test_a_judge_is_needed() -> None:
    pair = Pair(ScriptedEngine("", name="big"), ScriptedEngine("", name="small"))
    with pytest.raises(UnsupportedMethodError, match="reward_guided needs an engine for the role judge; give one with --judge"):
        solve("?", "reward_guided", pair=pair)


# ---- tilted_best ----------------------------------------------------------------------------------------------------


def versions(role: str) -> Any:
    """Each completion writes the next version of the step that the chain is at, two steps long."""
    turn = iter(range(1 << 20))

    def script(seen: str, seed: int) -> str:
        thought = seen.rpartition("<think>\n")[2]
        if "</think>" in thought:
            return "42"
        return "</think>42" if thought.count("\n\n") >= 2 else f"{role} {'abcd'[next(turn) % 4]}.\n\nmore"

    return script


def tilted(rewards: Any, scores: Any = None, **settings: Any) -> Result:
    big = ScriptedEngine(versions("big"), name="big", scores=scores)
    return guided("tilted_best", big, versions("small"), rewards, **{"beta": 1000.0, **settings})


def test_the_version_with_the_best_reward_is_drawn() -> None:
    result = tilted({"small_c": 1.0, "small": 0.6})
    assert texts(result) == ["s small c.\n\nsmall c.\n\n"]
    assert (counts(result, "Scored", "big"), counts(result, "Rewarded")) == (2, 2)
    assert [len(event.proposals) for event in result.trace if type(event).__name__ == "Drafted"] == [4, 4, 4]


def test_a_version_that_big_finds_unlikely_loses_by_its_likelihood() -> None:
    result = tilted({"small_c": 1.0, "small_b": 0.99, "small": 0.6}, lambda _, text: -50.0 if "c" in text else -0.1)
    assert texts(result) == ["s small b.\n\nsmall b.\n\n"]


def test_below_the_least_big_drafts_as_many_versions() -> None:
    result = tilted({"small": 0.4, "big_d": 0.3, "big": 0.1})
    assert texts(result) == ["b big d.\n\nbig d.\n\n"]
    assert "is below 0.5" in reasons(result)[0]


def test_a_budget_that_is_used_up_by_bigs_versions_ends_the_chain() -> None:
    results = [tilted({"small": 0.4}, max_produced=most) for most in range(60, 160, 5)]
    assert {result.finish_reason for result in results} == {"length"}
    assert len({result.reasoning for result in results}) > 1


def test_a_small_beta_draws_by_chance_and_the_seed_decides() -> None:
    drawn = {tuple(texts(tilted({}, beta=0.001, least=-1e9, seed=seed))) for seed in range(8)}
    assert len(drawn) > 3
    assert texts(tilted({}, beta=0.001, least=-1e9, seed=1)) == texts(tilted({}, beta=0.001, least=-1e9, seed=1))


def test_versions_without_letters_are_not_judged() -> None:
    result = guided("tilted_best", small="---\n\nOne.\n\n</think>42")
    assert counts(result, "Rewarded") == 1


# ---- advantage ------------------------------------------------------------------------------------------------------


def test_the_router_gives_big_the_steps_with_an_advantage() -> None:
    result = guided("advantage", rewards={"small_1": 0.5, "small_3": 0.8, "small": 0.49})
    assert authors(result) == "sbsbs"
    assert reasons(result)[0] == "big's advantage 0.5 is at least 0.5"
    assert counts(result, "Rewarded") == 5


def test_the_oracle_lets_both_draft_and_keeps_the_better() -> None:
    result = guided("advantage", rewards={"small_1": 0.1, "small_3": 0.5, "small": 0.9}, mode="oracle", threshold=0.3)
    assert texts(result) == ["s small 0.\n\n", "b big 1.\n\n", "s small 2.\n\n", "b big 3.\n\n", "s small 4.\n\n"]
    assert counts(result, "Drafted", "big") == counts(result, "Drafted", "small") == 6
    assert counts(result, "Wrote") == 0


def test_the_oracle_takes_every_step_of_big_with_a_higher_reward() -> None:
    result = guided("advantage", rewards={"small_0": 0.5, "big_0": 0.9, "small_1": 0.7, "big_1": 0.7, "big": 0.1}, mode="oracle")
    assert authors(result) == "bs"
    assert reasons(result)[0] == "the reward of big's step is higher by 0.4"


def test_a_router_compares_a_probability() -> None:
    with pytest.raises(UsageError, match="threshold must be from 0 to 1 with mode=router, which compares a probability, got 7"):
        build("advantage", {"threshold": 7})


@pytest.mark.parametrize(("mode", "threshold"), [("router", 0.0), ("oracle", -5.0)])
def test_a_step_without_letters_has_no_advantage(mode: str, threshold: float) -> None:
    result = guided("advantage", small="---\n\nOne.\n\n</think>42", rewards={"": 1.0}, mode=mode, threshold=threshold)
    assert result.reasoning.startswith("---")
