"""The figure of methods against their parameters, drawn from a real run."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parents[2] / "scripts/ablation.py"
METHODS = ",".join(
    [
        "big_only",
        "random_switch(unit=step,big_share=0.2)",
        *(f"likelihood_verify(threshold={threshold})" for threshold in (-1, -0.1, -0.5)),
    ]
)


def run(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True, timeout=120)


def test_values_of_the_last_parameter_share_a_panel_in_their_order(tmp_path):
    folder, figure = tmp_path / "run", tmp_path / "figure.svg"
    compared = run("-m", "speculative", "compare", "--methods", METHODS, "--limit", 2, "--no-controls", "--out", folder)
    assert compared.returncode == 0, compared.stderr
    drawn = run(SCRIPT, folder, "--write", figure)
    assert drawn.returncode == 0, drawn.stderr
    texts = [line.split("-->")[0].split("<!--")[1].strip() for line in figure.read_text().splitlines() if "<!--" in line]
    at = [texts.index(text) for text in ("-1", "-0.5", "-0.1")]
    assert at == sorted(at)
    assert "likelihood_verify" in texts
    assert "threshold" in texts


def test_a_run_without_three_values_is_told(tmp_path):
    folder = tmp_path / "run"
    run("-m", "speculative", "compare", "--methods", "big_only", "--limit", 1, "--no-controls", "--out", folder)
    drawn = run(SCRIPT, folder, "--write", tmp_path / "figure.svg")
    assert drawn.returncode == 1
    assert "no parameter has 3 values" in drawn.stderr
    assert not (tmp_path / "figure.svg").exists()
