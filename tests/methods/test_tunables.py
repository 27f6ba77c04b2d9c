"""The parameters that `speculative tune` chooses, and the words that `mentor` compares."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from solving import counts, solved

from speculative.methods.registry import build, names

FIXED = {
    "advisor",
    "auto",
    "big_only",
    "draft_verify",
    "handoff",
    "lead",
    "logprob_subselect",
    "offload",
    "placeholder",
    "random_switch",
    "relay",
    "small_only",
    "spec_rewrite",
    "cue_switch",
}
PAGE = Path(__file__).parents[2] / "docs" / "tuning.md"


def test_the_page_lists_the_methods_with_parameters_to_choose() -> None:
    tunable = {name for name in names() if build(name).tunables()}
    (line,) = re.findall(r"^Parameters are chosen for (.*?)\.$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert set(re.findall(r"`(\w+)`", line)) == tunable
    assert tunable | FIXED >= set(names())


@pytest.mark.parametrize("name", ["advantage", "cascade", "guide", "lookahead", "mentor", "takeover", "tilted_best"])
def test_these_can_be_tuned(name: str) -> None:
    assert all(tunable.big_if or tunable.values for tunable in build(name).tunables())
    assert build(name).tunables()


def test_equal_words_of_many_tokens_are_alike() -> None:
    whole = "1234567890 is it.</think>42"
    result = solved("mentor", whole, whole, share=1.0)
    assert counts(result, "Asked") == 0


@pytest.mark.parametrize("big", ["987 is it.</think>42", "12 is it.</think>42"])
def test_unlike_words_are_asked_about(big: str) -> None:
    result = solved("mentor", big, "1234567890 is it.</think>42", share=1.0, max_tokens=40)
    assert counts(result, "Asked") > 0
