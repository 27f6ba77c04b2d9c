"""The first library's service: its client's requests, word for word, and what it reads of the replies."""

import json

import pytest
from serving import ANSWER, TEXT, THOUGHT, pair, serving

from speculative.splitreason.service import MODES, SplitReasonService

PAYLOAD = {
    "question": "How many r's in strawberry?",
    "thinking_n_ignore": 2,
    "drafting_n": 1,
    "full_rewrite": False,
    "small_first": False,
    "placeholder_mode": False,
    "logprob_subselect": False,
    "sgen": 4,
    "stok": 16,
    "sdecay": 2,
    "ltok": 0,
    "lbound": 4,
    "max_iterations": 10,
    "bloat_tokens": 0,
    "max_tokens": 16384,
    "terminating_string": r"\nPut your final answer within \boxed{}.",
    "test_logging": False,
    "draft_propose_ignore_str": False,
    "service_script_path": "./spec_service.py",
    "do_sample": False,
}


@pytest.fixture(scope="module")
def service():
    with serving(pair(), splitreason=SplitReasonService(shutdown=True)) as running:
        yield running


def reason(service, **fields):
    return service.post("/speculative_reason", {**PAYLOAD, **fields})


def test_ping(service):
    reply = service.get("/ping")
    assert (reply.status_code, reply.json()) == (200, {"message": "pong"})


@pytest.mark.parametrize("mode", MODES)
def test_every_mode(service, mode):
    reply = reason(service, **{mode: True})
    assert reply.status_code == 200, reply.text
    found = reply.json()
    assert found["final_answer"] == ANSWER
    for record in found["usage_records"]:
        assert {"Model", "ThinkIter", "DraftVersion", "PromptTokens", "CompletionTokens", "Latency"} <= record.keys()
    assert sum(record["CompletionTokens"] for record in found["usage_records"]) > 0
    assert found["speculative"]["method"] == MODES[mode]
    both = [record for record in found["usage_records"] if "ModelSmall" in record]
    assert [(record["Model"], record["ModelSmall"]) for record in both] == ([("B", "S")] if mode == "placeholder_mode" else [])


def test_spec_reason_lets_big_write_what_small_marks():
    whole = "Easy. <bigmodel>Hard.\n\n</bigmodel>Easy.</think>\n\n4"
    with serving(pair(whole), splitreason=SplitReasonService(mode="spec_reason")) as service:
        for mode in ({"spec_reason": True, "sgen": 4, "max_iterations": 10}, {}):  # its client sends the keys of all modes
            found = service.post("/speculative_reason", {"question": "2 + 2?", "probe_tokens": 20, **mode}).json()
            assert (found["final_answer"], found["speculative"]["method"]) == ("4", "offload")
            assert [record["Model"] for record in found["usage_records"]] == ["S", "B", "S", "S", "B"]
        assert "Mark the hard steps." in service.engines["small"].calls[0][1]


def test_the_first_true_mode_wins_and_parameters_arrive(service):
    found = reason(service, random_switch=True, switch_chunk=4, switch_ratio=3).json()["speculative"]
    assert (found["params"]["switch_chunk"], found["params"]["switch_ratio"]) == (4, 3)
    assert reason(service, random_switch=True, placeholder_mode=True).json()["speculative"]["method"] == "placeholder"


def test_the_instruction_joins_the_question(service):
    for engine in service.engines.values():
        engine.calls.clear()
    reason(service, big_model_only=True)
    assert "strawberry?\nPut your final answer within \\boxed{}.<|im_end|>" in service.engines["big"].calls[0][1]


def test_a_question_in_the_models_own_template_is_taken_as_it_is(service):
    own = "<|im_start|>user\n2 + 2?<|im_end|>\n<|im_start|>assistant\n"
    for question, seen in (
        (own, f"{own}<think>\n"),
        (f"{own}<think>\n", f"{own}<think>\n"),
        (f"Say: {own}", f"<|im_start|>user\nSay: {own}<|im_end|>\n<|im_start|>assistant\n<think>\n"),
    ):
        for engine in service.engines.values():
            engine.calls.clear()
        found = reason(service, question=question, big_model_only=True, terminating_string="").json()
        assert found["final_answer"] == ANSWER
        assert service.engines["big"].calls[0][1] == seen
    big = service.engines["big"].tokenizer
    assert big.special_token_id("<|im_end|>") not in big.encode(own)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"question": None}, "Missing 'question' in JSON payload"),
        ({}, "Invalid mode specified in JSON payload"),
        ({"spec_reason_perf": True}, "Invalid mode specified in JSON payload"),
        ({"random_switch": True, "question": ""}, "empty"),
        ({"random_switch": True, "question": 5}, "question"),
        ({"random_switch": True, "temperature": "hot"}, "temperature"),
        ({"random_switch": True, "temperature": -1}, "temperature"),
        ({"random_switch": True, "max_tokens": 10**9}, "max_tokens"),
        ({"random_switch": True, "switch_chunk": 0}, "switch_chunk"),
        ({"logprob_subselect": True, "sgen": 10**9}, "sgen"),
        ({"random_switch": True, "terminating_string": 5}, "terminating_string"),
        ({"random_switch": True, "terminating_string": "\ud800"}, "Unicode"),
    ],
)
def test_errors_are_one_plain_line(service, fields, told):
    body = json.dumps({**PAYLOAD, **fields}).encode()
    reply = service.post("/speculative_reason", content=body, headers={"content-type": "application/json"})
    assert reply.status_code == 400
    assert told in reply.json()["error"]


def test_defaults_come_from_the_services_flags():
    with serving(pair(), splitreason=SplitReasonService({"switch_chunk": 8, "seed": 4}, "random_switch", 999)) as service:
        found = service.post("/speculative_reason", {"question": "2 + 2?"}).json()
        assert found["speculative"]["params"]["switch_chunk"] == 8
        assert found["speculative"]["seed"] == 4
        assert service.post("/shutdown", {}).status_code == 404


def test_shutdown_is_for_programs_on_this_machine():
    with serving(pair(TEXT), splitreason=SplitReasonService(shutdown=True)) as service:
        for header in ("origin", "sec-fetch-site"):
            assert service.post("/shutdown", {}, headers={header: "https://page.example"}).status_code == 403
        assert service.get("/ping").status_code == 200
        assert service.post("/shutdown", {}).text == "Shutting down..."
        service.wait(lambda: service.server.should_exit)


def test_the_prompt_and_the_thinking_are_not_in_the_answer(service):
    found = reason(service, logprob_subselect=True).json()["final_answer"]
    assert THOUGHT not in found
    assert "strawberry" not in found
