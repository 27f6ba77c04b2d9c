"""No method judges a step without letters and digits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from solving import authors, counts, solved, texts

from speculative import Result
from speculative.methods.registry import build, names
from speculative.testing import ScriptedEngine
from speculative.trace.events import Judgement

BARE = "---\n\n***\n\n</think>42"


def judged(result: Result) -> list[Judgement]:
    found = [getattr(event, "judgement", None) for event in result.trace.walk()]
    return [one for one in found if one is not None]


def alone(method: str, whole: str = BARE, **settings: Any) -> Result:
    """Small, big and a judge who all write the same."""
    judge = ScriptedEngine("", name="judge", rewards=lambda text: 0.0)
    big = ScriptedEngine(whole, name="big", scores=lambda _, text: -9.0, top=lambda seen: {"x": -1.0})
    small = ScriptedEngine(whole, name="small", top=lambda seen: {"x": -1.0})
    return solved(method, big, small, judge=judge, **settings)


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("advantage", {}),
        ("advantage", {"mode": "oracle"}),
        ("best_step", {}),
        ("best_step", {"by": "question"}),
        ("chunk_gate", {"chunk": 5, "percentile": 0.0, "calibration": "1"}),
        ("confidence_route", {"threshold": 0.0}),
        ("likelihood_verify", {}),
        ("likelihood_verify", {"pipeline": "both"}),
        ("lookahead", {"same": "big"}),
        ("lookahead", {"same": "judge"}),
        ("reward_guided", {}),
        ("step_verify", {}),
        ("step_verify", {"gate": "small"}),
        ("tilted_best", {}),
        ("trigger", {"prime": 0, "direction": "under", "rho": 1.0}),
        ("whole_draft", {}),
    ],
)
def test_a_chain_of_bare_steps_is_kept_and_not_judged(method: str, settings: dict[str, Any]) -> None:
    result = alone(method, **settings)
    assert result.reasoning == "---\n\n***\n\n"
    assert [counts(result, name) for name in ("Scored", "Rewarded", "Asked")] == [0, 0, 0]
    assert not judged(result)


def test_two_bare_steps_that_differ_are_not_asked_about() -> None:
    for same in ("big", "judge"):
        judge = ScriptedEngine("", name="judge", top=lambda seen: {"1": -0.01})
        big = ScriptedEngine("---\n\n</think>42", name="big", top=lambda seen: {"1": -0.01})
        result = solved("lookahead", big, "***\n\n</think>42", judge=judge, same=same)
        assert (authors(result), counts(result, "Asked")) == ("b", 0)


def drawing(*versions: str) -> Callable[[str, int], str]:
    turn = iter(range(1 << 20))

    def script(seen: str, seed: int) -> str:
        thought = seen.rpartition("<think>\n")[2]
        return "42" if "</think>" in thought else "</think>42" if thought else versions[next(turn) % len(versions)]

    return script


@pytest.mark.parametrize(("least", "kept"), [(0.1, "s One.\n\n"), (0.9, "b Two.\n\n")])
def test_of_several_versions_the_bare_ones_are_left_out(least: float, kept: str) -> None:
    judge = ScriptedEngine("", name="judge", rewards=lambda text: 0.5)
    big, small = (ScriptedEngine(drawing("---\n\n", step), name=name) for name, step in (("big", "Two.\n\n"), ("small", "One.\n\n")))
    result = solved("tilted_best", big, small, judge=judge, least=least, versions=2)
    assert texts(result) == [kept]


def test_bare_versions_of_big_are_taken_without_a_reward() -> None:
    judge = ScriptedEngine("", name="judge", rewards=lambda text: 0.5)
    result = solved("tilted_best", drawing("---\n\n"), drawing("One.\n\n"), judge=judge, least=0.9)
    assert (texts(result), counts(result, "Rewarded")) == (["b ---\n\n"], 1)


def test_a_bare_first_step_does_not_end_the_hints() -> None:
    big = ScriptedEngine(lambda seen, seed: "Think.", name="big")
    result = solved("guide", big, BARE, levels=2)
    assert (counts(result, "Asked"), counts(result, "Rejected")) == (2, 1)


@pytest.mark.parametrize(("method", "event"), [("trigger", "Wrote"), ("advisor", "Asked")])
def test_a_bare_step_between_hesitant_ones_neither_hesitates_nor_decides(method: str, event: str) -> None:
    settings = {"prime": 0, "rho": 1.0} if method == "trigger" else {"trigger": "hesitation", "max_calls": 1}
    whole = "Wait.\n\n---\n\nHmm.\n\nSo.\n\n</think>42"
    result = alone(method, whole, hesitate=2, **settings)
    assert counts(result, event, "big") == 1
    assert counts(alone(method, whole.replace("Hmm", "Yes"), hesitate=2, **settings), event, "big") == 0


@pytest.mark.parametrize(
    ("method", "settings", "measure"),
    [
        ("chunk_gate", {"chunk": 5}, "perplexity of the chunk"),
        ("confidence_route", {}, "confidence in the tokens"),
        ("entropy_switch", {}, "entropy of the first token (nats)"),
        ("likelihood_verify", {}, "mean log-probability of a token (nats)"),
        ("likelihood_verify", {"measure": "min"}, "lowest log-probability of a token (nats)"),
        ("policy", {}, "mean log-probability of a token (nats)"),
        ("reward_guided", {}, "reward"),
        ("trigger", {"prime": 0}, "share of sure tokens"),
    ],
)
def test_a_judgement_tells_its_measure(method: str, settings: dict[str, Any], measure: str) -> None:
    found = judged(alone(method, "One.\n\nTwo.\n\n</think>42", **settings))
    assert found
    assert {one.measure for one in found} == {measure}


def test_the_methods_that_judge_are_the_ones_above() -> None:
    """A new method that judges steps belongs into this file."""
    exempt = {"policy", "stitch", "entropy_switch", "draft_verify", "logprob_subselect", "mentor", "guide"}  # policy: by `verify_steps`
    judging = {
        name for name in names() if any({"score", "reward", "choices"} & needs for needs in build(name).required_abilities().values())
    }
    covered = {mark for mark, _ in test_a_chain_of_bare_steps_is_kept_and_not_judged.pytestmark[0].args[1]}  # type: ignore[attr-defined]
    assert judging - exempt <= covered
