"""The commands of docs/statistics.md run, and its prices are those of the example."""

import tomllib
from pathlib import Path

import pytest
from documents import ROOT, blocks, shell


@pytest.mark.slow
def test_its_commands_run_with_its_prices(tmp_path: Path) -> None:
    (prices,) = blocks("docs/statistics.md", "toml")
    assert tomllib.loads(prices) == tomllib.loads((ROOT / "examples/prices.toml").read_text())
    (tmp_path / "prices.toml").write_text(prices)
    (commands,) = blocks("docs/statistics.md", "sh")
    first, second = (shell(command, tmp_path) for command in commands.splitlines())
    assert "against" in first
    assert "NVIDIA L4" in first
    assert "@4" in second
