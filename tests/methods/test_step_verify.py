"""Steps of small that big scores."""

from __future__ import annotations

from collections.abc import Mapping
from math import log
from typing import Any

import pytest
from msgspec import structs
from solving import authors, by, counts, reasons, solved, texts, thought_of

from speculative import Result
from speculative.engines.base import Completion, Decoding, Ids
from speculative.testing import ScriptedEngine
from speculative.trace.events import Accepted, Rejected


def scoring(role: str, scores: Mapping[str, Mapping[str, float]], default: str = "9", **settings: Any) -> ScriptedEngine:
    """A model that gives the digits these probabilities where the last step holds the text."""

    def top(seen: str) -> Mapping[str, float]:
        if not seen.endswith("Score: \\boxed{"):
            return {}
        last = thought_of(seen).rstrip().rpartition("\n\n")[2]
        found = next((found for text, found in scores.items() if text in last), {default: 1.0})
        return {digit: log(probability) for digit, probability in found.items()}

    def script(seen: str, seed: int) -> str:
        if not seen.endswith("Score: \\boxed{"):
            return by(role)(seen, seed)
        found = top(seen)
        return f"{max(found, key=lambda digit: found[digit])}}}"

    return ScriptedEngine(script, name=role, top=top, **settings)


LOW = {"small 1": {"3": 0.9, "9": 0.1}, "small 3": {"6": 0.6, "9": 0.4}}


def verified(big: ScriptedEngine | None = None, small: ScriptedEngine | None = None, **settings: Any) -> Result:
    return solved("step_verify", big or scoring("big", LOW), small or scoring("small", {}), **settings)


def test_steps_with_a_low_score_are_written_again_by_big() -> None:
    result = verified()
    assert result.reasoning == "small 0.\n\nbig 1.\n\nsmall 2.\n\nbig 3.\n\nsmall 4.\n\n"
    assert (counts(result, "Asked", "big"), counts(result, "Asked", "small"), counts(result, "Wrote", "big")) == (5, 0, 2)
    assert reasons(result) == ["the score 3 is below 7", "the score 6 is below 7"]
    assert result.usage["big"].discarded_tokens == 5  # a token for each score


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({"threshold": 3}, "s"),
        ({"threshold": 4}, "sbs"),
        ({"threshold": 7}, "sbsbs"),
        ({"score": "expected", "threshold": 7}, "sbs"),
        ({"score": "expected", "threshold": 3.6}, "s"),
        ({"score": "expected", "threshold": 3.7}, "sbs"),
        ({"score": "expected", "threshold": 7.3}, "sbsbs"),
        ({"threshold": 9, "first_big_steps": 4}, "bs"),
    ],
)
def test_the_threshold_and_the_kind_of_score(settings: dict[str, Any], kept: str) -> None:
    assert authors(verified(**settings)) == kept


@pytest.mark.parametrize(
    ("settings", "role", "measure"),
    [
        ({}, "big", "reply from 0 to 9"),
        ({"score": "expected"}, "big", "mean of the replies from 0 to 9"),
        ({"gate": "small"}, "small", "probability of a reply at or above the threshold"),
    ],
)
def test_a_judgement_tells_its_measure(settings: dict[str, Any], role: str, measure: str) -> None:
    found = [event.judgement for event in verified(**settings).trace if isinstance(event, Accepted | Rejected) and event.judgement]
    assert {(one.role, one.measure) for one in found} == {(role, measure)}


@pytest.mark.parametrize(
    ("small", "asked", "kept"),
    [
        ({}, 0, "s"),  # small is sure of every step, so big is never asked
        ({"small 1": {"9": 0.5, "0": 0.5}}, 1, "sbs"),
        ({"small 1": {"0": 1.0}, "small 2": {"0": 1.0}}, 2, "sbs"),  # only big may reject
    ],
)
def test_with_the_gate_big_is_asked_where_small_is_not_sure(small: Any, asked: int, kept: str) -> None:
    result = verified(small=scoring("small", small), gate="small")
    assert (counts(result, "Asked", "big"), authors(result)) == (asked, kept)
    assert counts(result, "Asked", "small") == 5


@pytest.mark.parametrize("score", ["greedy", "expected"])
def test_a_score_is_read_out_of_a_reply_where_no_choices_can_be_had(score: str) -> None:
    abilities = frozenset({"continue", "ids", "logprobs", "score", "stream"})
    big = scoring("big", {"small 1": {"3": 1.0}}, abilities=abilities)
    result = verified(big, score=score)
    assert authors(result) == "sbs"
    assert counts(result, "Asked", "big") == 5


class Unsure(ScriptedEngine):
    """Gives every token of its reply the probability `sure`."""

    sure = 0.4

    def _completion(self, prefix: Ids, decoding: Decoding, seed: int) -> Completion:
        done = super()._completion(prefix, decoding, seed)
        return structs.replace(done, logprobs=tuple(log(self.sure) for _ in done.ids)) if decoding.logprobs else done


@pytest.mark.parametrize(
    ("settings", "sure", "kept"),
    [
        ({"threshold": 8}, 0.4, "s"),
        ({"threshold": 8}, 0.05, "s"),
        ({"score": "expected", "threshold": 5.6}, 0.4, "s"),
        ({"score": "expected", "threshold": 5.7}, 0.4, "b"),
        ({"score": "expected", "threshold": 8}, 1.0, "s"),
    ],
)
def test_a_reply_that_was_read_is_the_likeliest_score(settings: dict[str, Any], sure: float, kept: str) -> None:
    abilities = frozenset({"continue", "ids", "logprobs", "stream"})
    big = Unsure(lambda seen, seed: "8}" if seen.endswith("{") else by("big")(seen, seed), name="big", abilities=abilities)
    big.sure = sure
    assert authors(verified(big, **settings)) == kept


def test_a_reply_without_a_score_keeps_nothing() -> None:
    abilities = frozenset({"continue", "ids", "logprobs", "stream"})
    big = ScriptedEngine(lambda seen, seed: "no" if seen.endswith("{") else by("big")(seen, seed), name="big", abilities=abilities)
    result = verified(big)
    assert authors(result) == "b"
    assert set(reasons(result)) == {"it could not be judged"}


def test_a_step_without_letters_is_not_judged() -> None:
    small = ScriptedEngine("---\n\nOne.\n\n</think>42", name="small")
    assert counts(verified(small=small), "Asked") == 1


@pytest.mark.parametrize("pipeline", ["accept", "both"])
@pytest.mark.parametrize("delay", [0.0, 0.001])
@pytest.mark.parametrize("gate", ["none", "small"])
def test_a_pipeline_accepts_the_same_text(pipeline: str, delay: float, gate: str) -> None:
    low = {"small 0": {"0": 1.0}, **LOW}
    plain = verified(scoring("big", low), scoring("small", low), temperature=0, gate=gate)
    result = verified(scoring("big", low, delay=delay), scoring("small", low), temperature=0, gate=gate, pipeline=pipeline)
    assert texts(result) == texts(plain) == ["b big 0.\n\nbig 1.\n\n", "s small 2.\n\n", "b big 3.\n\n", "s small 4.\n\n"]
