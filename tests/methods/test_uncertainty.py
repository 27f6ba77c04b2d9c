"""Methods that look at how sure a model is of its tokens: `entropy_switch`, `stitch`, `confidence_route`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import log
from typing import Any

import pytest
from solving import authors, by, counts, numbered, reasons, solved, steps, texts

from speculative import Result
from speculative.methods.confidence_route import ConfidenceRoute
from speculative.testing import ScriptedEngine

UNSURE = {"x": log(0.5), "y": log(0.5)}


def unsure_at(*places: str, sure: float = -0.001) -> Callable[[str], Mapping[str, float]]:
    """Two other tokens are as likely as can be where the thinking ends in one of these texts; else none is."""
    return lambda seen: UNSURE if any(seen.endswith(place) for place in places) else {"x": log(1e-9)}


# ---- entropy_switch -------------------------------------------------------------------------------------------------

WHOLE = steps("One", "Two", "Three")


def switched(*places: str, **settings: Any) -> Result:
    small = ScriptedEngine(WHOLE, name="small", top=unsure_at(*places))
    return solved("entropy_switch", WHOLE, small, **{"threshold": 0.5, **settings})


@pytest.mark.parametrize("ahead", [True, False])
def test_big_writes_the_steps_whose_first_token_is_uncertain(ahead: bool) -> None:
    result = switched("One\n\n", ahead=ahead)
    assert texts(result) == ["s One\n\n", "b Two\n\n", "s Three\n\n"]
    assert reasons(result) == ["small was uncertain of the first token"]
    assert result.usage["small"].discarded_tokens == (len("Two\n\n") if ahead else 1)
    assert counts(result, "Wrote", "small") == (0 if ahead else 2)


def test_an_uncertain_token_within_a_step_is_smalls() -> None:
    assert authors(switched("On", "One\n\nT")) == "s"


@pytest.mark.parametrize(("threshold", "kept"), [(0.0, "b"), (1.0, "sbs"), (1.2, "s")])
def test_the_threshold_is_in_nats(threshold: float, kept: str) -> None:
    assert authors(switched("One\n\n", threshold=threshold)) == kept


# ---- stitch ---------------------------------------------------------------------------------------------------------


def stitched(small: Any, big: Any, whole: str = "abcdefgh</think>42", **settings: Any) -> Result:
    engines = (ScriptedEngine(whole, name=name, top=unsure_at(*places)) for name, places in (("big", big), ("small", small)))
    return solved("stitch", *engines, **settings)


def test_big_writes_from_smalls_uncertain_token_to_its_own_certain_one() -> None:
    result = stitched(["ab", "abcdef"], ["ab", "abc"])
    assert texts(result) == ["s ab", "b cde", "s f", "b g", "s h"]
    assert result.usage["small"].discarded_tokens == len("cdefgh.") + len("gh.")


@pytest.mark.parametrize("chunk", [1, 2, 32])
def test_the_text_does_not_depend_on_the_chunks(chunk: int) -> None:
    assert texts(stitched(["ab", "abcdef"], ["ab", "abc"], chunk=chunk, big_chunk=chunk)) == ["s ab", "b cde", "s f", "b g", "s h"]


def test_without_uncertainty_small_writes_and_without_certainty_big() -> None:
    assert authors(stitched([], [])) == "s"
    assert texts(stitched(["ab"], ["ab", "abc", "abcd", "abcde", "abcdef", "abcdefg", "abcdefgh"])) == ["s ab", "b cdefgh"]


def test_a_certain_token_that_is_a_part_of_a_character_is_ended() -> None:
    result = stitched(["a"], [], "a😀b</think>42", big_chunk=1)
    assert texts(result) == ["s a", "b 😀b"]  # the engine writes on until a character is whole


# ---- confidence_route -----------------------------------------------------------------------------------------------


def routed(*places: str, whole: str = WHOLE, **settings: Any) -> Result:
    small = ScriptedEngine(numbered("7 = 7", "8 = 8", "9 = 9", "1 = 1"), name="small", top=unsure_at(*places))
    mixture = {"low_mean": 0.3, "low_sd": 0.1, "high_mean": 0.9, "high_sd": 0.1}
    return solved("confidence_route", by("big"), small, **{**mixture, **settings})


def test_after_an_unconfident_step_big_writes_the_next() -> None:
    assert texts(routed("7 = 7\n\n", "8 ", "8 = ")) == ["s 7 = 7\n\n8 = 8\n\n", "b big 2.\n\n", "s 1 = 1\n\n"]
    assert authors(routed()) == "s"


@pytest.mark.parametrize(("tokens", "big"), [("math", True), ("all", False)])
def test_the_tokens_of_mathematics_count(tokens: str, big: bool) -> None:
    result = routed("\n", "<think>\n", " = ", "7 ", "8 ", "9 ", "1 ", tokens=tokens)
    assert ("b" in authors(result)) == big


def test_the_posterior_is_that_of_the_mixture() -> None:
    method = ConfidenceRoute.model_validate({"low_mean": 0.2, "low_sd": 0.1, "high_mean": 0.8, "high_sd": 0.1, "low_share": 0.5})
    assert method.posterior(0.5) == pytest.approx(0.5)
    assert method.posterior(0.2) > 0.999
    assert method.posterior(0.8) < 0.001
    assert method.model_copy(update={"low_share": 0.9}).posterior(0.5) == pytest.approx(0.9)
    assert method.model_copy(update={"low_sd": 1e-6, "high_sd": 1e-6}).posterior(0.4) in (0.0, 1.0)
