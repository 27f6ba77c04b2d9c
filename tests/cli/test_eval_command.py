"""`speculative eval`."""

import json
import signal
import time

import pytest

from speculative import EngineError
from speculative.runs.folder import Run
from speculative.testing import ScriptedEngine

GPQA = {"Question": "Which is it?", "Correct Answer": "Neon", "Incorrect Answer 1": "Iron", "Incorrect Answer 2": "Zinc"}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Every test has a folder of its own to run in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rows_of(ran):
    assert ran.code == 0, ran.err
    return json.loads(ran.out)


@pytest.mark.usefixtures("scripted")
class TestOneMethod:
    def test_samples_traces_and_provenance_are_kept(self, cli, here):
        (row,) = rows_of(cli("eval", "stories", "--switch-ratio", 4, "--limit", 5, "--epochs", 2, "--json", "--big-key", "s3cret"))
        assert (row["task"], row["label"], row["problems"], row["chains"]) == ("stories", "random_switch(switch_ratio=4)", 5, 10)
        found = Run(here / "runs" / "stories")
        assert len({sample.key for sample in found.samples}) == len({sample.seed for sample in found.samples}) == 10
        assert row["accuracy"] == sum(sample.correct for sample in found.samples) / 10
        for sample in found.samples:
            assert found.trace(sample).usage() == sample.usage
        (noted,) = found.provenance
        assert "s3cret" not in json.dumps(noted)
        assert noted["tasks"]["stories"].keys() == {"dataset", "problems", "epochs", "data_hash", "prompt_hash", "prompts"}
        assert noted["tasks"]["stories"]["prompts"].keys() == {"big", "small"}
        assert noted["engines"]["big"]["name"] == "bundled:big"
        assert noted["versions"].keys() >= {"python", "speculative-reasoning", "inspect-ai", "onnxruntime"}
        assert not (found.path / "inspect").exists()

    def test_the_same_command_runs_nothing_again(self, cli, here):
        command = ["eval", "stories", "--limit", 4, "--json"]
        whole = rows_of(cli(*command))
        file = here / "runs" / "stories" / "samples.jsonl"
        lines = file.read_text().splitlines(keepends=True)
        assert rows_of(cli(*command)) == whole
        assert file.read_text() == "".join(lines)
        file.write_text("".join(lines[:2]) + lines[2][:50])
        assert rows_of(cli(*command))[0]["accuracy"] == whole[0]["accuracy"]
        assert file.read_text().startswith("".join(lines[:2]))
        assert len(file.read_text().splitlines()) == 4
        assert len(Run(here / "runs" / "stories").provenance) == 2

    @pytest.mark.slow
    def test_another_setting_is_another_evaluation(self, cli, here):
        for more in ([], ["--seed", 1], ["--temperature", 0], ["--switch-ratio", 9], ["--with", "vote(ballots=2)", "--no-controls"]):
            (row,) = rows_of(cli("eval", "stories", "--limit", 2, "--json", *more))
            assert row["chains"] == 2
        assert len(Run(here / "runs" / "stories").samples) == 10
        assert {sample.label for sample in Run(here / "runs" / "stories").samples} == {
            "random_switch",
            "random_switch(switch_ratio=9)",
            "vote(ballots=2)*random_switch",
        }

    def test_own_data_is_put_and_graded(self, cli, here):
        (here / "rows.jsonl").write_text("".join(f'{{"problem": "How many in {n}?", "answer": "{n}.0"}}\n' for n in range(170, 180)))
        (row,) = rows_of(cli("eval", "aime24", "--data", "rows.jsonl", "--method", "big_only", "--json", "--out", "mine"))
        assert (row["task"], row["problems"], row["accuracy"]) == ("aime24", 10, 0.1)
        assert Run(here / "mine").provenance[0]["tasks"]["aime24"]["dataset"] == "file rows.jsonl"
        assert [sample.gold for sample in Run(here / "mine").samples if sample.correct] == ["174.0"]

    def test_a_bad_row_stops_the_run_before_it_starts(self, cli, here):
        (here / "rows.jsonl").write_text('{"problem": "n?", "answer": "a lot"}\n')
        ran = cli("eval", "gsm8k", "--data", "rows.jsonl")
        assert ran.code == 2
        assert "rows.jsonl, line 1: the gold answer 'a lot' cannot be read" in ran.one_line()
        assert not (here / "runs").exists()

    def test_each_unreadable_answer_has_a_line(self, cli, here):
        (here / "rows.jsonl").write_text("".join(f'{{"problem": "How many in {n}?", "answer": "some"}}\n' for n in range(60)))
        ran = cli("eval", "gsm8k", "--data", "rows.jsonl", "--limit", "2", "--method", "big_only")
        summary, *listed = ran.err.splitlines()
        assert ran.code == 2
        assert "60 of 60 gold answers cannot be read, 2 of them are among the 2 chosen problems; correct the data" in summary
        assert listed == [f"  data rows.jsonl, line {n}: the gold answer 'some' cannot be read as integer" for n in range(1, 61)]

    def test_problems_with_unreadable_answers_are_left_out_on_demand(self, cli, here):
        golds = ["1", "a lot", "174", "some"]
        (here / "rows.jsonl").write_text(
            "".join(f'{{"problem": "How many in {n}?", "answer": "{gold}"}}\n' for n, gold in enumerate(golds))
        )
        command = ["eval", "gsm8k", "--data", "rows.jsonl", "--method", "big_only", "--json"]
        ran = cli(*command)
        assert ran.code == 2
        assert "2 of 4 gold answers cannot be read, 2 of them are among the 4 chosen problems" in ran.err
        assert "line 2: the gold answer 'a lot'" in ran.err
        assert "line 4: the gold answer 'some'" in ran.err
        assert not (here / "runs").exists()
        (row,) = rows_of(cli(*command, "--skip-unreadable"))
        assert (row["problems"], row["accuracy"]) == (2, 0.5)
        (noted,) = Run(here / "runs" / "gsm8k").provenance
        assert list(noted["tasks"]["gsm8k"]["skipped_unreadable"].values()) == ["a lot", "some"]

    def test_a_tolerance_is_kept_with_the_samples(self, cli, here):
        pytest.importorskip("math_verify")
        (here / "rows.jsonl").write_text('{"problem": "How many?", "answer": "174.001"}\n')
        command = ["eval", "math500", "--data", "rows.jsonl", "--method", "big_only", "--json"]
        accuracies = [rows_of(cli(*command, *more))[0]["accuracy"] for more in ([], ["--tolerance", 0.001])]
        assert accuracies == [0, 1]
        assert [sample.settings.get("tolerance") for sample in Run(here / "runs" / "math500").samples] == [None, 0.001]
        assert "tolerance must be at least 0 and less than 1, got 2.0" in cli(*command, "--tolerance", 2).one_line()

    def test_the_prompt_is_shown_as_it_is_put(self, cli, here):
        (here / "rows.jsonl").write_text(json.dumps(GPQA))
        ran = cli("eval", "gpqa_diamond", "--data", "rows.jsonl", "--show-prompt")
        assert ran.out.count("Please reason step by step, and put the letter of the right option within \\boxed{}.") == 2
        assert "Which is it?\n\n(A) " in ran.out
        assert ran.out.count("<think>") == 2
        assert not (here / "runs").exists()

    @pytest.mark.slow
    def test_controls_join_and_come_again_without_a_run(self, cli, here):
        command = ["eval", "stories", "--method", "logprob_subselect", "--sgen", 2, "--ltok", 8, "--limit", 3, "--epochs", 2, "--json"]
        rows = rows_of(cli(*command))
        assert rows[0]["label"] == "logprob_subselect(sgen=2, ltok=8)"
        assert {row["control_of"] for row in rows} == {None, rows[0]["label"], "small_only"}
        assert all(row["chains"] == 6 for row in rows)
        lines = (here / "runs" / "stories" / "samples.jsonl").read_text()
        assert rows_of(cli(*command)) == rows
        assert (here / "runs" / "stories" / "samples.jsonl").read_text() == lines
        (alone,) = rows_of(cli(*command, "--no-controls"))
        assert alone["accuracy"] == rows[0]["accuracy"]

    def test_without_a_terminal_progress_is_a_line_a_cell(self, cli):
        ran = cli("eval", "stories", "--limit", 2)
        assert "stories random_switch: 2 chains done" in ran.err
        assert ran.err.count("\n") == 2
        assert "\x1b" not in ran.err + ran.out


