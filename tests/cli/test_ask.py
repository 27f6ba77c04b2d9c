"""`speculative ask`, away from a terminal."""

import json
from subprocess import PIPE

import pytest
from profiles import quick_cases
from scripted_cli import STORY, THOUGHT

from speculative import Trace
from speculative.evaluate.problems import find, problems

KEYS = ["text", "answer", "reasoning", "finish_reason", "method", "params", "seed", "seconds", "trace", "usage", "degraded"]
pytestmark = pytest.mark.usefixtures("scripted")


def test_the_chain_is_shown_with_its_authors_and_its_cost(cli):
    ran = cli("ask", STORY, "--switch-chunk", "20")
    assert ran.code == 0
    assert ran.err == ""
    assert "[big]" in ran.out
    assert "[small]" in ran.out
    assert "answer 174  ✓ right" in ran.out
    assert "discarded" in ran.out
    assert "finish reason stop" in ran.out


def test_no_control_codes_without_a_terminal(cli):
    assert "\x1b" not in cli("ask", STORY).out


def test_json_is_one_object_with_the_published_keys(cli):
    ran = cli("ask", STORY, "--json", "--seed", 7, "--method", "small_only")
    assert ran.out.count("\n") == 1
    told = json.loads(ran.out)
    assert list(told) == KEYS
    assert told["text"] == "The answer is \\boxed{174}."
    assert told["answer"] == "174"
    assert told["reasoning"] == THOUGHT
    assert told["finish_reason"] == "stop"
    assert told["method"] == "small_only"
    assert told["params"] == {"answer_by": "small", "sequential_scale": 0}
    assert told["seed"] == 7
    assert told["trace"]["speculative_trace"] == 3
    assert told["trace"]["events"][0]["event"] == "started"
    assert list(told["usage"]) == ["big", "small"]
    for cost in told["usage"].values():
        assert cost["produced_tokens"] == cost["kept_tokens"] + cost["discarded_tokens"]


@pytest.mark.parametrize("flag", ["--prefill-every", "--warm-every"])
def test_the_old_name_of_prefill_every_still_works(cli, flag):
    problem = json.loads(cli("ask", STORY, "--json", flag, 7).out)["trace"]["events"][0]["problem"]
    assert problem["prefill_every"] == 7


def test_the_same_seed_gives_the_same_chain(cli):
    def told(seed):
        found = json.loads(cli("ask", STORY, "--json", "--seed", seed).out)
        return [event["call"]["role"] for event in found["trace"]["events"] if "call" in event]

    assert told(3) == told(3)
    assert any(told(3) != told(seed) for seed in range(4, 9))


def test_the_default_problem_is_a_bundled_one(cli):
    asked = [json.loads(cli("ask", "--seed", seed, "--json").out)["trace"]["events"][0]["problem"]["messages"] for seed in (1, 1, 2)]
    assert asked[0] == asked[1] != asked[2]
    assert asked[0][-1]["content"] in [stated.problem for stated in problems()]
    shown = cli("ask", "--seed", 1)
    assert shown.out.startswith(asked[0][-1]["content"])
    assert shown.err == ""


@pytest.mark.slow
def test_a_dash_reads_standard_input(process):
    child = process("ask", "-", "--json", stdin=PIPE)
    out, err = child.communicate(f"{STORY}\n".encode())
    assert (child.returncode, err) == (0, b"")
    assert json.loads(out)["trace"]["events"][0]["problem"]["messages"][0]["content"].strip() == STORY


def test_a_boolean_parameter_is_a_flag_and_its_opposite(cli):
    def full(*flags):
        return json.loads(cli("ask", STORY, "--json", "--method", "spec_rewrite", *flags).out)["params"]["full_rewrite"]

    assert [full(), full("--full-rewrite"), full("--no-full-rewrite")] == [False, True, False]


def test_wrappers_go_around_the_method_in_their_order(cli):
    told = json.loads(cli("ask", STORY, "--json", "--with", "vote(ballots=2)", "--with", "early_exit").out)
    assert told["method"] == "early_exit*vote*random_switch"
    assert told["params"]["vote"]["ballots"] == 2


def test_all_limits_reach_the_problem(cli):
    flags = "--temperature 0.1 --top-p 0.5 --top-k 3 --max-tokens 300 --max-produced 200 --max-seconds 9 --answer-instruction Briefly."
    told = json.loads(cli("ask", STORY, "--json", *flags.split()).out)
    asked = told["trace"]["events"][0]["problem"]
    assert asked["sampling"] == {"temperature": 0.1, "top_p": 0.5, "top_k": 3}
    assert (asked["max_tokens"], asked["max_produced"], asked["max_seconds"]) == (300, 200, 9)
    assert asked["answer_instruction"] == "Briefly."


def test_the_trace_is_saved(cli, tmp_path):
    file = tmp_path / "chain.jsonl"
    told = json.loads(cli("ask", STORY, "--json", "--trace", file).out)
    assert Trace.load(file).ledger.text("thinking") == told["reasoning"]


def test_other_problems_are_warned_of_on_the_bundled_pair(cli):
    ran = cli("ask", "What is the capital of France?")
    assert ran.code == 0
    assert "--big" in ran.one_line()
    assert "data-card" in ran.err


@pytest.mark.parametrize("things", ["pens", "apples"])
def test_the_answer_to_a_short_story_is_told_to_mean_nothing(cli, things):
    ran = cli("ask", f"Mia has 82 {things}. She buys 6 boxes with 7 {things} each. How many {things} does Mia have now?")
    assert "in the form and the words of its own" in ran.one_line()
    assert "this answer means nothing" in ran.err
    assert "`speculative problems`" in ran.err


def test_control_characters_of_a_model_do_not_reach_the_terminal(cli, monkeypatch):
    from speculative.testing import ScriptedEngine

    monkeypatch.setattr("speculative.pair.open_engine", lambda *_: ScriptedEngine("\x1b[2Jhello\x07</think>bye"))
    out = cli("ask", STORY).out
    assert "hello" in out
    assert not {"\x1b", "\x07"} & set(out)


def test_a_dash_that_is_a_value_is_not_the_problem(cli):
    asked = json.loads(cli("ask", STORY, "--json", "--answer-instruction", "-").out)["trace"]["events"][0]["problem"]
    assert asked["answer_instruction"] == "-"
    assert asked["messages"][0]["content"] == STORY


@pytest.mark.parametrize("seed", range(6))
def test_the_seed_chooses_an_easy_problem(cli, seed):
    told = json.loads(cli("ask", "--seed", seed, "--json").out)
    stated = find(told["trace"]["events"][0]["problem"]["messages"][0]["content"])
    assert stated.level in (2, 3)


def test_an_answer_is_judged_as_a_comparison_judges_it(cli, monkeypatch):
    from speculative.testing import ScriptedEngine

    monkeypatch.setattr("speculative.pair.open_engine", lambda *_: ScriptedEngine("So.</think>\\boxed{ 174. }"))
    assert "✓ right" in cli("ask", STORY).out


@pytest.mark.parametrize("argv", quick_cases([["problems"], ["problems", "--json"], ["--help"], ["ask", "--help"]]))
def test_a_broken_pipe_is_quiet(process, argv):
    child = process(*argv, real=True)
    child.stdout.close()
    assert child.stderr.read() == b""
    assert child.wait() == 141
