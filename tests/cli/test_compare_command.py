"""`speculative compare`."""

import json

import pytest

from speculative.evaluate.problems import problems

pytestmark = pytest.mark.usefixtures("scripted")

SIX = {"big_only", "small_only", "placeholder", "random_switch", "logprob_subselect", "spec_rewrite"}
KEYS = {"method", "params", "problems", "epochs", "accuracy", "interval", "usage", "seconds"} | {
    "share_kept",
    "share_spent",
    "speed",
    "finish_reasons",
    "pass_at",
    "maj_at",
    "costs",
    "contrasts",
    "control_of",
}
PRICES = "[flops.parameters]\nbig = 40\nsmall = 40\n"


def rows_of(ran):
    assert ran.code == 0, ran.err
    return json.loads(ran.out)


def test_all_six_methods_are_compared_by_default(cli):
    rows = rows_of(cli("compare", "--limit", 10, "--no-controls", "--json"))
    assert {row["method"] for row in rows} == SIX
    for row in rows:
        assert row.keys() >= KEYS
        assert row["problems"] == row["chains"] == 10
        assert row["interval"][0] <= row["accuracy"] <= row["interval"][1]
        assert sum(row["finish_reasons"].values()) == 10
        for cost in row["usage"].values():
            assert cost["produced_tokens"] == cost["kept_tokens"] + cost["discarded_tokens"]
    by_name = {row["method"]: row for row in rows}
    assert by_name["big_only"]["speed"] == 1
    assert by_name["big_only"]["share_kept"] == 1
    assert by_name["small_only"]["share_spent"] == 0
    assert by_name["placeholder"]["share_kept"] == 1 > by_name["placeholder"]["share_spent"]


def test_accuracy_is_the_part_of_right_answers(cli):
    (row,) = rows_of(cli("compare", "--methods", "big_only", "--task", "stories", "--limit", 500, "--chains", 50, "--json"))
    assert row["accuracy"] == sum(stated.answer == "174" for stated in problems(task="stories")) / 500 > 0


def test_a_task_that_the_bundled_pair_does_not_know_is_told(cli):
    command = ("compare", "--methods", "big_only", "--limit", 1, "--json")
    assert "was not trained on the task stories" in cli(*command, "--task", "stories").err
    assert "was not trained" not in cli(*command).err


def test_methods_carry_parameters_and_wrappers(cli):
    spec = "random_switch(big_share=0.2, unit=step),vote(ballots=2)*small_only"
    switch, vote = rows_of(cli("compare", "--methods", spec, "--limit", 2, "--json"))
    assert (switch["params"]["big_share"], switch["params"]["unit"]) == (0.2, "step")
    assert vote["method"] == "vote*small_only"
    assert vote["usage"]["small"]["kept_tokens"] * 2 == vote["usage"]["small"]["produced_tokens"]


def test_samples_are_the_same_however_many_run_at_once(cli, tmp_path):
    def told(chains):
        folder = tmp_path / f"{chains}"
        cli("compare", "--methods", "random_switch", "--limit", 12, "--epochs", 2, "--chains", chains, "--out", folder)
        samples = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
        costs = {
            (sample["problem"], sample["epoch"]): (
                sample["seed"],
                [(role, cost["kept_tokens"]) for role, cost in sorted(sample["usage"].items())],
            )
            for sample in samples
        }
        assert len(costs) == 24
        assert len({seed for seed, _ in costs.values()}) == 24
        return costs

    assert told(1) == told(7)


def test_the_same_command_goes_on_where_it_stopped(cli, tmp_path):
    file = tmp_path / "run" / "samples.jsonl"
    command = ["compare", "--methods", "big_only,random_switch(big_share=0.5)", "--limit", 6, "--json", "--out", tmp_path / "run"]
    whole = rows_of(cli(*command))
    lines = file.read_text().splitlines(keepends=True)
    assert len(lines) == 12
    file.write_text("".join(lines[:5]) + lines[5][:40])
    again = rows_of(cli(*command))
    assert file.read_text().startswith("".join(lines[:5]))
    assert len(file.read_text().splitlines()) == 12
    assert [row["accuracy"] for row in again] == [row["accuracy"] for row in whole]
    assert rows_of(cli(*command)) == again


def test_samples_of_another_comparison_are_not_taken(cli, tmp_path):
    file = tmp_path / "run" / "samples.jsonl"
    command = ["compare", "--methods", "big_only", "--limit", 3, "--json", "--out", tmp_path / "run"]
    rows_of(cli(*command))
    for other in (["--seed", 1], ["--temperature", 0.1], ["--max-tokens", 99]):
        before = len(file.read_text().splitlines())
        assert rows_of(cli(*command, *other))[0]["chains"] == 3
        assert len(file.read_text().splitlines()) == before + 3


def test_another_set_of_problems_goes_to_another_folder(cli, tmp_path):
    command = ["compare", "--methods", "big_only", "--limit", 3, "--json", "--out", tmp_path / "run"]
    rows_of(cli(*command))
    assert "3 of 3 are not in the data of this command; name another folder" in cli(*command, "--set", "tuning").one_line()


