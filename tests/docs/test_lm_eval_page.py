"""The commands of docs/lm-eval.md, and those of docs/from-splitreason.md that are lm-eval's."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest
from documents import ROOT, blocks, shell

from speculative.evaluate.lm_eval.arguments import NAMES

PAGE = (ROOT / "docs/lm-eval.md").read_text()
SEED = (ROOT / "docs/from-splitreason.md").read_text()
COMMANDS = blocks("docs/lm-eval.md", "sh") + re.findall(r"`(speculative lm-eval [^`]*)`", SEED)
TASKS = ROOT / "src/speculative/evaluate/lm_eval/task_files"


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(find_spec("lm_eval") is None, reason="needs the extra lm-eval")
@pytest.mark.parametrize("command", COMMANDS, ids=range(len(COMMANDS)))
def test_command_runs(command: str, tmp_path: Path) -> None:
    assert "exact_match" in shell(command, tmp_path, timeout=300)


def test_every_argument_is_named() -> None:
    assert all(f"`{name}" in PAGE or f"{name}`" in PAGE for name in NAMES if not name.startswith(("small_", "judge_")))


def test_every_task_has_its_file() -> None:
    endings = {"_maj8cov8", "_agg64", "_maj64_cov64"}
    files = {path.stem for path in TASKS.glob("*.yaml")}
    bases = {name for name in files if not any(name.endswith(ending) for ending in endings)}
    assert all(f"`{base}`" in PAGE for base in bases)
    assert files == {*bases} | {f"{base}_agg64" for base in bases} | {
        f"{base}_{'maj64_cov64' if base in ('openai_math', 'gpqa_diamond_openai') else 'maj8cov8'}" for base in bases
    }
