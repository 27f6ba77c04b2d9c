"""A tower fills a role at every door: `--small "METHOD(SMALL,BIG)"`."""

import json

import pytest

TOWER = "random_switch(bundled:small,bundled:big,big_share=0.5,switch_chunk=8)"
SHORT = ("--small", TOWER, "--seed", 1, "--max-tokens", 80)
ROWS = {"small", "small/big", "small/small"}


def test_ask_has_rows_for_the_models_inside(cli, tmp_path):
    ran = cli("ask", *SHORT, "--method", "small_only", "--json", "--trace", tmp_path / "t.jsonl")
    assert (ran.code, ran.err) == (0, "")
    usage = json.loads(ran.out)["usage"]
    assert set(usage) >= ROWS
    assert usage["small"]["kept_tokens"] == usage["small/big"]["kept_tokens"] + usage["small/small"]["kept_tokens"]
    shown = cli("show", tmp_path / "t.jsonl").out
    assert "small/big" in shown
    assert "together" in shown


def test_compare_prices_the_models_inside_and_counts_no_token_twice(cli, tmp_path):
    argv = ["compare", *SHORT, "--methods", "small_only", "--limit", 2, "--no-controls", "--json", "--out", tmp_path]
    (row,) = json.loads(cli(*argv).out)
    assert set(row["usage"]) >= ROWS
    assert set(row["costs"]["flops"]["parts"]) == {"big", "small/big", "small/small"} - ({"big"} - set(row["usage"]))
    assert row["settings"]["small"] == TOWER
    assert row["settings"]["small/big"] == "bundled:big"
    made = cli("report", tmp_path, "--csv", tmp_path / "all.csv")
    assert made.code == 0
    assert "small/big_kept_tokens" in (tmp_path / "all.csv").read_text().splitlines()[0]


def test_eval_runs_on_a_tower(cli, tmp_path):
    ran = cli("eval", "stories", *SHORT, "--method", "random_switch", "--limit", 2, "--no-controls", "--json", "--out", tmp_path)
    (row,) = json.loads(ran.out)
    assert row["chains"] == 2
    assert set(row["usage"]) >= ROWS


def test_doctor_checks_the_models_inside(cli):
    findings = json.loads(cli("doctor", "--small", TOWER, "--json").out)
    assert [role["role"] for role in findings["roles"]] == ["big", "small", "small/big", "small/small"]
    assert all(role["error"] is None for role in findings["roles"])
    assert findings["same_vocabulary"]
    assert findings["roles"][1]["server"] == "a tower"


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("random_switch(bundled:small)", "must have an engine for big; write it as METHOD(SMALL,BIG,field=value,…)"),
        ("random_switch(a/b,c/d,e/f)", "must have two engines, got 'e/f' as another"),
        ("random_swich(bundled:small,bundled:big)", "unknown method 'random_swich'; did you mean 'random_switch'?"),
        ("random_switch(bundled:small,bundled:big,big_shar=1)", "unknown parameter of random_switch 'big_shar'"),
        ("random_switch(bundled:small,bundled:big,degrade=no)", "degrade must be one of fail, big, small, got 'no'"),
        ("vote(ballots=2)*random_switch(bundled:small,bundled:big)", "must write one chain step by step, got vote*random_switch"),
        ("random_switch(bundled:small,bundled:huge)", "unknown engine 'bundled:huge'"),
        ("reward_guided(bundled:small,bundled:big)", "needs an engine for the role judge"),
        ("random_switch(bundled:small,bundled:big", "big' must close each of its brackets, got 1 of ( and 0 of )"),
        ("random_switch(bundled:small,bundled:big))", "big))' must close each of its brackets, got 1 of ( and 2 of )"),
        ("random_switch(bundled:small)bundled:big(", "must close each of its brackets, got 2 of ( and 1 of )"),
        ("random_switch(bundled:small,bundled:big)x", "must end with its bracket"),
        ("(bundled:small,bundled:big)", "must begin with the name of a method"),
        ("early_exit(bundled:small,bundled:big)", "must run a method, got the wrapper early_exit; write it as early_exit*METHOD(SMALL,"),
        ("random_switch(bundled:small,bundled:big,big_model=foo)", "model must be left out for bundled:big, which runs in this process"),
        ("random_switch(bundled:small,bundled:big,small=bundled:small)", "gives small twice"),
    ],
)
def test_a_wrong_tower_is_an_error_in_one_line(cli, spec, said):
    ran = cli("ask", "--small", spec)
    assert ran.code in (1, 2)
    assert said in ran.err.splitlines()[-1]
    assert "Traceback" not in ran.err


def test_a_tower_has_no_replicas(cli):
    ran = cli("ask", "--small", TOWER, "--small", TOWER)
    assert f"the replicas of an engine must be addresses of servers, got '{TOWER}'; name it once" in ran.one_line()


def test_options_that_a_bundled_model_would_ignore_are_refused(cli):
    for flag, value in (("model", "foo"), ("dialect", "qwen3"), ("tokenizer", "a/b"), ("args", "--x")):
        ran = cli("ask", f"--small-{flag}", value)
        assert f"{flag} must be left out for bundled:small, which runs in this process, got " in ran.one_line()
        assert ran.code == 2


def test_settings_of_the_service_are_not_those_of_other_commands(cli, monkeypatch, tmp_path):
    (tmp_path / "speculative.toml").write_text('small = "bogus("\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPECULATIVE_BIG", "bogus(")
    ran = cli("ask", "--seed", 1, "--max-tokens", 80, "--json")
    assert ran.err == ""
    assert set(json.loads(ran.out)["usage"]) == {"big", "small"}
    assert "close each of its brackets" in cli("serve").err


def test_an_option_of_one_engine_is_refused_for_the_whole(cli):
    ran = cli("ask", "--small", TOWER, "--small-context", 500)
    assert "context must be given for an engine of the tower, got it for the whole; write big_context=500 in its spec" in ran.err
