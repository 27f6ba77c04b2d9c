"""The commands of docs/report.md run."""

import json
from pathlib import Path

import pytest
from documents import blocks, shell


@pytest.mark.slow
def test_its_commands_run_one_after_the_other(tmp_path: Path) -> None:
    (commands,) = blocks("docs/report.md", "sh")
    shell(commands, tmp_path)
    assert (tmp_path / "run" / "report.html").stat().st_size > 50_000
    assert (tmp_path / "chain.html").exists()
    assert len(json.loads((tmp_path / "standings.json").read_text())) == 3
    assert list((tmp_path / "figures").glob("*.svg"))
