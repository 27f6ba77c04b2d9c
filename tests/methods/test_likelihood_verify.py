"""Steps of small that big finds likely."""

from __future__ import annotations

from typing import Any

import pytest
from solving import authors, by, counts, reasons, solved, texts

from speculative import Result
from speculative.testing import ScriptedEngine


def doubting(*unlikely: str, script: Any = None, **settings: Any) -> ScriptedEngine:
    """A big model that finds the steps with these texts unlikely."""
    return ScriptedEngine(
        script or by("big"), name="big", scores=lambda _, text: -2.0 if any(one in text for one in unlikely) else -0.01, **settings
    )


def verified(big: ScriptedEngine, small: Any = None, **settings: Any) -> Result:
    return solved("likelihood_verify", big, small or by("small"), **settings)


def test_likely_steps_stay_and_the_others_are_written_again_by_big() -> None:
    result = verified(doubting("small 1", "small 3"))
    assert result.reasoning == "small 0.\n\nbig 1.\n\nsmall 2.\n\nbig 3.\n\nsmall 4.\n\n"
    assert (counts(result, "Scored"), counts(result, "Accepted"), counts(result, "Wrote", "big")) == (5, 4, 2)
    assert reasons(result) == ["the score -2 is below -0.1"] * 2
    judged = [event.judgement for event in result.trace if type(event).__name__ in ("Accepted", "Rejected") and event.judgement]
    assert [(one.score, one.threshold, one.role) for one in judged][:2] == [(pytest.approx(-0.01), -0.1, "big"), (-2.0, -0.1, "big")]
    assert result.usage["small"].discarded_tokens == 2 * len("small 1.\n\n")


@pytest.mark.parametrize(("threshold", "kept"), [(-2.0, "s"), (-0.01, "sbsbs"), (0.0, "bs"), (-1.0, "sbsbs")])
def test_the_threshold_is_the_least_that_a_step_needs(threshold: float, kept: str) -> None:
    assert authors(verified(doubting("small 1", "small 3"), threshold=threshold)) in (kept, kept.removesuffix("s"))


@pytest.mark.parametrize(("measure", "kept"), [("mean", "s"), ("min", "b")])
def test_the_measure_is_the_mean_or_the_least_likely_token(measure: str, kept: str) -> None:
    class Uneven(ScriptedEngine):
        async def score(self, *args: Any, **kwargs: Any) -> Any:
            found = await super().score(*args, **kwargs)
            for scores in found:
                scores[0] = -0.5
            return found

    result = verified(Uneven(by("big"), name="big", scores=lambda _, text: -0.01), threshold=-0.2, measure=measure)
    assert set(authors(result)) == {kept}


def test_big_writes_the_first_steps() -> None:
    assert texts(verified(doubting(), first_big_steps=2))[0] == "b big 0.\n\nbig 1.\n\n"


def test_a_step_without_letters_is_not_judged() -> None:
    script = "---\n\nOne.\n\n***\n\n</think>42"
    result = verified(doubting("-", "*"), script)
    assert result.reasoning == "---\n\nOne.\n\n***\n\n"
    assert counts(result, "Scored") == 1


def test_a_step_has_a_most_of_tokens() -> None:
    result = verified(doubting(), "a" * 40 + "</think>42", step_tokens=16)
    assert [len(event.proposals[0].text) for event in result.trace if type(event).__name__ == "Drafted"] == [16, 16, 8]


@pytest.mark.parametrize("pipeline", ["accept", "both"])
@pytest.mark.parametrize("unlikely", [[], ["small 0"], ["small 1", "small 3"], ["small 1", "small 2"], ["small"]])
@pytest.mark.parametrize("delays", [(0.0, 0.0), (0.001, 0.0), (0.0, 0.001)])
def test_a_pipeline_accepts_the_same_text_and_counts_its_waste(pipeline: str, unlikely: list[str], delays: tuple[float, float]) -> None:
    plain = verified(doubting(*unlikely), temperature=0)
    small = ScriptedEngine(by("small"), name="small", delay=delays[1])
    result = verified(doubting(*unlikely, delay=delays[0]), small, temperature=0, pipeline=pipeline)
    assert texts(result) == texts(plain)
    assert counts(result, "Drafted", "big") == 0 or pipeline == "both"


def test_with_both_big_has_its_step_ready() -> None:
    result = verified(doubting("small 1"), pipeline="both")
    assert (counts(result, "Wrote"), counts(result, "Drafted", "big"), counts(result, "Cancelled", "big")) == (0, 1, 4)


def test_a_step_that_does_not_fit_into_bigs_context_ends_the_thinking() -> None:
    big = ScriptedEngine(by("big"), name="big", context=90)
    result = verified(big, "x" * 99 + "\n\n" + "y" * 99, step_tokens=64)
    assert result.finish_reason == "context"
