"""The commands of docs/evaluating.md run."""

import pytest
from documents import ROOT, blocks, shell

from speculative.cli.eval import file_settings
from speculative.evaluate.grid import read
from speculative.evaluate.tasks import TASKS
from speculative.methods.registry import names, registered


@pytest.mark.slow
def test_its_commands_run(tmp_path):
    for block in blocks("docs/evaluating.md", "sh"):
        shell(block, tmp_path)
    assert (tmp_path / "runs" / "grid" / "samples.jsonl").read_bytes().count(b"\n") == 40


def test_its_table_names_every_task():
    text = (ROOT / "docs/evaluating.md").read_text()
    assert all(f"`{name}`" in text and (task.dataset is None or f"`{task.dataset}`" in text) for name, task in TASKS.items())


def test_the_sweep_is_a_grid():
    cells = read(ROOT / "examples/seed.yaml", file_settings()).cells(ROOT / "examples")
    assert len(cells) == 24
    assert {cell[3].name for cell in cells} == {"big_only", "small_only", "random_switch", "logprob_subselect"}


def test_all_methods_are_in_the_grid_of_the_bundled_problems():
    cells = read(ROOT / "examples/tunnel.yaml", file_settings()).cells(ROOT / "examples")
    assert {name for name in names() if "judge" not in registered()[name].needs} <= {cell[3].name for cell in cells}
    assert all(any(cell[3].name.startswith(f"{wrapper}*") for cell in cells) for wrapper in names(wrappers=True))


@pytest.mark.slow
def test_the_sweep_runs_in_small(tmp_path):
    text = (ROOT / "examples/seed.yaml").read_text()
    (tmp_path / "seed.yaml").write_text(text.replace("[aime24_nofigures, openai_math, gpqa_diamond]", "[tunnel]"))
    small = "--big bundled:big --small bundled:small --limit 1 --epochs 1 --max-tokens 400 --no-controls"
    assert "tunnel" in shell(f"speculative eval seed.yaml {small}", tmp_path)
