"""Problems: their bounds, and the errors for values out of bounds."""

from __future__ import annotations

from math import inf, nan
from typing import Any

import pytest

from speculative import Message, Problem, Sampling, UsageError
from speculative.answers import extract_boxed


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"max_tokens": 0}, "max_tokens must be at least 1, got 0"),
        ({"max_tokens": 10.5}, "max_tokens must be an integer, got 10.5"),
        ({"max_produced": 0}, "max_produced must be at least 1, got 0"),
        ({"max_seconds": 0}, "max_seconds must be above 0, got 0"),
        ({"max_seconds": inf}, "max_seconds must be finite, got inf"),
        ({"max_seconds": "soon"}, "max_seconds must be a number, got 'soon'"),
        ({"seed": 1 << 80}, "seed must be at most .*, got"),
        ({"stop": ("a", "")}, "stop cannot hold an empty string"),
        ({"raw": True, "messages": (Message("user", "a"), Message("user", "b"))}, "a raw prompt must be one message, got 2"),
    ],
)
def test_a_value_out_of_range_names_its_field_and_bound(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        Problem(**{"messages": (Message("user", "6*7?"),), **settings})


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"temperature": -1}, "temperature must be at least 0, got -1"),
        ({"temperature": nan}, "temperature must be finite, got nan"),
        ({"temperature": 101}, "temperature must be at most 100, got 101"),
        ({"top_p": 0}, "top_p must be above 0, got 0"),
        ({"top_p": 1.5}, "top_p must be at most 1, got 1.5"),
        ({"top_k": -1}, "top_k must be at least 0, got -1"),
    ],
)
def test_sampling_out_of_range_names_its_field_and_bound(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        Sampling(**settings)


@pytest.mark.parametrize("text", ["", " \n\t"])
def test_an_empty_problem_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="the problem is empty; give its text"):
        Problem.of(text)
    with pytest.raises(UsageError, match="empty"):
        Problem(messages=())


def test_half_a_character_is_refused_and_its_place_named() -> None:
    with pytest.raises(UsageError, match="half a character at position 3"):
        Problem.of("6*7\ud83d?")


def test_lists_are_taken_as_well_as_tuples_and_one_stop_string_is_one() -> None:
    problem = Problem(messages=[Message("user", "6*7?")], stop=["a", "b"])  # type: ignore[arg-type]
    assert (problem.messages, problem.stop) == ((Message("user", "6*7?"),), ("a", "b"))
    assert Problem.of("6*7?", stop="END").stop == ("END",)


def test_the_answer_has_its_part_of_the_budget() -> None:
    assert [Problem.of("6*7?", max_tokens=n).reserve for n in (1, 80, 100_000)] == [0, 10, 1024]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("\\boxed{42}", "42"),
        ("\\boxed{1} then \\boxed{\\frac{1}{2}}.", "\\frac{1}{2}"),
        ("\\boxed{1} then \\boxed{2", None),
        ("\\boxed{ \\boxed{2} ", "2"),
        ("\\boxed{\\boxed{2", None),
        ("no box", None),
        ("\\boxed{}", ""),
    ],
)
def test_the_last_box_counts_if_it_is_complete(text: str, found: str | None) -> None:
    assert extract_boxed(text) == found


def test_a_thousand_open_boxes_are_read_quickly() -> None:
    assert extract_boxed("\\boxed{" * 100_000) is None
