"""Every method on the pair that ships: each role that it is meant to use does something."""

from __future__ import annotations

from typing import Any

import pytest
from strategies import check_books

from speculative import Trace, solve
from speculative.evaluate.problems import problems
from speculative.runner import bundled_pair

METHODS: dict[str, dict[str, Any]] = {
    "auto": {"check": "score", "threshold": -3.0},
    "best_step": {},
    "cascade": {"samples": 2},
    "chunk_gate": {"chunk": 30},
    "confidence_route": {},
    "cue_switch": {},
    "draft_verify": {},
    "entropy_switch": {"threshold": 0.005},
    "guide": {"levels": 2},
    "lead": {},
    "likelihood_verify": {},
    "lookahead": {},
    "mentor": {"share": 1.0},
    "policy": {},
    "step_verify": {},
    "stitch": {},
    "takeover": {"begin_tokens": 20},
    "trigger": {"prime": 1, "direction": "under"},
    "whole_draft": {},
}
"""Methods with parameters that suit chains of a few steps."""

EASIEST = sorted(problems("tuning"), key=lambda one: (one.level, len(one.problem)))[:12]


def working(trace: Trace) -> set[str]:
    """The roles that wrote, scored or replied for the thinking."""
    events = [event for event in trace.walk() if hasattr(event, "call") and type(event).__name__ != "Answered"]
    return {event.call.role for event in events if event.call.produced_tokens or event.call.scored_tokens}


@pytest.mark.parametrize("name", sorted(METHODS))
def test_both_models_do_something_and_the_chain_is_answered(name: str) -> None:
    worked = set[str]()
    for number, problem in enumerate(EASIEST):
        result = solve(problem.problem, name, seed=number, max_tokens=600, **METHODS[name])
        check_books(result.trace)
        assert result.finish_reason == "stop"
        assert result.answer
        worked |= working(result.trace)
        if worked >= set(bundled_pair()):
            return
    assert worked == {"big", "small"}
