"""Holds the planner to runs that were measured on GPUs."""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


def load(path: Path) -> ModuleType:
    spec = spec_from_file_location(path.stem, path)
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def rows() -> list[tuple[str, str, str, int, float, float]]:
    return load(ROOT / "bench" / "gpu" / "planner.py").rows()


@pytest.mark.slow
def test_raw_loops_are_predicted_within_the_bars(rows: list[tuple[str, str, str, int, float, float]]) -> None:
    loops = [row for row in rows if row[0].startswith("loop")]
    assert len(loops) > 20
    for origin, method, layout, chains, measured, predicted in loops:
        bar = 0.15 if chains == 1 else 0.25
        assert abs(predicted / measured - 1) <= bar, (origin, method, layout, chains)


def test_the_page_shows_the_table_of_the_command(rows: list[tuple[str, str, str, int, float, float]]) -> None:
    table = load(ROOT / "bench" / "gpu" / "planner.py").table(rows)
    assert table in (ROOT / "docs" / "planner.md").read_text(encoding="utf-8")
