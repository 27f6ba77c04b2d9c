"""The changes whose effect docs/planner.md predicts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from speculative.plan.clock import VirtualClock
from speculative.plan.layout import LAYOUTS
from speculative.plan.profile import load_profile
from speculative.plan.programs import Drawn

ROOT = Path(__file__).parents[2]


@pytest.fixture
def levers(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    import sys

    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    import levers

    yield levers
    sys.modules.pop("levers", None)


def test_the_page_has_a_row_for_each_change(levers: ModuleType) -> None:
    page = (ROOT / "docs" / "planner.md").read_text()
    table = page.partition(levers.BEGIN)[2].partition(levers.END)[0]
    assert [line.split(" | ")[0] for line in table.split("\n") if line.startswith("| ")][1:] == [f"| {name}" for name in levers.LEVERS]


@pytest.mark.parametrize(("acceptance", "judgements", "rewritten"), [(1.0, 2, 0), (0.0, 4, 200)])
def test_two_steps_share_a_call_unless_the_first_is_rejected(
    levers: ModuleType, acceptance: float, judgements: int, rewritten: int
) -> None:
    clock = VirtualClock(load_profile("h200-32b-1.5b"), LAYOUTS["c"])
    (chain,) = clock.run([levers.two_at_once(clock)(Drawn(length=200, acceptance=acceptance), 0)])
    assert chain.written["big"] == judgements + rewritten


def test_held_judgements_arrive_together(levers: ModuleType) -> None:
    clock = VirtualClock(load_profile("h200-32b-1.5b"), LAYOUTS["c"])
    chains = clock.run(levers.held("likelihood_verify", 0.5)(clock)(Drawn(length=50), seed) for seed in range(3))
    assert all(chain.seconds > 0.5 for chain in chains)


def test_waiting_judgements_go_first(levers: ModuleType) -> None:
    server = VirtualClock(load_profile("h200-32b-1.5b"), LAYOUTS["d"]).servers["big"][0]
    server.__class__ = levers.Ranked
    for label in ("write", "draft", "judge", "write", "judge"):
        call = levers.PlannedCall("big", 9000, 5, label=label)
        call.chain = call
        server.arrive(call, 0.0)
    assert [call.label for call in server._waiting if call.left < 0][:2] == ["judge", "judge"]
