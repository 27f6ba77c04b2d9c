"""The commands of docs/tuning.md run, and its table names the targets."""

import re

import pytest
from documents import ROOT, blocks, shell

from speculative.evaluate.tune.target import DEFAULT, parse_target


@pytest.mark.slow
def test_its_commands_run(tmp_path):
    for block in blocks("docs/tuning.md", "sh"):
        for command in block.splitlines():
            assert shell(command, tmp_path)
    assert (tmp_path / "runs" / "tune-likelihood_verify" / "likelihood_verify.toml").is_file()


def test_its_table_names_the_targets():
    text = (ROOT / "docs/tuning.md").read_text()
    targets = re.findall(r'^\| `"([^"]+)"`', text, re.MULTILINE)
    assert targets[0] == DEFAULT
    assert {parse_target(target).kind for target in targets} == {"accuracy", "tokens", "cost", "price"}
