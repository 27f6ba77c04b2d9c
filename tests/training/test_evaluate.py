"""The command that measures the pair: what it is given wrongly is told before any work."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from training import evaluate

BUNDLED = Path(evaluate.__file__).parents[1] / "src" / "speculative" / "bundled"


def told(monkeypatch: pytest.MonkeyPatch, *words: str) -> str:
    monkeypatch.setattr(sys, "argv", ["evaluate", *words])
    with pytest.raises(SystemExit) as ended:
        evaluate.main()
    return str(ended.value)


def test_a_folder_without_a_pair_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    message = told(monkeypatch, "--pair", str(tmp_path / "nowhere"))
    assert str(tmp_path / "nowhere") in message
    assert "\n" not in message


@pytest.mark.parametrize("limit", ["0", "-3", "501", "many"])
def test_a_limit_that_takes_no_problem_is_refused(limit: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert told(monkeypatch, "--limit", limit) == "2"
    assert f"{limit!r} is no number from 1 to 500" in capsys.readouterr().err


def test_a_place_where_no_figures_can_be_written_is_told_before_they_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no folder" in told(monkeypatch, "--json", str(tmp_path / "nowhere" / "figures.json"))


@pytest.mark.slow
def test_few_problems_give_every_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["evaluate", "--limit", "1", "--json", str(tmp_path / "figures.json")])
    evaluate.main()
    assert "| big_greedy: accuracy | 1.0 |" in capsys.readouterr().out
    assert '"judge_by_big"' in (tmp_path / "figures.json").read_text()
