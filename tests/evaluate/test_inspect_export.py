"""Run folders as log files of inspect-ai, opened by its reader and command line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from inspect_ai.log import list_eval_logs, read_eval_log
from inspecting import inspecting

from speculative import Pair, Problem, UsageError
from speculative.cli.export_inspect import export_inspect
from speculative.evaluate.inspect_export import export
from speculative.evaluate.problems import problems
from speculative.evaluate.runner import EvalCell, EvalRunner
from speculative.evaluate.tasks import task
from speculative.methods.spec import parse_methods
from speculative.runs.folder import Run, RunFolder
from speculative.testing import ScriptedEngine

SCRIPT = "Let us see.\n\nSo it is.</think>\n\nThe answer is \\boxed{174}."


@pytest.fixture
async def run(tmp_path):
    """A run folder with two methods on three problems, twice each, and one of them with another seed."""
    async with Pair(*(ScriptedEngine(SCRIPT, width=2) for _ in range(2))) as pair:
        with RunFolder(tmp_path / "run") as folder:
            runner = EvalRunner.on(pair, folder, chains=2)
            for seed, spec in ((0, "big_only,random_switch(switch_ratio=4)"), (7, "big_only")):
                cells = [
                    EvalCell(task("stories"), one, problems()[:3], Problem.of("x", seed=seed), epochs=2) for one in parse_methods(spec)
                ]
                await runner.run_cells(cells)
    return Run(tmp_path / "run")


@pytest.mark.slow
@inspecting
def test_its_reader_opens_the_logs(run, tmp_path):
    paths = export(run, tmp_path / "logs")
    assert export(run, tmp_path / "logs") == paths
    logs = [read_eval_log(info) for info in list_eval_logs(str(tmp_path / "logs"), descending=False)]
    assert len(logs) == len(paths) == 3
    assert {log.eval.model for log in logs} == {"speculative/big_only", "speculative/random_switch(switch_ratio=4)"}
    kept = {(sample.label, sample.problem, sample.epoch, sample.seed): sample for sample in run.samples}
    for log in logs:
        assert log.status == "success"
        assert log.results.scores[0].metrics["accuracy"].value == sum(one.scores["graded"].value == "C" for one in log.samples) / 6
        for one in log.samples:
            sample = kept.pop((log.eval.model.removeprefix("speculative/"), one.id, one.epoch - 1, one.metadata["epoch_seed"]))
            assert [content.type for content in one.output.message.content] == ["reasoning", "text"]
            assert one.output.completion == sample.answer
            assert one.input[-1].text == next(problem.problem for problem in problems() if problem.id == one.id)
            assert one.output.usage.output_tokens == sum(cost.produced_tokens for cost in sample.usage.values())
            assert 0 < one.output.usage.reasoning_tokens < one.output.usage.output_tokens
            assert one.output.metadata["seconds"] == sample.seconds
            assert one.output.metadata["finish_reason"] == "stop"
            assert (one.scores["graded"].value == "C", one.target) == (sample.correct, sample.gold)
    assert not kept


@inspecting
@pytest.mark.slow
def test_its_own_command_line_opens_the_logs(run, tmp_path):
    path = export(run, tmp_path / "logs")[0]
    inspect = str(Path(sys.executable).parent / "inspect")
    done = subprocess.run([inspect, "log", "dump", str(path)], capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["samples"]) == 6


@pytest.mark.slow
@inspecting
def test_the_command_names_the_logs(run, capsys):
    assert export_inspect(run.path) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 3
    assert all(Path(line).is_file() for line in out.splitlines())
    assert f"inspect view --log-dir {run.path / 'inspect'}" in err


def test_a_folder_without_a_run_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"must be a run folder with samples\.jsonl"):
        export_inspect(tmp_path)