GRID = """
tasks: [stories, {task: gsm8k, data: rows.jsonl, limit: 1}]
methods:
  - big_only
  - {method: random_switch, switch_ratio: [1, 4], with: vote(ballots=2)}
seeds: [0, 7]
limit: 3
controls: false
max_tokens: 500
"""


@pytest.mark.usefixtures("scripted")
class TestGrid:
    @pytest.mark.slow
    def test_every_combination_is_a_cell_in_one_folder(self, cli, here):
        (here / "rows.jsonl").write_text('{"question": "How many?", "answer": "so\\n#### 174"}\n{"question": "n?", "answer": "#### 1"}\n')
        (here / "grid.yaml").write_text(GRID)
        rows = rows_of(cli("eval", "grid.yaml", "--json"))
        assert [(row["task"], row["label"], row["chains"]) for row in rows] == [
            ("stories", "big_only", 6),
            ("stories", "vote(ballots=2)*random_switch(switch_ratio=1)", 6),
            ("stories", "vote(ballots=2)*random_switch(switch_ratio=4)", 6),
            ("gsm8k", "big_only", 2),
            ("gsm8k", "vote(ballots=2)*random_switch(switch_ratio=1)", 2),
            ("gsm8k", "vote(ballots=2)*random_switch(switch_ratio=4)", 2),
        ]
        assert all(row["accuracy"] == 1 for row in rows[3:])
        found = Run(here / "runs" / "grid")
        assert {sample.settings["max_tokens"] for sample in found.samples} == {500}
        assert found.provenance[0]["seeds"] == [0, 7]

    def test_flags_come_before_the_file(self, cli, here):
        (here / "grid.yaml").write_text("tasks: [stories]\nmethods: [big_only]\nmax_tokens: 500\nlimit: 9\n")
        (row,) = rows_of(cli("eval", "grid.yaml", "--json", "--max-tokens", 600, "--limit", 2))
        assert row["problems"] == 2
        assert Run(here / "runs" / "grid").samples[0].settings["max_tokens"] == 600


