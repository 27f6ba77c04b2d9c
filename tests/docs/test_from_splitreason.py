"""The right-hand column of docs/from-splitreason.md runs."""

import re
from pathlib import Path

import pytest
from documents import ROOT, shell

ROWS = [
    line for line in (ROOT / "docs/from-splitreason.md").read_text().splitlines() if line.startswith("| ") and "there | here" not in line
]
OURS = [row.rpartition(" | ")[2] for row in ROWS]
COMMANDS = sorted({command for cell in OURS for command in re.findall(r"`(speculative (?:ask|show|compare|problems|methods)[^`]*)`", cell)})
FILES = sorted({name for cell in OURS if "later" not in cell for name in re.findall(r"`((?:src|docs|scripts)/[^`]*)`", cell)})


@pytest.mark.slow
@pytest.mark.parametrize("command", [command for command in COMMANDS if " show " not in command])
def test_command_runs(command: str, tmp_path: Path) -> None:
    shell(command, tmp_path)


@pytest.mark.slow
def test_a_saved_trace_is_shown(tmp_path: Path) -> None:
    shell("speculative ask --trace chain.jsonl && speculative show chain.jsonl", tmp_path)


@pytest.mark.parametrize("name", FILES)
def test_file_is_there(name: str) -> None:
    assert (ROOT / name).exists()


def test_the_table_has_its_commands() -> None:
    assert len(COMMANDS) > 20
