"""What cannot be honoured is refused by name; what asks for nothing is not."""

import json

import pytest
from fastapi.exceptions import RequestValidationError
from serving import ASK, pair, serving

from speculative.serve import unsupported as declined
from speculative.serve.errors import Refusal
from speculative.serve.request import Jobs
from speculative.serve.route import read
from speculative.serve.schemas import ChatRequest, CompletionRequest
from speculative.settings import Settings

REFUSED = [
    ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
    ({"tool_choice": "required"}, "tool_choice"),
    ({"response_format": {"type": "json_object"}}, "response_format"),
    ({"presence_penalty": 0.5}, "presence_penalty"),
    ({"logprobs": True}, "logprobs"),
    ({"logit_bias": {"5": 1}}, "logit_bias"),
    ({"reasoning_effort": "high"}, "reasoning_effort"),
    ({"store": True}, "store"),
    ({"chat_template_kwargs": {}}, "chat_template_kwargs"),
    ({"n": 0}, "n"),
    ({"n": 99}, "n"),
    ({"n": True}, "n"),
    ({"temperature": 3}, "temperature"),
    ({"temperature": "hot"}, "temperature"),
    ({"top_p": 0}, "top_p"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_tokens": 10**9}, "max_tokens"),
    ({"max_tokens": 5, "max_completion_tokens": 6}, "max_completion_tokens"),
    ({"max_produced": 10**12}, "max_produced"),
    ({"max_seconds": 10**12}, "max_seconds"),
    ({"seed": 2**63}, "seed"),
    ({"stop": [""]}, "stop"),
    ({"stop": ["x"] * 99}, "stop"),
    ({"stream_options": {"include_usage": True}}, "stream_options"),
    ({"stream": True, "stream_options": {"include_obfuscation": True}}, "include_obfuscation"),
    ({"messages": []}, "messages"),
    ({"messages": [{"role": "user", "content": " "}]}, "empty"),
    ({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}, "last"),
    ({"messages": [{"role": "tool", "content": "a"}]}, "role"),
    ({"messages": [{"role": "user"}]}, "content"),
    ({"messages": [{"role": "user", "content": "a", "name": "bob"}]}, "messages[0].name"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}, "content"),
    ({"messages": [{"role": "user", "content": "a\ud800"}]}, "messages"),
    ({"params": {"switch_chunk": 0}}, "switch_chunk"),
    ({"params": {"switch_chunk": 10**9}}, "switch_chunk"),
    ({"params": {"switch_chnk": 4}}, "did you mean 'switch_chunk'"),
    ({"params": {"switch_chnk\ud800": 4}}, "params"),
    ({"user": "é" * 257}, "at most 256 characters"),
    ({"stop": ""}, "at least 1 character"),
    ({"stop": "\ud800"}, "stop"),
    ({"with": "\ud800"}, "with"),
    ({"user": "\ud800"}, "user"),
    ({"with": ["vote(ballots=999999999)"]}, "ballots"),
    ({"with": ["vot"]}, "did you mean 'vote'"),
    ({"with": ["./mine.py:Mine"]}, "unknown wrapper"),
    ({"with": ["vote"] * 9}, "with"),
    ({"model": "speculative", "method": "./mine.py:Mine"}, "unknown method"),
    ({"method": "big_only"}, "contradicts"),
]

HARMLESS = {
    "n": 1,
    "tools": [],
    "tool_choice": "none",
    "response_format": {"type": "text"},
    "presence_penalty": 0,
    "frequency_penalty": 0.0,
    "logit_bias": {},
    "logprobs": False,
    "top_logprobs": 0,
    "store": False,
    "stop": None,
    "reasoning_effort": None,
    "service_tier": "auto",
    "parallel_tool_calls": True,
    "modalities": ["text"],
    "functions": None,
    "top_k": -1,
    "stream_options": None,
    "method": "random_switch",
    "with": [],
    "params": {},
    "metadata": {"a": "b"},
}


def nudged(change):
    return {**ASK, **change}


@pytest.mark.parametrize(("change", "named"), REFUSED, ids=[named + str(number) for number, (_, named) in enumerate(REFUSED)])
def test_refused_by_name(served, change, named):
    reply = served.post(content=json.dumps(nudged(change)).encode(), headers={"content-type": "application/json"})
    assert reply.status_code == 400
    error = reply.json()["error"]
    assert named in error["message"]
    assert error["type"] == "invalid_request_error"
    assert "\n" not in error["message"]


@pytest.mark.parametrize("field", sorted(declined.HARMLESS))
def test_every_field_that_would_change_the_reply_is_refused(served, field):
    reply = served.post(json=nudged({field: {"un": "heard"}}))
    assert reply.status_code == 400
    assert reply.json()["error"]["param"] == field
    assert "leave it out" in reply.json()["error"]["message"]


