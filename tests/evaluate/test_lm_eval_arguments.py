"""Arguments of `--model_args`, in our names and in those of SplitReason's harness class."""

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speculative import Problem, UsageError
from speculative.evaluate.lm_eval.arguments import CHAINS, read
from speculative.methods.spec import parse_method
from speculative.splitreason.lm_eval import KNOWN, translate_arguments
from speculative.splitreason.modes import MODES

SEED = {
    "service_script_path": "./spec_service.py",
    "pretrained": "meta-llama/Llama-2-7b-chat-hf",
    "big_model": "org/big",
    "big_model_port": 8000,
    "big_model_gpus": "1|2",
    "small_model": "org/small",
    "small_model_port": 8001,
    "small_model_gpus": 0,
    "max_tokens": 16384,
    "stok": 512,
    "sgen": 16,
    "sdecay": 2,
    "ltok": 32,
    "lbound": 2,
    "logprob_subselect": True,
}
"""The arguments of a command in its `eval_script.sh`, as lm-eval reads them."""


def test_default_arguments_are_the_bundled_pair():
    asked = read({})
    assert (asked.spec.label, asked.specs, asked.chains) == (
        "random_switch",
        {"big": "bundled:big", "small": "bundled:small"},
        CHAINS,
    )
    assert asked.settings(asked.problem) == {
        **{name: value for name, value in asked.settings(asked.problem).items() if name not in ("big", "small")},
        "big": "bundled:big",
        "small": "bundled:small",
    }
    assert asked.settings(asked.problem)["sampling"] == {"temperature": 0.6, "top_p": 0.95, "top_k": 0}


def test_methods_engines_and_limits():
    asked = read(
        {
            "method": "random_switch",
            "switch_ratio": 4,
            "with": "early_exit|vote(ballots=3)",
            "big": "http://one/v1|http://two/v1",
            "big_model": "org/name",
            "small_gpus": "0|1",
            "small_port": 8001,
            "small_args": "--max-model-len 8192",
            "judge": "http://judge/v1",
            "vllm": "/opt/python",
            "seed": 7,
            "max_tokens": 100,
            "temperature": 0,
            "answer_instruction": "Say it| in a box.",
            "chains": 3,
            "out": "~/run",
            "data": "somewhere",
            "pretrained": "a name",
            "trust_remote_code": True,
        },
        batch_size="auto",
    )
    assert asked.specs == {"big": ("http://one/v1", "http://two/v1"), "small": "bundled:small", "judge": "http://judge/v1"}
    assert asked.options["big"].model == "org/name"
    assert (asked.options["small"].gpus, asked.options["small"].port, asked.options["small"].vllm) == ("0,1", 8001, "/opt/python")
    assert asked.options["small"].args == "--max-model-len 8192"
    assert (asked.problem.seed, asked.problem.max_tokens, asked.problem.sampling.temperature) == (7, 100, 0)
    assert asked.problem.answer_instruction == "Say it, in a box."
    assert (asked.chains, asked.out) == (3, Path("~/run").expanduser())
    assert asked.spec.label == "vote(ballots=3)*early_exit*random_switch(switch_ratio=4)"
    assert parse_method(asked.spec.label).method == asked.spec.method


@pytest.mark.parametrize(("batch_size", "chains"), [(None, CHAINS), (1, CHAINS), ("auto", CHAINS), ("auto:4", CHAINS), (5, 5), ("5", 5)])
def test_a_batch_size_is_chains_at_once(batch_size, chains):
    assert read({}, batch_size).chains == chains
    assert read({"chains": 2}, batch_size).chains == 2


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"swich_ratio": 4}, "unknown model argument 'swich_ratio'; did you mean 'switch_ratio'"),
        ({"method": "big_onl"}, "unknown method 'big_onl'; did you mean 'big_only'"),
        ({"switch_ratio": "many"}, "random_switch: switch_ratio must be a number, got 'many'"),
        ({"with": "early"}, "unknown wrapper 'early'"),
        ({"temperature": "hot"}, "temperature must be a number, got 'hot'"),
        ({"max_tokens": 0}, "max_tokens must be at least 1, got 0"),
        ({"chains": 0}, "chains must be an integer of at least 1, got 0"),
        ({"chains": True}, "chains must be an integer of at least 1, got True"),
        ({"big_port": "x"}, "big_port must be an integer"),
        ({"big_key": "secret"}, "set SPECULATIVE_BIG_KEY in the environment"),
        ({"service": "http://localhost:8080"}, "--model local-chat-completions --model_args base_url=http://HOST:8080/v1/chat/completions"),
    ],
)
def test_a_mistake_is_named(told, said):
    with pytest.raises(UsageError) as raised:
        read(told)
    assert said in str(raised.value)
    assert "secret" not in str(raised.value)


