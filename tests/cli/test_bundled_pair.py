"""The command line on the pair that ships."""

import json

import pytest
from easy import EASY

from speculative.cli._flags import EngineFlags
from speculative.cli.tune import _load
from speculative.errors import UsageError
from speculative.evaluate.problems import problems
from speculative.methods.registry import build
from speculative.methods.spec import parse_methods
from speculative.runs.folder import Run

REPLICAS = ("http://localhost:9", "http://localhost:10")


def methods_of(spec):
    return [rival.method for rival in parse_methods(spec)]


@pytest.mark.slow
def test_ask_on_a_bundled_problem(process):
    child = process("ask", "--max-tokens", 60, "--json", real=True)
    out, err = child.communicate()
    assert (child.returncode, err) == (0, b"")
    told = json.loads(out)
    assert told["trace"]["events"][0]["problem"]["messages"][0]["content"] in {stated.problem for stated in problems()}
    assert set(told["usage"]) <= {"big", "small"}


def test_ask_opens_the_small_model_that_asks_where_a_method_needs_it(cli):
    told = json.loads(cli("ask", EASY, "--method", "handoff", "--max-tokens", 40, "--json").out)
    assert told["trace"]["events"][0]["engines"]["small"]["name"] == "bundled:asking"


def test_compare_on_bundled_problems(cli):
    rows = json.loads(
        cli("compare", "--methods", "random_switch,logprob_subselect", "--limit", 2, "--max-tokens", 40, "--no-controls", "--json").out
    )
    assert [row["chains"] for row in rows] == [2, 2]


@pytest.mark.parametrize(
    ("command", "task"),
    [("compare --methods small_only", "tunnel"), ("compare --task stories --methods small_only", "stories"), ("eval tunnel", "tunnel")],
)
def test_the_bundled_pair_runs_both_bundled_tasks(cli, tmp_path, command, task):
    cli(*command.split(), "--limit", 1, "--max-tokens", 40, "--no-controls", "--out", tmp_path / "run")
    (sample,) = Run(tmp_path / "run").samples
    found = {role: sample.settings[role] for role in ("big", "small")}
    assert (sample.task, found) == (task, {"big": "bundled:big", "small": "bundled:small"})


@pytest.mark.parametrize(
    ("methods", "small", "judge"),
    [
        ("random_switch", "bundled:small", ()),
        ("big_only,vote(ballots=3)*handoff", "bundled:asking", ()),
        ("reward_guided", "bundled:small", ("bundled:reward",)),
        ("vote*advantage(mode=oracle)", "bundled:small", ("bundled:reward",)),
    ],
)
def test_methods_get_the_bundled_models_that_they_need(methods, small, judge):
    flags = EngineFlags().for_methods(methods_of(methods))
    assert (flags.big, flags.small, flags.judge) == (("bundled:big",), (small,), judge)


@pytest.mark.parametrize("methods", ["advantage", "reward_guided,vote*advantage"])
def test_no_reward_model_foresees_an_advantage(methods):
    with pytest.raises(UsageError, match="advantage must have a judge that foresees big's advantage, got none"):
        EngineFlags().for_methods(methods_of(methods))
    given = EngineFlags(judge=REPLICAS)
    assert given.for_methods(methods_of(methods)).judge == REPLICAS


@pytest.mark.parametrize(
    "chosen",
    [
        EngineFlags(small=("bundled:small",)),
        EngineFlags(big=("bundled:small",), small=("bundled:small",)),
        EngineFlags(big=("model.gguf",)),
        EngineFlags(small=REPLICAS),
    ],
)
def test_models_that_were_named_stay(chosen):
    assert chosen.for_methods([build("offload")]) == chosen
    assert EngineFlags(small=("bundled:small",), judge=REPLICAS).for_methods([build("reward_guided")]).judge == REPLICAS


def test_a_named_default_of_a_command_line_stays(cli):
    told = json.loads(cli("ask", EASY, "--method", "handoff", "--small", "bundled:small", "--max-tokens", 20, "--json").out)
    assert told["trace"]["events"][0]["engines"]["small"]["name"] == "bundled:small"


def test_nothing_is_added_beside_another_model():
    for flags in (EngineFlags(big=("model.gguf",)), EngineFlags(small=REPLICAS)):
        assert flags.for_methods(methods_of("advantage,reward_guided,offload")) == flags


def test_the_old_names_are_unknown_and_the_new_ones_are_told(cli):
    told = cli("ask", EASY, "--big", "bundled:tunnel-big").one_line()
    assert "unknown engine 'bundled:tunnel-big'; use bundled:big, bundled:small, bundled:asking, bundled:reward, " in told


@pytest.mark.parametrize("name", ["tunnel", "stories"])
def test_tuning_takes_the_tuning_problems_of_its_task(name):
    task, found = _load(name, None, 5)
    assert task.name == name
    assert {one.id for one in found} <= {one.id for one in problems("tuning", name)}
    assert _load(None, None, 5)[0].name == "tunnel"
