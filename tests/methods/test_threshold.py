"""Scores at a threshold, and the reasons that show them."""

from __future__ import annotations

from itertools import count
from statistics import fmean

import pytest
from solving import authors, by, reasons, solved, steps, texts, thought_of

from speculative.methods.threshold import explain_below, reaches
from speculative.methods.tunable import Tunable
from speculative.testing import ScriptedEngine

EQUAL = [-0.1] * 12


def test_the_mean_of_equal_scores_reaches_them() -> None:
    assert fmean(EQUAL) < -0.1  # by rounding
    assert reaches(fmean(EQUAL), -0.1)
    assert not reaches(-0.100001, -0.1)
    assert not Tunable("threshold", "below").gives_big(fmean(EQUAL), -0.1)
    assert Tunable("threshold", "below").gives_big(-0.100001, -0.1)


@pytest.mark.parametrize("method", ["likelihood_verify", "best_step", "whole_draft"])
def test_a_draft_exactly_at_the_threshold_stays(method: str) -> None:
    big = ScriptedEngine(by("big"), name="big", scores=lambda seen, text: -0.1)
    result = solved(method, big, steps("of 12 byte", "of 12 byte"), threshold=-0.1)
    assert authors(result) == "s"


def test_7_of_25_answers_are_a_share_of_28_hundredths() -> None:
    turn = count()

    def script(seen: str, seed: int) -> str:
        if "</think>" not in seen:
            return f"{next(turn)}</think>"
        number = int(thought_of(seen).split()[0])
        return "7" if number < 7 else str(100 + number)

    small = ScriptedEngine(script, name="small")
    result = solved("cascade", "b</think>42", small, samples=25, agree=0.28)
    assert result.text == "7"


@pytest.mark.parametrize(
    ("score", "threshold", "told"),
    [
        (0.1, 0.7, "the score 0.1 is below 0.7"),
        (4, 99, "the score 4 is below 99"),
        (-0.10004, -0.1, "the score -0.10004 is below -0.1"),
        (6.9999, 7, "the score 6.9999 is below 7"),
        (-1e-05, 0.0, "the score -1e-05 is below 0"),
    ],
)
def test_a_reason_shows_the_difference(score: float, threshold: float, told: str) -> None:
    assert explain_below("score", score, threshold) == told


def test_the_reason_of_a_step_just_below_its_threshold() -> None:
    big = ScriptedEngine(by("big"), name="big", scores=lambda seen, text: -0.10004 if "1" in text else 0.0)
    result = solved("likelihood_verify", big, by("small"), threshold=-0.1)
    assert reasons(result) == ["the score -0.10004 is below -0.1"]
    assert texts(result)[1] == "b big 1.\n\n"
