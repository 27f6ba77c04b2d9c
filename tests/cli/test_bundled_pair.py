"""The command line on the pair that ships."""

import json

import pytest

from speculative.cli._flags import EngineFlags
from speculative.cli.tune import _load
from speculative.errors import UsageError
from speculative.evaluate.problems import problems
from speculative.methods.registry import build
from speculative.methods.spec import parse_methods
from speculative.runs.folder import Run


@pytest.mark.slow
def test_ask_on_a_bundled_problem(process):
    child = process("ask", "--max-tokens", 60, "--json", real=True)
    out, err = child.communicate()
    assert (child.returncode, err) == (0, b"")
    told = json.loads(out)
    assert told["trace"]["events"][0]["problem"]["messages"][0]["content"] in {stated.problem for stated in problems()}
    assert set(told["usage"]) <= {"big", "small"}


def test_compare_on_bundled_problems(cli):
    rows = json.loads(
        cli("compare", "--methods", "random_switch,logprob_subselect", "--limit", 2, "--max-tokens", 40, "--no-controls", "--json").out
    )
    assert [row["chains"] for row in rows] == [2, 2]


@pytest.mark.parametrize("command", ["compare --task tunnel --methods small_only", "eval tunnel --method small_only"])
def test_the_task_tunnel_runs_on_the_harder_pair(cli, tmp_path, command):
    cli(*command.split(), "--limit", 1, "--max-tokens", 40, "--no-controls", "--out", tmp_path / "run")
    (sample,) = Run(tmp_path / "run").samples
    assert (sample.task, {role: sample.settings[role] for role in ("big", "small")}) == (
        "tunnel",
        {"big": "bundled:tunnel-big", "small": "bundled:tunnel-small"},
    )


@pytest.mark.parametrize(
    ("methods", "small", "judge"),
    [
        ("random_switch", "bundled:tunnel-small", ()),
        ("big_only,vote(ballots=3)*handoff", "bundled:tunnel-asking", ()),
        ("reward_guided", "bundled:tunnel-small", ("bundled:tunnel-reward",)),
        ("vote*advantage(mode=oracle)", "bundled:tunnel-small", ("bundled:tunnel-reward",)),
    ],
)
def test_the_task_tunnel_has_the_models_that_its_methods_need(methods, small, judge):
    flags = EngineFlags().for_task("tunnel", [rival.method for rival in parse_methods(methods)])
    assert (flags.big, flags.small, flags.judge) == (("bundled:tunnel-big",), (small,), judge)


@pytest.mark.parametrize("methods", ["advantage", "reward_guided,vote*advantage"])
def test_no_reward_model_foresees_an_advantage(methods):
    with pytest.raises(UsageError, match="advantage must have a judge that foresees big's advantage, got none"):
        EngineFlags().for_task("tunnel", [rival.method for rival in parse_methods(methods)])
    given = EngineFlags(judge=("http://localhost:9",))
    assert given.for_task("tunnel", [rival.method for rival in parse_methods(methods)]).judge == given.judge


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        (EngineFlags(small=("bundled:tunnel-asking",)), ("bundled:tunnel-big", "bundled:tunnel-asking")),
        (EngineFlags(big=("bundled:tunnel-big",)), ("bundled:tunnel-big", "bundled:tunnel-small")),
        (EngineFlags(big=("bundled:tunnel-small",), small=("bundled:tunnel-small",)), ("bundled:tunnel-small", "bundled:tunnel-small")),
    ],
)
def test_one_chosen_model_of_the_harder_pair_gets_the_other_one(chosen, expected):
    flags = chosen.for_task("tunnel", [build("random_switch")])
    assert (*flags.big, *flags.small) == expected


def test_a_chosen_model_stays_and_tuning_takes_the_problems_of_its_task():
    chosen = EngineFlags(big=("model.gguf",))
    methods = [build("offload")]
    assert chosen.for_task("tunnel", methods) == chosen
    assert EngineFlags().for_task("stories", methods) == EngineFlags()
    task, found = _load("tunnel", None, 5)
    assert (task.name, {one.id for one in found} <= {one.id for one in problems("tuning", "tunnel")}) == ("tunnel", True)
