"""`speculative tune`."""

import json
import signal
import tomllib

import pytest
from easy import easy_lines
from test_signals import waited_for

from speculative.cli.serve import _with_preset
from speculative.errors import UsageError
from speculative.runs.folder import Run
from speculative.serve.request import RequestReader
from speculative.settings import Settings

SMALL = ["tune", "likelihood_verify", "--limit", 4, "--max-tokens", 600, "--target", "accuracy within 20 points of big_only"]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Every test has a folder of its own to run in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_the_choice_is_a_preset_that_other_commands_take(cli, here):
    ran = cli(*SMALL, "--json")
    assert ran.code == 0, ran.err
    assert "note: with 2 tuning problems the choice is largely chance" in ran.err
    told = json.loads(ran.out)
    assert told["met"]
    assert told["choice"] in told["candidates"]
    assert (told["tuning_problems"], told["held_out_problems"], told["held_out"]["chains"]) == (2, 2, 2)
    assert told["preset"] == "runs/tune-likelihood_verify/likelihood_verify.toml"
    preset = tomllib.loads((here / told["preset"]).read_text())
    assert preset["params"] == told["choice"]["params"]
    assert preset["tuned"]["percentiles"] == told["choice"]["percentiles"]
    assert "speculative tune" in (here / told["preset"]).read_text()
    label = told["choice"]["label"]
    spec = f"@{told['preset']}"
    assert json.loads(cli("ask", "--method", spec, "--json").out)["params"]["threshold"] == preset["params"]["threshold"]
    (row,) = json.loads(cli("eval", "tunnel", "--method", spec, "--limit", 1, "--no-controls", "--json").out)
    assert row["label"] == label
    (row,) = json.loads(cli("compare", "--methods", f"{spec}", "--limit", 1, "--no-controls", "--json").out)
    assert row["label"] == label
    assert "pipeline" in cli("ask", "--method", spec, "--help").out

    again = cli(*SMALL)
    assert again.code == 0
    assert "0 chains were run" in again.err
    assert f"--method {spec}" in again.out
    assert "* threshold=" in again.out
    assert len(Run(here / told["folder"]).provenance) == 1


@pytest.mark.slow
def test_a_sweep_compares_values_and_percentiles_on_all_problems(cli):
    ran = cli("tune", "likelihood_verify", "--sweep", "threshold=-1,p10,p40", "--limit", 4, "--max-tokens", 600, "--json")
    assert ran.code == 0, ran.err
    told = json.loads(ran.out)
    assert (told["target"], told["choice"], told["preset"], told["tuning_problems"]) == (None, None, None, 4)
    assert sorted(one["params"]["threshold"] for one in told["candidates"])[0] == -1
    assert [one["share_kept"] for one in told["candidates"]] == sorted(one["share_kept"] for one in told["candidates"])
    assert all(one["percentiles"]["threshold"] >= 0 for one in told["candidates"])


def test_a_target_out_of_reach_is_an_error_behind_the_table(cli, here):
    (here / "mine.jsonl").write_text(easy_lines(4))
    ran = cli("tune", "random_switch", "--data", "mine.jsonl", "--sweep", "big_share=0.5", "--target", "at most 1% big tokens")
    assert ran.code == 1
    assert "big_share=0.5" in ran.out
    assert "no setting that was run keeps the bound 'at most 1% big tokens'" in ran.err.splitlines()[-1]
    assert "preset" not in ran.out


@pytest.mark.slow
def test_a_method_by_its_path_has_no_preset(cli, here):
    (here / "mine.py").write_text(
        'from speculative.methods.likelihood_verify import LikelihoodVerify\n\n\nclass Mine(LikelihoodVerify):\n    """Mine."""\n'
    )
    argv = ["tune", "./mine.py:Mine", "--limit", 4, "--target", "at most 100% big tokens", "--max-tokens", 600]
    ran = cli(*argv)
    assert ran.code == 0, ran.err
    assert "./mine.py:Mine(threshold=" in ran.out
    assert "preset" not in ran.out
    assert "leave out --preset" in cli(*argv, "--preset", "mine.toml").one_line()


@pytest.mark.parametrize(("file", "model"), [("mine.toml", "mine"), ("chunk_gate.toml", "chunk_gate-preset")])
def test_serve_takes_a_preset(here, file, model):
    (here / "known.txt").write_text("2; 3\n")
    (here / file).write_text('method = "chunk_gate"\nwith = ["early_exit"]\n[params]\nchunk = 9\ncalibration = "@known.txt"\n')
    settings = _with_preset(Settings(method=f"@{file}"))
    assert settings.method == model
    assert settings.presets[model].build().inner.calibration == "2; 3"
    assert RequestReader(settings).default.method == "chunk_gate"
    for wrong, told in [("@none.toml", "none.toml"), ("@known.txt", "must be TOML")]:
        with pytest.raises(UsageError, match=told):
            _with_preset(Settings(method=wrong))
    assert _with_preset(Settings(method="big_only")).method == "big_only"


@pytest.mark.slow
def test_the_table_of_a_policy_is_a_file_with_its_provenance(cli, here, monkeypatch):
    monkeypatch.setattr("sys.argv", ["speculative", "tune", "policy"])
    ran = cli("tune", "policy", "--limit", 4, "--target", "at most 90% big tokens", "--max-tokens", 600, "--out", "there", "--json")
    assert ran.code == 0, ran.err
    table = json.loads((here / "there" / "policy.fit").read_text())
    assert table["by"] == "likelihood"
    assert table["made"]["command"] == "speculative tune policy"
    assert tomllib.loads((here / "there" / "policy.toml").read_text())["params"]["fit"] == "@policy.fit"
    params = json.loads(cli("ask", "--method", "@there/policy.toml", "--json").out)["params"]
    assert json.loads(params["fit"]) == table


