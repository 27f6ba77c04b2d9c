"""The example methods, by their paths."""

from __future__ import annotations

import asyncio
from math import log
from pathlib import Path
from typing import Any

import pytest
from easy import EASY
from profiles import quick_cases
from strategies import check_result, kept_by_author, scripted_pair

from speculative import Pair, Problem, Result
from speculative.engines.local import BundledEngine
from speculative.evaluate.problems import problems
from speculative.methods.registry import build
from speculative.runner import run
from speculative.testing import ScriptedEngine
from speculative.trace.events import Rejected

EXAMPLES = Path(__file__).parents[2] / "examples" / "methods"
STEPS = "One is 1.\n\nTwo is 3.\n\nThree is 3.\n\n</think>done"
RIGHT = STEPS.replace("Two is 3", "Two is 2")


def by_path(name: str, **params: Any) -> Any:
    return build(str(EXAMPLES / f"{name}.py"), params)


def ran(name: str, pair: Pair, **params: Any) -> Result:
    problem = Problem.of("6*7?", max_tokens=400)
    result = asyncio.run(run(problem, by_path(name, **params), pair))
    check_result(result, problem, pair)
    return result


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_an_example_is_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 25


def test_step_check_writes_the_steps_of_a_low_expected_score_again() -> None:
    def score(seen: str) -> dict[str, float]:
        wrong = seen.split("</think>")[0].rstrip().endswith("Two is 3.")
        return {"9": log(0.1), "2": log(0.9)} if wrong else {"9": log(0.8), "3": log(0.2)}

    pair = Pair(ScriptedEngine(RIGHT, name="big", top=score), ScriptedEngine(lambda seen, seed: small_after(seen), name="small"))
    result = ran("step_check", pair)
    assert result.reasoning == "One is 1.\n\nTwo is 2.\n\nThree is 3.\n\n"
    assert kept_by_author(result.trace)["small"] == "One is 1.\n\nThree is 3.\n\n"
    assert any(isinstance(event, Rejected) and event.reason == "its score is low" for event in result.trace)


def small_after(seen: str) -> str:
    """Small's script, whichever of both second steps stands before."""
    thought = seen.rpartition("<think>\n")[2]
    return STEPS[len(thought) :]


def test_lookahead_keeps_the_steps_that_bigs_own_confirm() -> None:
    pair = Pair(ScriptedEngine(RIGHT, name="big"), ScriptedEngine(lambda seen, seed: small_or_verdict(seen), name="small"))
    result = ran("lookahead", pair, depth=3)
    assert result.reasoning == "One is 1.\n\nTwo is 2.\n\nThree is 3.\n\n"
    kept = kept_by_author(result.trace)
    assert kept["small"] == "One is 1.\n\nThree is 3.\n\n"


def small_or_verdict(seen: str) -> str:
    if "Do both say the same?" not in seen:
        return small_after(seen)
    one, _, other = seen.rpartition("with 0.\n\n")[2].split("<|im_end|>")[0].partition("\n\n\n")
    return str(int(one.strip() == other.strip()))


def test_take_over_is_one_call_for_each_switch() -> None:
    text = "We add. Hmm, is that so? Yes.\n\nThen more. Wait, no.\n\nEnd.</think>done"
    pair = scripted_pair(text, text)
    result = ran("take_over", pair)
    assert result.reasoning == text.partition("</think>")[0]
    assert kept_by_author(result.trace)["big"].startswith(" is that so? Yes.\n\n")
    assert result.usage["small"].requests == 3
    assert result.usage["big"].requests == 3  # two switches and the answer


def test_take_over_sees_a_doubt_behind_a_long_text_and_none_within_a_word() -> None:
    text = "We await it. " * 20 + "Wait, no.\n\nEnd.</think>done"
    result = ran("take_over", scripted_pair(text, text), doubt=r"(?i)\bwait\W")
    assert kept_by_author(result.trace)["small"].startswith("We await it. " * 20 + "Wait,")
    assert result.usage["small"].requests == 2


def test_reward_steps_keep_what_the_judge_likes() -> None:
    judge = ScriptedEngine("", name="judge", rewards=lambda text: 0.1 if text.rstrip().endswith("Two is 3.") else 0.9)
    pair = Pair(ScriptedEngine(RIGHT, name="big"), ScriptedEngine(lambda seen, seed: small_after(seen), name="small"), judge)
    result = ran("reward_steps", pair)
    assert result.reasoning == "One is 1.\n\nTwo is 2.\n\nThree is 3.\n\n"
    assert result.usage["judge"].prompt_tokens > 0


@pytest.mark.parametrize("name", quick_cases(["step_check", "lookahead", "take_over"]))
def test_an_example_runs_on_the_bundled_pair(name: str) -> None:
    async def solved() -> Result:
        async with Pair(BundledEngine.open("big"), BundledEngine.open("small")) as pair:
            return await run(Problem.of(EASY, max_tokens=250, seed=2), by_path(name), pair)

    result = asyncio.run(solved())
    assert result.usage["small"].produced_tokens > 0
    assert result.reasoning


@pytest.mark.slow
def test_step_check_keeps_steps_of_both_models_of_the_bundled_pair() -> None:
    async def solved() -> Result:
        async with Pair.open() as engines:
            return await run(Problem.of(problems()[0].problem, max_tokens=600, seed=1), by_path("step_check"), engines)

    kept = kept_by_author(asyncio.run(solved()).trace)
    assert kept["small"]
