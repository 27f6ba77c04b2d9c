"""The data card agrees with `training/figures.json`."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CARD = (ROOT / "docs" / "data-card.md").read_text(encoding="utf-8")
FOUND: dict[str, Any] = json.loads((ROOT / "training" / "figures.json").read_text(encoding="utf-8"))
NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")


def percent(part: float) -> str:
    return f"{100 * part:.1f}"


def levels(role: str, figure: str, scale: int = 1) -> list[str]:
    return [f"{scale * value:.0f}" for value in FOUND[f"{role}_greedy"][figure].values()]


def both(name: str, figure: str, scale: float = 100, digits: int = 1) -> list[str]:
    """A figure of small, then of big."""
    return [f"{scale * FOUND[name.format(role)][figure]:.{digits}f}" for role in ("small", "big")]


SMALL, BIG, SEEN = FOUND["check_by_small"], FOUND["check_by_big"], FOUND["judge_by_probability"]
ROWS: dict[str, list[str]] = {
    "| accuracy |": both("{}_greedy", "accuracy"),
    "| accuracy by level": [*levels("small", "by_level", 100), *set(levels("big", "by_level", 100))],
    "| accuracy at temperature": [percent(FOUND["small_sampled"]["accuracy"])],
    "| tokens of thinking": [" ".join(levels(role, "tokens_by_level")) for role in ("small", "big")],
    "| chains in which": both("{}_greedy", "checks_of_its_own"),
    "| closing:": both("close_by_{}", "last_value_given"),
    "| rewriting": [
        percent(FOUND[f"rewrite_by_{role}"][f"{kept}_kept"]) for role in ("small", "big") for kept in ("last_value", "all_values")
    ],
    "| tokens of that rewrite": both("rewrite_by_{}", "tokens_ratio", digits=0),
    "| second pass": [percent(FOUND[f"wait_{role}_after_small"]["answer_right"]) for role in ("small", "big")],
    "On small's steps": [str(SEEN["wrong_steps"]), str(SEEN["right_steps"])],
    "| mean log-probability": [f"{SEEN[f'auc_by_{role}']:.3f}" for role in ("small", "big")],
    "| its median": [
        f"{SEEN[f'median_by_{role}'][which]:.{digits}f}" for role in ("small", "big") for which, digits in (("wrong", 3), ("right", 4))
    ],
    "| asked to `judge`": both("judge_by_{}", "auc", 1, 3),
    "| scored below 7": [
        percent(FOUND[f"judge_by_{role}"][f"{which}_below_7"]) for role in ("small", "big") for which in ("wrong", "right")
    ],
    "| tokens of that reply": both("judge_by_{}", "tokens", 1),
    "| asked to `check`": both("check_by_{}", "repaired"),
    "| the recomputed": [percent(found[f"{which}_changed"]) for found in (SMALL, BIG) for which in ("wrong", "right")],
    "| so a comparison": both("check_by_{}", "auc_by_comparison", 1, 3),
    "| going on after": both("check_by_{}", "answer_right_after_check"),
    "| unasked": [percent(found[f"uncued_check_after_{which}"]) for found in (SMALL, BIG) for which in ("wrong", "right")],
    "| going on without": both("check_by_{}", "answer_right_uncued"),
}


@pytest.mark.parametrize("begins", ROWS)
def test_a_row_of_the_card_is_what_was_measured(begins: str) -> None:
    (row,) = [line for line in CARD.splitlines() if line.startswith(begins)]
    figures = "".join(row.split("|")[2:]) if row.startswith("|") else row.partition("(")[2]
    assert [float(told) for told in NUMBER.findall(figures)] == [float(told) for told in " ".join(ROWS[begins]).split()]


def test_the_shipped_models_are_as_large_as_the_card_says() -> None:
    for role, told in (("small", "0.8 MB"), ("big", "12.1 MB")):
        size = (ROOT / "src" / "speculative" / "bundled" / role / "model.safetensors").stat().st_size
        assert f"{size / 1e6:.1f} MB" == told
        assert f"· {told}" in CARD


def test_the_table_of_bars_is_that_of_the_shipped_files() -> None:
    sys.path.insert(0, str(ROOT))
    from training.tunnel.bars import table

    shipped = json.loads((ROOT / "training" / "tunnel" / "second" / "shipped.json").read_text(encoding="utf-8"))
    for line in table(shipped).splitlines():
        assert line in CARD.splitlines()
    sizes = [path.stat().st_size for path in (ROOT / "src" / "speculative" / "bundled" / "tunnel").glob("*/model.safetensors")]
    assert round(sum(sizes) / 1e6, 1) == shipped["weights"]["all"]


HARDER: dict[str, Any] = json.loads((ROOT / "training" / "tunnel" / "second" / "figures-0.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("role", ["small", "big"])
def test_the_rows_of_the_harder_pair_are_those_that_were_measured(role: str) -> None:
    column = ("small", "big").index(role)
    cells = {
        row[0]: row[1 + column]
        for line in CARD.partition("## The harder pair")[2].splitlines()
        if len(row := [cell.strip() for cell in line.strip("|").split("|")]) == 3
    }
    found = HARDER[role]
    assert cells["solved, %"] == percent(found["accuracy"])
    assert cells["solved by level 1 to 10, %"] == " ".join(f"{100 * part:.0f}" for part in found["level"].values())
    assert {name: cells[f"solved: {name}, %"] for name in found["family"]} == {
        name: percent(part) for name, part in found["family"].items()
    }
    assert cells["thinking, tokens: median, mean, most"] == " ".join(f"{found[f'tokens_{what}']:.0f}" for what in ("median", "mean", "max"))
    assert cells["`Score: ` after small's steps, one token: AUC"] == f"{HARDER['judging'][role]['auc']:.3f}"
    after = HARDER["correcting"][role]
    assert cells["`Check:` after a wrong step: word for word right, % (2)"] == f"{100 * after['check_right_after_wrong']:.1f}"
    assert cells["`Check:` after a right step: repeats it, %"] == percent(after["check_right_after_right"])
    assert cells["`Wait` unasked after a wrong step, %"] == percent(after["wait_after_wrong"])
    assert cells["right answer after a wrong step of small, %"] == percent(after["answer_right_after_wrong"])
    assert cells["answer when cut off, on all problems: what is known so far, %"] == percent(HARDER["closing"][role])
