"""Chunks of small, and big's after the surprising ones."""

from __future__ import annotations

from typing import Any

import pytest
from solving import authors, counts, solved, texts

from speculative import Result, UsageError
from speculative.methods.registry import build
from speculative.testing import ScriptedEngine

WHOLE = "aaaabbbbccccdddd</think>42"


def gated(whole: str = WHOLE, surprising: str = "bd", **settings: Any) -> Result:
    big = ScriptedEngine(whole, name="big", scores=lambda _, text: -2.0 if text[:1] in surprising else -0.1)
    result = solved("chunk_gate", big, whole, **{"chunk": 4, **settings})
    assert all(cost.discarded_tokens == 0 for cost in result.usage.values())
    return result


def test_every_chunk_stays_and_big_adds_one_after_a_surprising_one() -> None:
    result = gated(calibration="1.05; 2; 3")
    assert texts(result) == ["s aaaabbbb", "b cccc", "s dddd"]
    assert counts(result, "Scored") == 3
    assert counts(result, "Rejected") == 0


@pytest.mark.parametrize(
    ("percentile", "calibration", "kept"),
    [(0.6, "8; 9", "s"), (0.0, "8; 9", "sbsb"), (0.5, "1; 9", "sbsb"), (1.0, "1; 1.05", "sbsb"), (0.6, "1; 9", "s"), (0.4, "1; 9; 9", "s")],
)
def test_the_percentile_is_the_share_of_lower_perplexities(percentile: float, calibration: str, kept: str) -> None:
    assert authors(gated(surprising="", percentile=percentile, calibration=calibration)) == kept


def test_without_calibration_a_chunk_is_held_against_those_before_it() -> None:
    assert texts(gated(surprising="b")) == ["s aaaabbbb", "b cccc", "s dddd"]
    assert authors(gated(surprising="a")) == "s"


def test_after_its_turns_small_writes_on_alone() -> None:
    result = gated(turns=1, percentile=0.0, calibration="1")
    assert texts(result) == ["s aaaa", "b bbbb", "s ccccdddd"]
    assert counts(result, "Scored") == 1


def test_a_box_in_the_thinking_ends_nothing() -> None:
    result = gated("a\\boxed{1} no, b</think>42", calibration="1")
    assert (result.reasoning, result.text) == ("a\\boxed{1} no, b", "42")


def test_a_perplexity_is_a_number_of_at_least_1() -> None:
    for calibration in ("0.5", "many"):
        with pytest.raises(UsageError, match=f"chunk_gate: calibration must hold perplexities of at least 1, got {calibration}"):
            build("chunk_gate", {"calibration": calibration})
