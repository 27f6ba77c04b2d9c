"""A run tells which model was meant to do something and did nothing."""

from __future__ import annotations

import io
from typing import Any

import pytest
from msgspec import to_builtins
from rich.console import Console
from samples import sample

from speculative import Pair, Problem, solve
from speculative.evaluate.activity import idle_roles
from speculative.evaluate.problems import spread
from speculative.evaluate.runner import EvalCell, EvalRunner, MemoryStore
from speculative.evaluate.tasks import load, task
from speculative.methods.registry import build, names
from speculative.methods.spec import parse_method
from speculative.report.tables import comparison
from speculative.stats.summary import summarize
from speculative.testing import ScriptedEngine

SCRIPT = "First this.\n\nThen that.\n\n</think>\\boxed{7}"


@pytest.mark.parametrize(
    ("spec", "roles"),
    [
        ("big_only", {"big"}),
        ("small_only", {"small"}),
        ("vote*small_only", {"small"}),
        ("random_switch(big_share=0)", {"small"}),
        ("random_switch(big_share=1)", {"big"}),
        ("random_switch", {"big", "small"}),
        ("early_exit*likelihood_verify", {"big", "small"}),
        ("reward_guided", {"big", "small", "judge"}),
    ],
)
def test_a_method_names_the_roles_that_it_uses(spec: str, roles: set[str]) -> None:
    assert parse_method(spec).method.uses() == roles


def test_every_method_uses_a_role_of_the_pair() -> None:
    assert all(build(name).uses() & {"big", "small"} for name in names())


@pytest.mark.parametrize(
    ("method", "settings", "idle"),
    [
        ("advisor", {}, ("big",)),  # small never writes the tag
        ("handoff", {}, ("big",)),  # big answers, and does nothing else
        ("trigger", {"prime": 9}, ("small",)),
        ("random_switch", {"big_share": 0.0}, ()),
        ("likelihood_verify", {}, ()),  # big judges and writes nothing
        ("big_only", {}, ()),
        ("small_only", {}, ()),
    ],
)
def test_a_role_that_only_answers_is_idle(method: str, settings: dict[str, Any], idle: tuple[str, ...]) -> None:
    pair = Pair(ScriptedEngine(SCRIPT, name="big"), ScriptedEngine(SCRIPT, name="small"))
    result = solve("?", method, pair=pair, **settings)
    assert idle_roles(build(method, settings), result.trace) == idle


async def test_a_run_tells_it_in_its_summary_and_its_table() -> None:
    pair, store = Pair(ScriptedEngine(SCRIPT, name="big"), ScriptedEngine(SCRIPT, name="small")), MemoryStore()
    specs = ("handoff", "random_switch")
    cells = [EvalCell(task("stories"), parse_method(spec), spread(load(task("stories")), 3), Problem.of("x")) for spec in specs]
    await EvalRunner.on(pair, store, chains=2).run_cells(cells)
    rows = summarize(store.samples)
    assert [(row.label, row.idle_roles) for row in rows] == [("handoff", ["big"]), ("random_switch", [])]
    assert all(row.length > 5 for row in rows)
    console = Console(width=80, record=True, file=io.StringIO())
    for part in comparison([to_builtins(row) for row in rows]):
        console.print(part)
    told = " ".join(console.export_text().split())
    assert "WARNING: a model did nothing but answer: big in all 3 chains of handoff. These figures are not the method's." in told
    assert "length" in told


def test_a_role_that_did_something_in_one_chain_is_not_idle() -> None:
    one, other = sample("p1", idle_roles=("big", "small")), sample("p2", idle_roles=("small",))
    assert summarize([one, other])[0].idle_roles == ["small"]
    assert summarize([one, sample("p3")])[0].idle_roles == []