@pytest.mark.usefixtures("scripted")
def test_problems_of_two_files_do_not_go_to_one_folder(cli, here):
    row = '{{"problem": "What is {} more than one?", "answer": "{}"}}\n'
    (here / "one.jsonl").write_text(row.format(1, 2) + row.format(2, 3))
    (here / "more.jsonl").write_text(row.format(1, 2) + row.format(2, 3) + row.format(3, 4))
    (here / "other.jsonl").write_text(row.format(1, 2) + row.format(5, 6))
    command = ["eval", "gsm8k", "--method", "big_only", "--json", "--data"]
    assert [rows_of(cli(*command, name))[0]["problems"] for name in ("one.jsonl", "more.jsonl")] == [2, 3]
    ran = cli(*command, "other.jsonl")
    assert ran.code == 2
    assert "runs/gsm8k has samples of gsm8k on other problems: 2 of 3 are not in the data" in ran.one_line()
    assert rows_of(cli(*command, "other.jsonl", "--out", "other"))[0]["problems"] == 2


@pytest.mark.usefixtures("scripted")
@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["aime"], "unknown task 'aime'; did you mean 'aime2"),
        (["stories", "--limit", 0], "invalid value for --limit: must be at least 1, got 0"),
        (["stories", "--method", "random_swich"], "did you mean 'random_switch'"),
        (["stories", "--method", "big_only", "--switch-ratio", 4], "it is a parameter of random_switch; choose that with --method"),
        (["stories", "--switch-ratio", "-1"], "switch_ratio must be more than 0, got '-1'"),
        (["none.yaml"], "the grid none.yaml: No such file or directory; name a YAML file"),
        (["stories", "--extract-with", "gpt"], "extract-with must be MODEL@URL, got 'gpt'"),
    ],
)
def test_mistakes_are_one_line_each(cli, argv, told):
    ran = cli("eval", *argv)
    assert ran.code == 2
    assert told in ran.one_line()


