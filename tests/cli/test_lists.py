"""`speculative methods`, `speculative problems`, `--help` and `--version`."""

import json
from itertools import pairwise

import pytest

from speculative import __version__
from speculative.methods.registry import names

SIX = ["big_only", "logprob_subselect", "placeholder", "random_switch", "small_only", "spec_rewrite"]


def test_methods_lists_methods_and_wrappers(cli):
    told = cli("methods").out
    assert all(name in told for name in [*SIX, "vote", "early_exit"])


def test_methods_as_json_have_their_schemas(cli):
    told = {kind["name"]: kind for kind in json.loads(cli("methods", "--json").out)}
    assert set(told) == {*names(), *names(wrappers=True)}
    assert told["vote"]["wrapper"]
    assert "inner" not in told["vote"]["schema"]["properties"]
    assert told["big_only"]["aliases"] == ["big_model_only"]
    assert told["logprob_subselect"]["needs"] == {"big": ["logprobs"]}
    assert told["random_switch"]["schema"]["properties"]["switch_chunk"]["minimum"] == 1
    assert not told["spec_rewrite"]["append_only"]


@pytest.mark.parametrize("name", ["random_switch", "random-switch", "big_model_only", "vote"])
def test_one_method_is_described(cli, name):
    ran = cli("methods", name)
    assert ran.code == 0
    assert "answer_by" in ran.out
    assert "big | small" in ran.out


def test_a_description_fills_the_lines_of_the_terminal(cli):
    """The line ends of the source would leave a word or two on a line of their own."""
    told = cli("methods", "vote").out
    assert "\nmean of the probabilities of the tokens of its thinking, each by its own writer.\n\nWith" in told
    assert "\nSource: self-consistency" in told


@pytest.mark.parametrize(("command", "sentence"), [("plan", "Predictions are held against"), ("eval", "Run methods on benchmarks")])
def test_a_help_text_fills_the_lines_of_the_terminal(cli, command, sentence, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    told = cli(command, "--help").out
    assert sentence in " ".join(told.split())
    paragraphs = told.partition("╭─")[0].strip().split("\n\n")
    short = [line for part in paragraphs for line, after in pairwise(part.splitlines()) if len(line) + 1 + len(after.split()[0]) <= 80]
    assert not short


def test_problems_are_listed(cli):
    told = json.loads(cli("problems", "--json").out)
    assert len(told) == 500
    assert list(told[0]) == ["id", "problem", "answer", "level", "task", "kind"]
    assert cli("problems", "--limit", 3, "--json").out == cli("problems", "--n", 3, "--json").out


def test_problems_by_level_number_set_and_seed(cli):
    def listed(*flags):
        return json.loads(cli("problems", "--json", *flags).out)

    assert {stated["level"] for stated in listed("--level", 4)} == {4}
    assert len(listed("--n", 7)) == 7
    assert listed("--n", 7, "--seed", 1) == listed("--n", 7, "--seed", 1) != listed("--n", 7, "--seed", 2)
    assert not {stated["id"] for stated in listed()} & {stated["id"] for stated in listed("--set", "tuning")}


def test_help_names_all_commands(cli):
    for argv in (["--help"], []):
        told = cli(*argv).out
        assert all(name in told for name in ["ask", "compare", "methods", "problems", "show", "--version"])


def test_help_imports_nothing_heavy(process):
    child = process("--help", real=True, PYTHONPROFILEIMPORTTIME="1")
    out, err = child.communicate()
    assert (child.returncode, b"Usage: speculative" in out) == (0, True)
    imported = {line.rpartition(b"|")[2].strip() for line in err.splitlines()}
    assert b"cyclopts" in imported
    assert not imported & {b"numpy", b"pydantic", b"onnxruntime", b"speculative.runner", b"speculative.engines.local"}


def test_defaults_are_in_the_help_of_ask(cli):
    told = " ".join(cli("ask", "--help").out.replace("│", " ").split())
    assert "--temperature FLOAT sampling temperature; 0 is greedy [default: 0.6]" in told
    assert "[default: 0.95]" in told
    assert "[default: bundled:big]" in told
    assert "[default: bundled:small, or bundled:asking beside bundled:big where" in told


def test_version(cli):
    assert cli("--version").out.strip() == __version__


def test_help_quotes_names_and_keys(cli):
    told = " ".join(cli("ask", "--help").out.replace("│", " ").split())
    assert "a method of `speculative methods`" in told
    assert "SPECULATIVE_SMALL_KEY" in told.partition("--small-key")[2][:150]
    assert "levels 2 and 3" in told