def controlled(cli, folder, *more):
    (folder / "prices.toml").write_text(PRICES)
    methods = "big_only,placeholder,logprob_subselect"
    flags = ["--limit", 10, "--prices", folder / "prices.toml", "--chains", 5, "--out", folder / "run"]
    return cli("compare", "--methods", methods, *flags, *more)


def test_controls_stand_below_their_methods(cli, tmp_path):
    ran = controlled(cli, tmp_path, "--json")
    rows = rows_of(ran)
    assert [(row["method"], row["control_of"]) for row in rows] == [
        ("big_only", None),
        ("placeholder", None),
        ("vote*small_only", "placeholder"),
        ("logprob_subselect", None),
        ("random_switch", "logprob_subselect"),
        ("vote*small_only", "logprob_subselect"),
        ("small_only", None),
        ("vote*small_only", "small_only"),
    ]
    met = {(row["label"], found["against"].split("(")[0]): found for row in rows for found in row["contrasts"]}
    switch = met["logprob_subselect", "random_switch"]
    assert abs(switch["share_kept"][0] - switch["share_kept"][1]) <= 0.01
    ballots = rows[5]["params"]["vote"]["ballots"]
    assert ballots == 64 or met["logprob_subselect", "vote"]["costs"]["flops"] == pytest.approx(1, abs=0.6 / ballots + 0.02)
    assert ("logprob_subselect", "big_only") in met
    assert "token speculation is not available" in ran.err


@pytest.mark.slow
def test_controls_go_on_where_they_stopped(cli, tmp_path):
    whole = rows_of(controlled(cli, tmp_path, "--json"))
    file = tmp_path / "run" / "samples.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    for kept in (35, len(lines) - 3):
        file.write_text("".join(lines[:kept]) + lines[kept][:30])
        again = rows_of(controlled(cli, tmp_path, "--json"))
        assert [row["label"] for row in again] == [row["label"] for row in whole]
        assert [row["contrasts"][0]["p"] for row in again[1:2]] == [row["contrasts"][0]["p"] for row in whole[1:2]]
        assert len(file.read_text().splitlines()) == len(lines)


def test_the_same_method_under_two_labels_is_run_once(cli, tmp_path):
    rows = rows_of(cli("compare", "--methods", "big_only,big_only(sequential_scale=0)", "--limit", 4, "--json", "--out", tmp_path / "run"))
    assert rows[0]["usage"] == rows[1]["usage"]
    samples = [json.loads(line) for line in (tmp_path / "run" / "samples.jsonl").read_text().splitlines()]
    assert len(samples) == 8
    assert len({sample["trace"] for sample in samples}) == len(list((tmp_path / "run" / "traces").iterdir())) == 4


@pytest.mark.slow
def test_tables_say_differences_repeats_and_costs_in_the_columns_that_there_are(cli, tmp_path, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    assert max(map(len, controlled(cli, tmp_path, "--epochs", 2).out.splitlines())) <= 80
    monkeypatch.setenv("COLUMNS", "100")
    ran = controlled(cli, tmp_path, "--epochs", 2)
    assert ran.code == 0
    assert 80 < max(map(len, ran.out.splitlines())) <= 100
    for told in ("against big_only", "  random_switch 0.", "  vote of ", "of no difference", "@2", "FLOP cost", "right"):
        assert told in ran.out


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("[api]\ncurrency = 3\n", "api.currency must be a string, got 3"),
        ("[flops.parameters]\nbig = 1\n", "flops.parameters.small is missing"),
    ],
)
def test_wrong_prices_are_an_error_before_the_run(cli, tmp_path, content, told):
    file = tmp_path / "prices.toml"
    file.write_text(content)
    ran = cli("compare", "--prices", file, "--out", tmp_path / "run")
    assert ran.code == 2
    assert f"prices {file}: {told}" in ran.one_line()
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("content", ["precious", "precious\n", '{"label":1}\n'])
@pytest.mark.parametrize("name", ["samples.jsonl", "other.txt"])
def test_other_folders_are_left_alone(cli, tmp_path, content, name):
    file = tmp_path / name
    file.write_text(content)
    for out in (tmp_path, file):
        ran = cli("compare", "--methods", "big_only", "--limit", 1, "--out", out)
        assert ran.code == 2
        assert str(out) in ran.one_line()
        assert file.read_text() == content
        assert not list(tmp_path.glob("traces/*"))


def test_away_from_a_terminal_progress_is_a_line_a_method(cli):
    ran = cli("compare", "--methods", "big_only,small_only", "--limit", 2)
    assert ran.err.count("\n") == 2
    assert "\x1b" not in ran.err + ran.out
    assert "95 % interval" in ran.out
    assert "2 chains done" in ran.err
    assert "1 chain done" in cli("compare", "--methods", "big_only", "--limit", 1).err


@pytest.mark.slow
def test_a_limit_above_the_number_of_problems_gives_a_warning(cli):
    ran = cli("compare", "--methods", "big_only", "--limit", 100000, "--chains", 50, "--json")
    assert "warning: --limit 100000: the set benchmark has 500 problems" in ran.err
    assert rows_of(ran)[0]["chains"] == 500
