"""A coin before every chunk or step."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import pytest
from strategies import scripted_pair

from speculative import Result, solve

LONG = "".join(f"Step {i}.\n\n" for i in range(60)) + "</think>42"


def solved(script: str = LONG, **settings: Any) -> Result:
    return solve("6*7?", "random_switch", pair=scripted_pair(script, script), **settings)


def writers(result: Result) -> list[tuple[str, str]]:
    return [(event.call.role, event.proposal.text) for event in result.trace if type(event).__name__ == "Wrote"]


def test_chunks_have_the_size_that_was_asked_for_and_no_more_is_counted() -> None:
    result = solved(switch_chunk=7)
    chunks = [text for _, text in writers(result)]
    assert {len(chunk) for chunk in chunks[:-1]} == {7}
    assert "".join(chunks) == result.reasoning == LONG.partition("</think>")[0]
    assert sum(cost.discarded_tokens for cost in result.usage.values()) == 0
    assert len(list(groupby(role for role, _ in writers(result)))) > 5


def test_steps_are_given_whole() -> None:
    assert {text[:5] for _, text in writers(solved(unit="step")) if text} == {"Step "}


@pytest.mark.parametrize(
    ("settings", "share"), [({"switch_ratio": 4}, 0.2), ({"big_share": 0.8}, 0.8), ({"big_share": 0}, 0), ({"big_share": 1}, 1), ({}, 0.5)]
)
def test_the_big_model_gets_its_share(settings: dict[str, float], share: float) -> None:
    result = solved("x" * 900 + "</think>", switch_chunk=3, **settings)
    roles = [role for role, _ in writers(result)]
    assert roles.count("big") / len(roles) == pytest.approx(share, abs=0.08)


def test_the_seed_decides_who_writes() -> None:
    assert writers(solved(seed=1)) == writers(solved(seed=1)) != writers(solved(seed=2))