def test_a_grid_takes_presets(cli, here):
    (here / "mine.toml").write_text('method = "likelihood_verify"\n[params]\nthreshold = -0.3\n')
    (here / "grid.yaml").write_text('tasks: [tunnel]\nmethods: ["@mine.toml", {method: "@mine.toml", measure: [min]}]\nlimit: 1\n')
    rows = json.loads(cli("eval", "grid.yaml", "--no-controls", "--json", "--max-tokens", 60).out)
    assert [row["label"] for row in rows] == ["likelihood_verify(threshold=-0.3)", "likelihood_verify(threshold=-0.3, measure=min)"]


def test_your_own_problems(cli, here):
    (here / "mine.jsonl").write_text(easy_lines(4))
    ran = cli("tune", "likelihood_verify", "--data", "mine.jsonl", "--target", "at most 100% big tokens", "--json", "--max-tokens", 600)
    assert ran.code == 0, ran.err
    told = json.loads(ran.out)
    assert told["tuning_problems"] == told["held_out_problems"] == 2
    assert {sample.task for sample in Run(here / told["folder"]).samples} == {"gsm8k"}


def test_problems_with_wrong_answers_give_no_preset(cli, here):
    (here / "wrong.jsonl").write_text(easy_lines(2, answer="900"))
    ran = cli("tune", "likelihood_verify", "--data", "wrong.jsonl", "--max-tokens", 200)
    assert ran.code == 2
    assert "big_only must solve a tuning problem, got none of 1 right; check the answers of the problems" in ran.err
    assert not list(here.glob("**/*.toml"))


def test_a_target_in_another_unit_is_refused_before_a_chain_runs(cli, here):
    told = cli("tune", "likelihood_verify", "--target", "at most 0.5 USD a chain").one_line()
    assert "a target in USD must have a price view in it, got --cost flops, in FLOP" in told
    assert not list(here.glob("**/*.jsonl"))


@pytest.mark.slow
def test_a_preset_can_be_tuned_further(cli, here):
    (here / "mine.toml").write_text('method = "likelihood_verify"\n[params]\nmeasure = "min"\n')
    ran = cli("tune", "@mine.toml", "--limit", 4, "--target", "at most 100% big tokens", "--json", "--max-tokens", 600)
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["choice"]["params"]["measure"] == "min"


@pytest.mark.usefixtures("scripted")
class TestMistakes:
    @pytest.mark.parametrize(
        ("argv", "told"),
        [
            (["likelihod_verify"], "did you mean 'likelihood_verify'"),
            (["likelihood_verify", "--target", "fast"], "a target must have one of the forms"),
            (["likelihood_verify", "--held-out", 1], "held-out must be above 0 and below 1"),
            (["likelihood_verify", "--limit", 1], "at least 2 problems"),
            (["likelihood_verify", "--sweep", "threshold"], "a sweep must be FIELD=VALUE"),
            (["likelihood_verify", "--sweep", "treshold=1"], "did you mean 'threshold'"),
            (["likelihood_verify", "--sweep", "threshold=1"], "threshold must be at most 0, got '1'"),
            (["likelihood_verify", "--sweep", "threshold=p200"], "from p0 to p100"),
            (["likelihood_verify", "--sweep", "step_tokens=p5"], "a percentile needs recorded scores"),
            (["likelihood_verify(threshold=x)"], "threshold must be a number, got 'x'"),
            (["vote*likelihood_verify"], "has a wrapper"),
            (["advantage"], "must have a judge that foresees"),
            (["big_only"], "no parameter that is chosen here"),
            (["likelihood_verify", "--task", "nothing"], "unknown task"),
            (["likelihood_verify", "--data", "none.jsonl"], "none.jsonl"),
            (["likelihood_verify", "--preset", "none/at/all.toml"], "cannot be written"),
            (["@none.toml"], "none.toml"),
        ],
    )
    def test_a_mistake_is_one_line(self, cli, argv, told):
        ran = cli("tune", *argv)
        assert ran.code in (1, 2)
        assert told in ran.one_line()

    def test_a_folder_of_other_problems_is_refused(self, cli, here):
        assert cli("eval", "tunnel", "--limit", 2, "--no-controls", "--out", "there").code == 0
        assert "other problems" in cli("tune", "likelihood_verify", "--out", "there").one_line()

    def test_scores_that_do_not_differ_are_told(self, cli):
        ran = cli("tune", "likelihood_verify", "--limit", 4)
        assert ran.code == 2
        assert "scores that differ" in ran.err.splitlines()[-1]


@pytest.mark.slow
def test_an_interrupted_command_keeps_its_chains(process, here):
    child = process("tune", "likelihood_verify", "--limit", 4, "--chains", 1, delay=0.0005, stall=100)
    waited_for(child, here / "begun")
    child.send_signal(signal.SIGINT)
    _, err = child.communicate()
    assert child.returncode == 130
    assert b"interrupted" in err.splitlines()[-1]
    assert b"Traceback" not in err
    assert len(Run(here / "runs" / "tune-likelihood_verify").samples) >= 1


def test_the_help_teaches(cli):
    told = " ".join(cli("tune", "--help").out.replace("│", " ").split())
    for words in ("accuracy within 1 point of big_only", "at most 20% big tokens", "percentile", "--held-out", "@FILE"):
        assert words in told