def test_settings_leave_out_the_text_and_the_seed():
    asked = read({"switch_ratio": 2})
    assert asked.settings(Problem.of("x", seed=1)) == asked.settings(Problem.of("y", seed=2))


def test_the_command_of_splitreason_is_read():
    ours, unused = translate_arguments(SEED)
    asked = read(ours)
    assert unused == ["service_script_path"]
    assert asked.specs == {"big": "org/big", "small": "org/small"}
    assert (asked.options["big"].gpus, asked.options["big"].port) == ("1,2", 8000)
    assert (asked.options["small"].gpus, asked.options["small"].port) == ("0", 8001)
    taken = {"sgen": 16, "stok": 512, "sdecay": 2, "ltok": 32, "lbound": 2}
    assert asked.spec.params == {**taken, "max_iterations": 10, "answer_by": "big"}
    assert asked.problem.max_tokens == 16384


@pytest.mark.parametrize(("mode", "method"), MODES.items())
def test_every_mode_with_the_keys_of_all_others(mode, method):
    told = {name: value for name, value in SEED.items() if name != "logprob_subselect"}
    ours, _ = translate_arguments({**told, "switch_ratio": 4, "switch_chunk": 32, "thinking_n_ignore": 1, "full_rewrite": True, mode: True})
    assert read(ours).spec.name == method


def test_its_defaults():
    (subselect, _), (switch, _), (rewrite, _) = (
        translate_arguments({mode: True}) for mode in ("logprob_subselect", "random_switch", "spec_rewrite")
    )
    assert read(subselect).spec.params["sgen"] == 256
    assert read(switch).spec.label == "random_switch"
    assert read(rewrite).spec.params["thinking_n_ignore"] == 2
    assert read(switch).problem.max_tokens == 16384
    assert read(translate_arguments({"random_switch": True, "max_gen_toks": 512})[0]).problem.max_tokens == 512
    assert read(translate_arguments({"logprob_subselect": True, "ltok": 0})[0]).spec.params["ltok"] == 16


def test_servers_keep_running_on_demand():
    assert not read({}).options["big"].keep
    assert read({"terminate_on_exit": False}).options["big"].keep
    ours, unused = translate_arguments({"random_switch": True, "terminate_on_exit": False})
    assert (read(ours).options["small"].keep, unused) == (True, [])


def test_its_ending_of_the_problem_has_a_real_new_line():
    ours, _ = translate_arguments({"random_switch": True, "terminating_string": r"\n Put your final answer within \boxed{}."})
    assert read(ours).problem.answer_instruction == r"Put your final answer within \boxed{}."
    assert read(translate_arguments({"random_switch": True})[0]).problem.answer_instruction is None


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({}, "no mode is True; name one, as in random_switch=True (known: placeholder_mode"),
        ({"random_switch": False}, "no mode is True"),
        ({"random_switch": True, "spec_rewrite": True}, "spec_rewrite and random_switch are True, it must be one mode"),
        ({"spec_reason_perf": True}, "spec_reason_perf has no counterpart here; name one of placeholder_mode"),
        ({"random_switch": True, "swich_chunk": 4}, "unknown model argument 'swich_chunk'; did you mean 'switch_chunk'"),
        ({"random_switch": True, "max_length": 1, "max_model_len": 2}, "max_length and max_model_len: give one of them"),
        ({"random_switch": True, "service": "http://localhost:8080"}, "--model local-chat-completions"),
        ({"random_switch": True, "terminating_string": 3}, "terminating_string must be a text, got '3'"),
    ],
)
def test_its_mistakes_are_named(told, said):
    with pytest.raises(UsageError) as raised:
        translate_arguments(told)
    assert said in str(raised.value)


@given(st.dictionaries(st.sampled_from(KNOWN) | st.text(max_size=8), st.none() | st.booleans() | st.integers() | st.text(max_size=8)))
def test_any_arguments_are_read_or_give_a_usage_error(told):
    for asked in (lambda: read(translate_arguments(told)[0]), lambda: read(told)):
        with suppress(UsageError):
            asked()
