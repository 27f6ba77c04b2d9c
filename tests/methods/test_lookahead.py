"""Steps ahead of big's own."""

from __future__ import annotations

from typing import Any

import pytest
from solving import authors, counts, numbered, solved, steps, texts

from speculative import Result
from speculative.testing import ScriptedEngine

BIG = numbered("One.", "Two.", "Three.", "Four.", "Five.")


def ahead(small: Any, big: Any = BIG, **settings: Any) -> Result:
    return solved("lookahead", big, small, **settings)


@pytest.mark.parametrize("depth", [1, 2, 4, 9])
def test_drafts_that_big_would_have_written_stay(depth: int) -> None:
    result = ahead(BIG, depth=depth)
    assert texts(result) == ["s One.\n\nTwo.\n\nThree.\n\nFour.\n\nFive.\n\n"]
    assert result.usage["big"].kept_tokens == len("42") + 2  # and the two ends


@pytest.mark.parametrize("depth", [1, 2, 4])
@pytest.mark.parametrize("delays", [(0.0, 0.0), (0.002, 0.0), (0.0, 0.002)])
def test_where_they_differ_bigs_step_is_taken(depth: int, delays: tuple[float, float]) -> None:
    small = ScriptedEngine(numbered("One.", "2", "Three.", "Four.", "5"), name="small", delay=delays[0])
    result = ahead(small, ScriptedEngine(BIG, name="big", delay=delays[1]), depth=depth)
    assert texts(result) == ["s One.\n\n", "b Two.\n\n", "s Three.\n\nFour.\n\n", "b Five.\n\n"]
    assert counts(result, "Wrote") == 0


def test_white_space_and_case_say_nothing() -> None:
    assert authors(ahead(numbered("ONE .", "two.", "Three.", " Four.", "Five."))) == "s"


def test_a_draft_that_ends_the_thinking_is_another_step_than_one_that_does_not() -> None:
    result = ahead(steps("One.", then="Two.</think>"))
    assert result.reasoning == "One.\n\nTwo.\n\nThree.\n\nFour.\n\nFive.\n\n"


def test_small_runs_ahead_while_big_writes() -> None:
    result = ahead(BIG, ScriptedEngine(BIG, name="big", delay=0.001), depth=3)
    kinds = [(type(event).__name__, getattr(getattr(event, "call", None), "role", "")) for event in result.trace]
    assert kinds[1:4] == [("Drafted", "small")] * 3
    assert authors(result) == "s"


@pytest.mark.parametrize("small", ["", "</think>", "\n\n", "x" * 999])
def test_whatever_small_says_big_gets_through(small: str) -> None:
    result = ahead(lambda seen, seed: small)
    assert "Five." in result.reasoning
    assert authors(result) in ("b", "bs")


@pytest.mark.parametrize("asked", ["big", "judge"])
@pytest.mark.parametrize(("reply", "kept"), [("1", "s"), ("0", "b")])
def test_a_model_can_say_whether_two_steps_say_the_same(asked: str, reply: str, kept: str) -> None:
    def top(seen: str) -> dict[str, float]:
        return {reply: -0.01} if "Do they say the same" in seen else {}

    judge = ScriptedEngine("", name="judge", top=top) if asked == "judge" else None
    result = ahead(numbered("1.", "2.", "3.", "4.", "5."), ScriptedEngine(BIG, name="big", top=top), same=asked, judge=judge)
    assert authors(result) == kept
    assert counts(result, "Asked", asked) == 5
