"""A judge fills its role at every door: the flag, grids, harnesses, tables, columns and traces."""

import json

import pytest

from speculative import Pair
from speculative.engines.options import EngineOptions
from speculative.evaluate.lm_eval.arguments import read
from speculative.settings import Settings

WARM = ("--temperature", 2, "--top-p", 1)
"""At this temperature two models seldom write the same step, so a judge is asked whether two steps say the same."""
JUDGED = ("--judge", "bundled:big", "--method", "lookahead", "--same", "judge", *WARM)
COSTS = ("prompt_tokens", "produced_tokens", "discarded_tokens")


def check_judge(usage):
    """The judge only replied to questions: all that it wrote is discarded."""
    cost = usage["judge"]
    assert cost["requests"] > 0
    assert cost["prompt_tokens"] > 0
    assert cost["kept_tokens"] == 0
    assert cost["produced_tokens"] == cost["discarded_tokens"] > 0


def test_ask_and_show_have_a_row_for_the_judge(cli, tmp_path):
    ran = cli("ask", *JUDGED, "--seed", 3, "--max-tokens", 120, "--json", "--trace", tmp_path / "t.jsonl")
    assert ran.code == 0
    told = json.loads(ran.out)
    check_judge(told["usage"])
    assert told["trace"]["events"][0]["engines"]["judge"]["name"] == "bundled:big"
    lines = cli("show", tmp_path / "t.jsonl").out.splitlines()
    assert any(line.split()[:1] == ["judge"] for line in lines)


def test_compare_has_columns_and_costs_of_the_judge(cli, tmp_path):
    argv = ["compare", "--judge", "bundled:big", "--methods", "lookahead(same=judge),big_only", "--limit", 2, "--max-tokens", 120, *WARM]
    ran = cli(*argv, "--no-controls", "--out", tmp_path / "run")
    assert "judge read" in ran.out
    assert "judge s" in ran.out
    rows = json.loads(cli(*argv, "--no-controls", "--json", "--out", tmp_path / "run").out)
    check_judge(rows[0]["usage"])
    assert "judge" not in rows[1]["usage"]
    assert rows[0]["costs"]["flops"]["parts"]["judge"] > 0
    assert rows[0]["settings"]["judge"] == "bundled:big"
    cli("report", tmp_path / "run", "--csv", tmp_path / "all.csv")
    head, *lines = (tmp_path / "all.csv").read_text().splitlines()
    assert {f"judge_{name}" for name in COSTS} <= set(head.split(","))
    assert len(lines) == 4


def test_without_a_judge_the_tables_have_no_column_for_it(cli):
    assert "judge" not in cli("compare", "--methods", "big_only", "--limit", 1, "--max-tokens", 40, "--no-controls").out


@pytest.mark.slow
def test_a_grid_names_the_judge(cli, tmp_path):
    pytest.importorskip("yaml")
    grid = tmp_path / "grid.yaml"
    sampling = "limit: 3\nmax_tokens: 200\ntemperature: 2\ntop_p: 1\n"
    grid.write_text(f"tasks: [tunnel]\nmethods: ['lookahead(same=judge)']\n{sampling}judge: bundled:big\ncontrols: false\n")
    (row,) = json.loads(cli("eval", grid, "--json", "--out", tmp_path / "run").out)
    check_judge(row["usage"])


def test_a_method_without_its_judge_is_told_the_flag(cli):
    ran = cli("ask", "--method", "reward_guided", "--big", "random_switch(bundled:small,bundled:big)")
    assert "reward_guided needs an engine for the role judge; give one with --judge" in ran.one_line()


def test_doctor_checks_the_judge(cli):
    roles = json.loads(cli("doctor", "--judge", "bundled:small", "--json").out)["roles"]
    assert [role["role"] for role in roles] == ["big", "small", "judge"]
    assert roles[2]["name"] == "bundled:small"


def test_python_settings_and_harnesses_open_a_judge(monkeypatch):
    assert list(Pair.open(judge="bundled:small")) == ["big", "small", "judge"]
    monkeypatch.setenv("SPECULATIVE_JUDGE", "bundled:big")
    assert list(Settings().pair({"judge": EngineOptions()})) == ["big", "small", "judge"]
    assert read({"judge": "bundled:big"}).specs["judge"] == "bundled:big"
    from speculative.evaluate.inspect_ai import _open_pair

    assert list(_open_pair({"judge": "bundled:big"})) == ["big", "small", "judge"]
