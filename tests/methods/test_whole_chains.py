"""Methods that write whole chains: `cascade`."""

from __future__ import annotations

from typing import Any

import pytest
from solving import authors, counts, solved

from speculative import Result


def ballots(*answers: str) -> Any:
    """Whole chains with these answers, told apart by their thinking."""
    thoughts = iter(range(99))

    def script(seen: str, seed: int) -> str:
        thought = seen.rpartition("<think>\n")[2]
        return answers[int(thought.partition("\n")[0])] if "</think>" in thought else f"{next(thoughts)}</think>"

    return script


def cascaded(*answers: str, **settings: Any) -> Result:
    return solved("cascade", "big</think>42", ballots(*answers), samples=len(answers), **settings)


@pytest.mark.parametrize(
    ("answers", "agree", "kept"),
    [
        (("7", "7", "7"), 1.0, ("s", "7")),
        (("7", "8", "\\boxed{8}"), 0.6, ("s", "8")),
        (("7", "8", "8"), 0.7, ("b", "42")),
        (("7", "8", "9"), 0.6, ("b", "42")),
        (("7", "8", "9"), 0.3, ("s", "7")),
        (("", "", ""), 0.6, ("b", "42")),
        (("7",), 1.0, ("s", "7")),
    ],
    ids=["all", "most", "too-few", "none", "one-is-enough", "no-answer", "one"],
)
def test_big_is_asked_where_too_few_answers_agree(answers: tuple[str, ...], agree: float, kept: tuple[str, str]) -> None:
    result = cascaded(*answers, agree=agree)
    assert (authors(result), result.text) == kept
    assert (counts(result, "Became"), counts(result, "Child")) == (int(kept[0] == "s"), len(answers))
    assert result.usage["big"].requests == (2 if kept[0] == "b" else 0)
    if kept[0] == "b":
        assert result.usage["small"].kept_tokens == 0


def test_small_may_answer_what_big_thought() -> None:
    result = solved("cascade", "big</think>42", ballots("7", "8", "9"), answer_by="big")
    assert result.text == "42"
    assert {segment.author for segment in result.trace.segments()} == {"big"}


def test_half_of_what_may_be_produced_is_left_for_big() -> None:
    result = solved("cascade", "x" * 20 + "</think>42", lambda seen, seed: f"{seed}" * 99, max_produced=160)
    assert authors(result) == "b"
    assert result.usage["small"].produced_tokens <= 80