def test_harmless_values_are_taken_and_hints_told(served):
    reply = served.post(json=nudged(HARMLESS))
    assert reply.status_code == 200, reply.text
    assert reply.json()["speculative"]["ignored"] == ["metadata"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"prompt": [1, 2, 3]}, "prompt"),
        ({"prompt": ""}, "empty"),
        ({"prompt": []}, "prompt"),
        ({}, "prompt"),
        ({"prompt": "a", "echo": True}, "echo"),
        ({"prompt": "a", "best_of": 3}, "best_of"),
        ({"prompt": "a", "logprobs": 0}, "logprobs"),
        ({"prompt": "a", "suffix": "b"}, "suffix"),
        ({"prompt": "a", "answer_instruction": "b"}, "answer_instruction"),
        ({"prompt": ["a"] * 99}, "99"),
    ],
)
def test_completions_refuse_as_well(served, change, named):
    reply = served.post("/v1/completions", {"model": "speculative", **change})
    assert reply.status_code == 400
    assert named in reply.json()["error"]["message"]


def test_unknown_model_is_not_found(served):
    for model in ("gpt-4", "speculative/gpt-4", "./mine.py:Mine", "speculative/../x"):
        reply = served.post(json=nudged({"model": model}))
        assert (reply.status_code, reply.json()["error"]["code"]) == (404, "model_not_found")


def test_bodies_that_are_none(served):
    for content, kind, told in (
        (b"{", "application/json", "Expecting property name enclosed in double quotes at character 1"),
        (b"[1]", "application/json", "body: input should be an object"),
        (b"null", "application/json", "body: input should be an object"),
        (b'{"messages": ["a"]}', "application/json", "messages.0: input should be an object"),
        (b"", "application/json", "Expecting value at character 0"),
        (b'{"a": "\xff"}', "application/json", "no utf-8, invalid start byte at character 7"),
        (b"[" * 100_000, "application/json", "nested too deep"),
        (b'{"seed": ' + b"9" * 5000 + b"}", "application/json", "too many digits"),
        (b"{]", "application/vnd.ours+json; charset=utf-8", "at character 1"),
    ):
        reply = served.post(content=content, headers={"content-type": kind})
        assert reply.status_code == 400
        assert told in reply.json()["error"]["message"]


def test_a_body_that_is_not_said_to_be_json_is_told_how(served):
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        reply = served.post(content=json.dumps(ASK).encode(), headers={"content-type": kind})
        assert reply.status_code == 415
        assert "`Content-Type: application/json`" in reply.json()["error"]["message"]


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"stop": ["a"] * 100}, "stop"),
        ({"stop": ""}, "stop"),
        ({"stop": ["a", 5]}, "stop.1"),
        ({"with": ["vote"] * 5}, "with"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages.0.content.0.type"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages.0.content"),
        ({"answer_instruction": False}, "answer_instruction"),
    ],
)
def test_an_error_names_the_place_and_nothing_of_ours(served, change, place):
    reply = served.post(content=json.dumps(nudged(change)).encode(), headers={"content-type": "application/json"})
    error = reply.json()["error"]
    assert (reply.status_code, error["param"]) == (400, place)
    assert error["message"].startswith(f"{place}: ")
    assert not any(word in error["message"] for word in ("function", "0x", "Value error", "list["))


def test_other_paths_and_verbs(served):
    assert served.get("/v1/nothing").status_code == 404
    assert served.get("/v1/chat/completions").status_code == 405
    assert served.post("/shutdown", {}).status_code == 404
    assert "error" in served.get("/v1/nothing").json()


def test_a_prompt_that_does_not_fit_and_a_method_that_the_pair_cannot_serve():
    with serving(pair(context=40)) as served:
        for stream in (False, True):
            reply = served.post(json=nudged({"stream": stream, "messages": [{"role": "user", "content": "x" * 200}]}))
            assert (reply.status_code, reply.json()["error"]["code"]) == (400, "context_length_exceeded")
    with serving(pair(abilities=frozenset({"continue", "stream"}))) as served:
        reply = served.post(json=nudged({"model": "speculative/logprob_subselect"}))
        assert reply.status_code == 400
        assert "needs" in reply.json()["error"]["message"]
        assert "speculative/logprob_subselect" not in served.get("/v1/models").text


MANY = 100
BAD = [1, {}, None, [], {"role": "user", "content": [1] * MANY}, {"role": "user", "content": [{"type": "text"}] * MANY}]


@pytest.mark.parametrize("bad", BAD, ids=range(len(BAD)))
@pytest.mark.parametrize("field", ["messages", "stop", "with", "prompt"])
def test_a_body_with_much_that_is_wrong_is_not_told_all_of_it(field, bad):
    """A body of 4 MB can be wrong in two million places, of each of which an error would be made."""
    model = CompletionRequest if field == "prompt" else ChatRequest
    body = {**ASK, "prompt": "Once", field: [bad] * MANY}
    with pytest.raises(RequestValidationError) as raised:
        read(model, json.dumps(body).encode(), "application/json")
    assert len(raised.value.errors()) < 10


def test_more_prompts_than_the_service_takes_become_no_problems(monkeypatch):
    made = []
    monkeypatch.setattr(Jobs, "_problem", lambda *_, **__: made.append(1))
    with pytest.raises(Refusal, match="n: 100 chains are too many"):
        Jobs(Settings()).completion(CompletionRequest.model_validate({"prompt": ["a"] * MANY}))
    assert not made
