"""Requests of lm-eval as planned samples: conversations, seeds, sampling and names."""

import pickle
from hashlib import sha256

import pytest
from instances import Instance, ours

from speculative import UsageError
from speculative.evaluate.lm_eval.arguments import read
from speculative.evaluate.lm_eval.requests import Conversation, plan_requests
from speculative.evaluate.tasks import CHOOSE
from speculative.problem import Message


def work_of(*instances, **told):
    return plan_requests(instances, read(told))


def test_repeats_are_the_same_object_and_get_seeds_of_their_own():
    one, other = Instance("a"), Instance("b")
    work, _ = work_of(one, one, other, other, one)
    assert [(item.task_problem.problem, item.epoch) for item in work] == [("a", 0), ("a", 1), ("b", 0), ("b", 1), ("a", 2)]
    seeds = [item.build_problem().seed for item in work]
    assert len(set(seeds)) == 5
    assert seeds == [item.build_problem().seed for item in work_of(one, one, other, other, one)[0]]
    assert seeds != [item.build_problem().seed for item in work_of(one, one, other, other, one, seed=1)[0]]


def test_two_documents_with_one_prompt_are_two_problems():
    one, other = Instance("a", doc_id=0), Instance("a", doc_id=1)
    work, _ = work_of(one, one, other, other)
    assert len({item.key for item in work}) == 4
    assert [(item.doc_id, item.epoch) for item in work] == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_a_problem_of_ours_is_graded_here_and_keeps_its_name():
    ((item,), _) = work_of(ours())
    assert (item.task_problem.id, item.task_problem.task, item.task_problem.kind, item.doc_id) == (
        "aime24-1",
        "aime24_nofigures_agg64",
        "integer",
        4,
    )
    assert item.messages == ()
    assert item.problem.answer_instruction is None
    ((item,), _) = work_of(ours(origin="gpqa_diamond"))
    assert item.problem.answer_instruction == CHOOSE


def test_a_problem_of_theirs_goes_by_the_hash_of_their_log():
    ((item,), _) = work_of(Instance("Question: x\nAnswer:", doc={"question": "x"}, doc_id=7))
    assert item.task_problem.id == sha256(b"Question: x\nAnswer:").hexdigest()
    assert (item.task_problem.kind, item.doc_id) == (None, 7)
    assert item.problem.answer_instruction == ""
    ((item,), _) = work_of(Instance("x"), answer_instruction="Box it.")
    assert item.problem.answer_instruction == "Box it."


def test_a_template_keeps_the_turns():
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Find n."}]
    prompt = Conversation.of(turns)
    assert prompt == "system: Be brief.\n\nuser: Find n."
    for copy in (prompt, pickle.loads(pickle.dumps(prompt))):
        ((item,), _) = work_of(Instance(copy))
        assert item.build_problem().messages == (Message("system", "Be brief."), Message("user", "Find n."))


def test_with_and_without_a_template_a_plain_problem_is_the_same_work():
    (plain,), _ = work_of(ours())
    (turned,), _ = work_of(ours(Conversation.of([{"role": "user", "content": "Find n."}])))
    (told,), _ = work_of(ours(Conversation.of([{"role": "system", "content": "Hm."}, {"role": "user", "content": "Find n."}])))
    assert plain == turned
    assert told.key == plain.key
    assert told.settings != plain.settings


def test_the_beginning_of_a_reply_joins_the_question():
    turns = [{"role": "user", "content": "What is it?"}, {"role": "assistant", "content": "Answer:"}]
    assert Conversation.of(turns).messages == (Message("user", "What is it?\nAnswer:"),)
    assert Conversation.of(turns[1:]).messages == (Message("assistant", "Answer:"),)


@pytest.mark.parametrize(
    ("kwargs", "temperature", "max_tokens", "stop"),
    [
        ({}, 0.6, 8192, ()),
        ({"max_gen_toks": 99}, 0.6, 99, ()),
        ({"max_new_tokens": 98, "max_tokens": 97}, 0.6, 98, ()),
        ({"temperature": 0.9}, 0.9, 8192, ()),
        ({"temperature": 0.9, "do_sample": False}, 0.0, 8192, ()),
        ({"do_sample": True}, 0.6, 8192, ()),
        ({"until": "\n\n"}, 0.6, 8192, ("\n\n",)),
        ({"until": ["Question:", ""]}, 0.6, 8192, ("Question:",)),
        ({"until": None, "temperature": None}, 0.6, 8192, ()),
    ],
)
def test_sampling_of_a_task(kwargs, temperature, max_tokens, stop):
    ((item,), complaints) = work_of(Instance("a", kwargs))
    assert (item.problem.sampling.temperature, item.problem.max_tokens, item.problem.stop) == (temperature, max_tokens, stop)
    assert item.settings["max_tokens"] == max_tokens
    assert not complaints


def test_overridden_arguments_give_one_warning():
    two = Instance("a", {"temperature": 0.0, "max_gen_toks": 9}), Instance("b", {"temperature": 0.0, "max_gen_toks": 9})
    assert work_of(*two)[1] == []
    assert work_of(*two, temperature=0.6, max_tokens=9)[1] == [
        "theirs: its generation_kwargs say temperature=0.0, not the 0.6 of model_args; change it by --gen_kwargs"
    ]
    _, complaints = work_of(Instance("a", {"repetition_penalty": 1.1, "thinking_start": "\n<think>", "thinking_end": "\n</think>"}))
    assert complaints == ["theirs: repetition_penalty of its generation_kwargs is not used"]


@pytest.mark.parametrize(
    ("kwargs", "said"),
    [
        ({"max_gen_toks": 0}, "theirs, document 0: max_tokens must be at least 1, got 0"),
        ({"max_gen_toks": "many"}, "theirs, document 0: max_tokens must be an integer, got 'many'"),
        ({"temperature": -1}, "theirs, document 0: temperature must be at least 0, got -1"),
    ],
)
def test_a_mistake_names_the_task(kwargs, said):
    with pytest.raises(UsageError) as raised:
        work_of(Instance("a", kwargs))
    assert said in str(raised.value)


def test_an_empty_or_invalid_prompt_is_an_error_before_the_run():
    for prompt in ("", "half \ud800"):
        with pytest.raises(UsageError, match="theirs"):
            work_of(Instance(prompt))
