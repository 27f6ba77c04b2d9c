"""The data card agrees with the figures that were measured."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CARD = (ROOT / "docs" / "data-card.md").read_text(encoding="utf-8")


def percent(part: float) -> str:
    return f"{100 * part:.1f}"


def test_the_table_of_bars_is_that_of_the_shipped_files() -> None:
    sys.path.insert(0, str(ROOT))
    from training.tunnel.bars import table

    shipped = json.loads((ROOT / "training" / "tunnel" / "second" / "shipped.json").read_text(encoding="utf-8"))
    for line in table(shipped).splitlines():
        assert line in CARD.splitlines()
    sizes = [path.stat().st_size for path in (ROOT / "src" / "speculative" / "bundled").glob("*/model.safetensors")]
    assert round(sum(sizes) / 1e6, 1) == shipped["weights"]["all"]


FIGURES: dict[str, Any] = json.loads((ROOT / "training" / "tunnel" / "second" / "figures-0.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("role", ["small", "big"])
def test_the_rows_of_the_card_are_those_that_were_measured(role: str) -> None:
    column = ("small", "big").index(role)
    cells = {
        row[0]: row[1 + column] for line in CARD.splitlines() if len(row := [cell.strip() for cell in line.strip("|").split("|")]) == 3
    }
    found = FIGURES[role]
    assert cells["solved, %"] == percent(found["accuracy"])
    assert cells["solved by level 1 to 10, %"] == " ".join(f"{100 * part:.0f}" for part in found["level"].values())
    assert {name: cells[f"solved: {name}, %"] for name in found["family"]} == {
        name: percent(part) for name, part in found["family"].items()
    }
    assert cells["thinking, tokens: median, mean, most"] == " ".join(f"{found[f'tokens_{what}']:.0f}" for what in ("median", "mean", "max"))
    assert cells["`Score: ` after small's steps, one token: AUC"] == f"{FIGURES['judging'][role]['auc']:.3f}"
    after = FIGURES["correcting"][role]
    assert cells["`Check:` after a wrong step: word for word right, % (2)"] == f"{100 * after['check_right_after_wrong']:.1f}"
    assert cells["`Check:` after a right step: repeats it, %"] == percent(after["check_right_after_right"])
    assert cells["`Wait` unasked after a wrong step, %"] == percent(after["wait_after_wrong"])
    assert cells["right answer after a wrong step of small, %"] == percent(after["answer_right_after_wrong"])
    assert cells["answer when cut off, on all problems: what is known so far, %"] == percent(FIGURES["closing"][role])