@pytest.mark.usefixtures("scripted")
@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("tasks: [stories]", "methods is required; add it (see examples/seed.yaml)"),
        ("tasks: stories\nmethods: [big_only]", "tasks must be a list, got 'stories'"),
        ("tasks: [storys]\nmethods: [big_only]", "unknown task 'storys'; did you mean 'stories'"),
        ("tasks: [stories]\nmethods: [big]", "unknown method 'big'"),
        ("tasks: [stories]\nmethods: [{switch_ratio: 4}]", "an entry must name its method"),
        ("tasks: [stories]\nmethods: [{method: random_switch, switch_ratio: -4}]", "switch_ratio must be more than 0, got '-4'"),
        ("tasks: [{task: stories, limt: 3}]\nmethods: [big_only]", "tasks.0.limt is not a known name; leave it out"),
        ("tasks: [stories]\nmethods: [big_only]\nepoch: 3", "unknown key 'epoch'; did you mean 'epochs'"),
        ("tasks: [stories]\nmethods: [big_only]\nepochs: many", "epochs must be an integer, got 'many'"),
        ("tasks: [stories]\nmethods: [big_only]\ntasks: [gsm8k]", "the key 'tasks' must be unique"),
        ("tasks: [stories]\nmethods: [big_only, big_only]", "methods must be unique, got 'big_only' twice"),
        ("tasks: [stories]\nmethods: [big_only]\nseeds: [1, 0, 1]", "seeds must be unique, got 1 twice"),
        ("tasks: [stories, {task: stories, limit: 3}]\nmethods: [big_only]", "tasks must be unique, got 'stories' twice"),
        ("tasks: [", "must be YAML"),
        ("", "must have the keys `tasks` and `methods`"),
    ],
)
def test_mistakes_name_the_file_the_key_and_the_value(cli, here, text, told):
    (here / "grid.yaml").write_text(text)
    ran = cli("eval", "grid.yaml")
    assert ran.code == 2
    assert "the grid grid.yaml" in ran.one_line()
    assert told in ran.err


@pytest.mark.usefixtures("scripted")
def test_a_grid_has_its_own_methods_and_seeds(cli, here):
    (here / "grid.yaml").write_text("tasks: [stories]\nmethods: [big_only]\n")
    for more in (["--seed", 1], ["--method", "small_only"], ["--switch-ratio", 3], ["--with", "vote"]):
        assert "cannot be combined with data, methods or seeds" in cli("eval", "grid.yaml", *more).one_line()


def test_a_failing_engine_is_one_line_and_finished_chains_stay(cli, here, monkeypatch):
    calls = []

    def script(seen, seed):
        calls.append(seed)
        if len(calls) > 3:
            raise EngineError("the engine is broken")
        return "\\boxed{174}" if "</think>" in seen else "So.</think>"

    monkeypatch.setattr("speculative.pair.open_engine", lambda spec, *_: ScriptedEngine(script, name=str(spec)))
    ran = cli("eval", "stories", "--method", "big_only", "--limit", 10, "--chains", 1, "--json")
    assert ran.code == 1
    assert "the engine is broken" in ran.err
    assert "Traceback" not in ran.err
    done = len(Run(here / "runs" / "stories").samples)
    assert json.loads(ran.out)[0]["chains"] == done > 0
    monkeypatch.setattr("speculative.pair.open_engine", lambda spec, *_: ScriptedEngine("So.</think>\n\n\\boxed{174}", name=str(spec)))
    assert rows_of(cli("eval", "stories", "--method", "big_only", "--limit", 10, "--chains", 1, "--json"))[0]["chains"] == 10


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code", "told"), [(signal.SIGINT, 130, b"interrupted"), (signal.SIGTERM, 143, b"terminated")])
def test_an_interrupted_evaluation_shows_the_finished_part(process, here, number, code, told):
    child = process("eval", "stories", "--limit", 400, "--chains", 2, "--json", delay=0.01)
    file = here / "runs" / "stories" / "samples.jsonl"
    while not (file.exists() and file.read_bytes().count(b"\n") > 2):
        assert child.poll() is None, child.stderr.read()
        time.sleep(0.05)
    child.send_signal(number)
    out, err = child.communicate(timeout=60)
    assert child.returncode == code
    assert told in err
    assert b"Traceback" not in err
    assert json.loads(out)[0]["chains"] == file.read_bytes().count(b"\n")


@pytest.mark.usefixtures("scripted")
def test_compare_notes_its_provenance_too(cli, here):
    rows_of(cli("compare", "--methods", "big_only", "--limit", 2, "--out", "run", "--json"))
    (noted,) = Run(here / "run").provenance
    assert (noted["door"], noted["methods"], noted["tasks"]["tunnel"]["problems"]) == ("compare", ["big_only"], 2)
