"""What cannot be honoured is refused by name; what asks for nothing is not."""

import json

import pytest
from serving import ASK, pair, serving

from speculative.serve import body as body_reader
from speculative.serve.body import parse_body
from speculative.serve.errors import ApiError, validation_error
from speculative.serve.request import RequestReader
from speculative.serve.schemas import ChatRequest, CompletionRequest
from speculative.serve.unsupported import NEUTRAL
from speculative.settings import Settings

REFUSED = [
    ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
    ({"tool_choice": "required"}, "tool_choice"),
    ({"response_format": {"type": "json_object"}}, "response_format"),
    ({"presence_penalty": 0.5}, "presence_penalty"),
    ({"logprobs": True}, "logprobs"),
    ({"logit_bias": {"5": 1}}, "logit_bias"),
    ({"reasoning_effort": "none"}, "reasoning_effort"),
    ({"reasoning_effort": "much"}, "reasoning_effort"),
    ({"thinking_budget": 0}, "thinking_budget"),
    ({"thinking_budget": 5, "reasoning_effort": "low"}, "give one of them"),
    ({"thinking": False}, "thinking: false cannot be honoured: the thinking cannot be switched off"),
    ({"thinking": {"type": "disabled"}}, "thinking.type: the thinking cannot be switched off; leave it out"),
    ({"thinking": {"type": "off"}}, "thinking.type must be 'enabled', 'adaptive' or 'disabled', got 'off'"),
    ({"thinking": "off"}, "thinking must be true, false or an object, got 'off'"),
    ({"thinking": {"budget_tokens": 0}}, "thinking.budget_tokens: the thinking cannot be switched off"),
    ({"reasoning": {"max_tokens": 0}}, "reasoning.max_tokens: the thinking cannot be switched off"),
    ({"thinking": {"type": "enabled", "depth": 3}}, "thinking.depth"),
    ({"reasoning": {"effort": "none"}}, "reasoning.effort: the thinking cannot be switched off"),
    ({"reasoning": {"effort": "low", "max_tokens": 5}}, "reasoning.max_tokens and reasoning.effort: both limit"),
    ({"reasoning": {"exclude": True}}, "reasoning.exclude: true cannot be honoured: the reasoning is always in the reply"),
    ({"reasoning": {"enabled": False}}, "reasoning.enabled"),
    ({"extra_body": {"seed": 3}}, "extra_body"),
    ({"functions": [{"name": "f"}]}, "functions"),
    ({"functions": [{"name": "f"}], "function_call": "auto"}, "functions"),
    ({"enable_thinking": False}, "enable_thinking: false cannot be honoured: the thinking cannot be switched off"),
    ({"chat_template_kwargs": {"enable_thinking": False}}, "chat_template_kwargs.enable_thinking"),
    ({"chat_template_kwargs": {"style": "short"}}, "chat_template_kwargs.style"),
    ({"chat_template_kwargs": "short"}, "chat_template_kwargs must be an object, got 'short'"),
    ({"include_reasoning": False}, "include_reasoning"),
    ({"separate_reasoning": False}, "separate_reasoning"),
    ({"add_generation_prompt": False}, "add_generation_prompt"),
    ({"continue_final_message": True}, "continue_final_message"),
    ({"stop_token_ids": [5]}, "stop_token_ids"),
    ({"tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "auto"}, "tools"),
    ({"presence_penalty": False}, "presence_penalty"),
    ({"logprobs": 0}, "logprobs"),
    ({"store": True}, "send the earlier turns with each request"),
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
    ({"messages": [{"role": "user", "content": "a", "tone": "kind"}]}, "messages[0].tone"),
    ({"messages": [{"role": "user", "content": [{"type": "text", "text": "a", "tone": "kind"}]}]}, "messages[0].content[0].tone"),
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
    "chat_template_kwargs": {"enable_thinking": True},
    "include_reasoning": True,
    "separate_reasoning": True,
    "add_generation_prompt": True,
    "continue_final_message": False,
    "stop_token_ids": [],
    "extra_body": {},
    "thinking": {"type": "enabled"},
    "reasoning": {"enabled": True, "exclude": False},
    "function_call": "none",
}
HINTS = {
    "cache_prompt": True,
    "session_id": "s",
    "prompt_cache_retention": "24h",
    "tools": [{"type": "function", "function": {"name": "f"}}],
    "tool_choice": "none",
    "functions": [{"name": "f"}],
    "function_call": "none",
    "messages": [
        {"role": "system", "content": "Be brief.", "name": "host"},
        {"role": "user", "content": "1 + 1?", "name": "bob"},
        {"role": "assistant", "content": "2", "id": "a", "reasoning": "1 and 1", "reasoning_details": [{"type": "reasoning.text"}]},
        {"role": "user", "content": [{"type": "text", "text": "2 + 2?", "cache_control": {"type": "ephemeral"}}]},
    ],
}


def nudged(change):
    return {**ASK, **change}


@pytest.mark.parametrize(("change", "named"), REFUSED, ids=[named + str(number) for number, (_, named) in enumerate(REFUSED)])
def test_unsupported_values_are_refused_by_name(served, change, named):
    reply = served.post(content=json.dumps(nudged(change)).encode(), headers={"content-type": "application/json"})
    assert reply.status_code == 400
    error = reply.json()["error"]
    assert named in error["message"]
    assert error["type"] == "invalid_request_error"
    assert "\n" not in error["message"]


@pytest.mark.parametrize("field", sorted(NEUTRAL))
def test_every_field_that_would_change_the_reply_is_refused(served, field):
    reply = served.post(json=nudged({field: {"un": "heard"}}))
    assert reply.status_code == 400
    assert reply.json()["error"]["param"].partition(".")[0] == field
    assert "leave it out" in reply.json()["error"]["message"]


def test_harmless_values_are_accepted(served):
    reply = served.post(json=nudged(HARMLESS))
    assert reply.status_code == 200, reply.text
    assert reply.json()["speculative"]["ignored"] == ["metadata"]


@pytest.mark.parametrize("stream", [False, True])
def test_fields_that_change_nothing_are_listed_as_ignored(served, stream):
    reply = served.post(json=nudged({**HINTS, "stream": stream}))
    assert reply.status_code == 200, reply.text
    last = [json.loads(line[6:]) for line in reply.text.splitlines() if line.startswith("data: {")][-1] if stream else reply.json()
    assert sorted(last["speculative"]["ignored"]) == [
        "cache_prompt",
        "functions",
        "messages.content.cache_control",
        "messages.id",
        "messages.name",
        "messages.reasoning_details",
        "prompt_cache_retention",
        "session_id",
        "tools",
    ]


def test_unsupported_fields_can_be_dropped():
    """One setting turns each refusal of a field into an ignored field; wrong values of supported fields stay refused."""
    fields = {"tools": [{"type": "function"}], "response_format": {"type": "json_object"}, "frobnicate": 5, "logprobs": True}
    with serving(drop_params=True) as served:
        messages = [{"role": "user", "content": "2 + 2?", "tone": "kind"}]
        reply = served.post(json=nudged({**fields, "messages": messages, "stream_options": {"include_usage": True}}))
        assert reply.status_code == 200, reply.text
        assert sorted(reply.json()["speculative"]["ignored"]) == sorted([*fields, "messages.tone", "stream_options"])
        assert served.post(json=nudged({"temperature": 3})).status_code == 400
        assert served.post(json=nudged({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]})).status_code == 400


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"reasoning_effort": "none"}, "reasoning_effort"),
        ({"thinking_budget": 0}, "thinking_budget"),
        ({"thinking": False}, "thinking"),
        ({"thinking": {"type": "disabled"}}, "thinking.type"),
        ({"thinking": {"budget_tokens": 0}}, "thinking.budget_tokens"),
        ({"reasoning": {"effort": "none"}}, "reasoning.effort"),
        ({"reasoning": {"max_tokens": 0}}, "reasoning.max_tokens"),
        ({"reasoning": {"enabled": False}}, "reasoning.enabled"),
        ({"enable_thinking": False}, "enable_thinking"),
        ({"chat_template_kwargs": {"enable_thinking": False}}, "chat_template_kwargs.enable_thinking"),
    ],
)
def test_every_switch_of_the_thinking_can_be_dropped(change, named):
    request = RequestReader(Settings(drop_params=True)).chat(ChatRequest(**nudged(change)))
    assert list(request.ignored) == [named]
    assert request.problems[0].max_thinking is None


def test_a_limit_counts_beside_a_dropped_switch():
    change = {"reasoning": {"effort": "none"}, "thinking": {"type": "enabled", "budget_tokens": 7}}
    request = RequestReader(Settings(drop_params=True)).chat(ChatRequest(**nudged(change)))
    assert (list(request.ignored), request.problems[0].max_thinking) == (["reasoning.effort"], 7)


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


@pytest.mark.parametrize(
    "change",
    [
        {"params": {"x" * 300_000: 1}},
        {"params": {"switch_chunk": "x" * 300_000}},
        {"params": {"switch_chunk": list(range(3000))}},
        {"x" * 300_000: 1},
        {"x": "x" * 300_000},
        {"seed": "x" * 300_000},
        {"tools": ["x" * 300_000]},
        {"with": "vote(" + "x" * 500 + "=5)"},
        {"method": "x" * 256},
        {"messages": [{"role": "x" * 300_000, "content": "a"}]},
    ],
    ids=range(10),
)
def test_error_replies_are_short(served, change):
    """An error names what was sent, but does not send it back."""
    reply = served.post(json=nudged(change))
    assert reply.status_code == 400
    assert len(reply.content) < 2000
    old = served.post("/speculative_reason", {"question": "a", "random_switch": True, "switch_chunk": "x" * 300_000})
    assert (old.status_code, len(old.content) < 2000) == (400, True)


def test_unknown_model_is_not_found(served):
    for model in ("gpt-4", "speculative/gpt-4", "./mine.py:Mine", "speculative/../x"):
        reply = served.post(json=nudged({"model": model}))
        assert (reply.status_code, reply.json()["error"]["code"]) == (404, "model_not_found")


def test_malformed_json_is_rejected_with_its_place(served):
    for content, kind, told in (
        (b"{", "application/json", "Expecting property name enclosed in double quotes at character 1"),
        (b"[1]", "application/json", "the body must be an object, got a list"),
        (b"null", "application/json", "the body must be an object, got null"),
        (b'{"messages": ["a"]}', "application/json", "messages[0] must be an object, got 'a'"),
        (b"", "application/json", "Expecting value at character 0"),
        (b'{"a": "\xff"}', "application/json", "not utf-8, invalid start byte at byte 7"),
        (b"[" * 30_000, "application/json", "nested too deep"),
        (b'{"seed": ' + b"9" * 5000 + b"}", "application/json", "too many digits"),
        (b"{]", "application/vnd.ours+json; charset=utf-8", "at character 1"),
    ):
        reply = served.post(content=content, headers={"content-type": kind})
        assert reply.status_code == 400
        assert told in reply.json()["error"]["message"]


def test_a_wrong_content_type_gets_415_with_advice(served):
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        reply = served.post(content=json.dumps(ASK).encode(), headers={"content-type": kind})
        assert reply.status_code == 415
        assert "`Content-Type: application/json`" in reply.json()["error"]["message"]


def test_an_encoded_body_is_refused(served):
    for encoding in ("gzip", "br", "zstd, gzip"):
        reply = served.post(content=b"\x1f\x8b", headers={"content-type": "application/json", "content-encoding": encoding})
        assert (reply.status_code, reply.json()["error"]["code"]) == (415, "encoded_body")
        assert encoding in reply.json()["error"]["message"]
    body = json.dumps(ASK).encode()
    assert served.post(content=body, headers={"content-type": "application/json", "content-encoding": "identity"}).status_code == 200


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"stop": ["a"] * 100}, "stop"),
        ({"stop": ""}, "stop"),
        ({"stop": ["a", 5]}, "stop[1]"),
        ({"with": ["vote"] * 5}, "with"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"answer_instruction": False}, "answer_instruction"),
    ],
)
def test_an_error_names_the_field_and_no_internal_name(served, change, place):
    reply = served.post(content=json.dumps(nudged(change)).encode(), headers={"content-type": "application/json"})
    error = reply.json()["error"]
    assert (reply.status_code, error["param"]) == (400, place)
    assert error["message"].startswith(f"{place} must ")
    assert not any(
        word in error["message"] for word in ("function", "0x", "Value error", "list[", "nput", "valid ", "dictionary", "True", "None")
    )


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"thinking_budget": "5"}, "thinking_budget must be an integer, got '5'; send it without quotes"),
        ({"thinking_budget": True}, "thinking_budget must be an integer, got true"),
        ({"thinking_budget": 5.5}, "thinking_budget must be an integer, got 5.5"),
        ({"thinking_budget": 5.0}, "thinking_budget must be an integer, got 5.0"),
        ({"max_tokens": 0}, "max_tokens must be at least 1, got 0"),
        ({"temperature": 3}, "temperature must be at most 2, got 3"),
        ({"temperature": float("inf")}, "temperature must be a finite number, got inf"),
        ({"max_seconds": 0}, "max_seconds must be more than 0, got 0"),
        ({"messages": []}, "messages must have at least 1 item, got 0"),
        ({"messages": None}, "messages must be a list, got null"),
        ({"messages": [{"content": "a"}]}, "messages[0].role is required; add it"),
        ({"params": "big"}, "params must be an object, got 'big'"),
        ({"stop": {}}, "stop must be a string or a list, got an object"),
        ({"stop": ["x"] * 17}, "stop must have at most 16 items, got 17"),
        ({"answer_instruction": 5}, "answer_instruction must be a string or true, got 5"),
        ({"events": "dead"}, "events must be true, false or 'live', got 'dead'"),
        ({"with": 5}, "with must be a string or a list, got 5"),
        ({"user": "a\ud800"}, "user must be valid Unicode, got half a character"),
        ({"user": "u" * 257}, "user must have at most 256 characters, got 257"),
        (
            {"messages": [{"role": "tool", "content": "a"}]},
            "messages[0].role must be 'system', 'developer', 'user' or 'assistant', got 'tool'",
        ),
    ],
)
def test_a_mistake_in_a_body_has_the_field_its_value_and_all_types(change, told):
    with pytest.raises(ApiError) as raised:
        parse_body(json.dumps(nudged(change)).encode(), ChatRequest)
    assert raised.value.message == told
    assert raised.value.param == told.partition(" ")[0]


CHAT, RAW, ITEMS = ("/v1/chat/completions", ASK), ("/v1/completions", {"prompt": "Once"}), ("/v1/responses", {"input": "2 + 2?"})


@pytest.mark.parametrize(
    ("door", "change", "param", "told"),
    [
        (CHAT, {"max_tokens": 10**6}, "max_tokens", "max_tokens must be at most 65536 in this service (--max-tokens), got 1000000"),
        (CHAT, {"max_completion_tokens": 10**6}, "max_completion_tokens", "max_completion_tokens must be at most 65536"),
        (ITEMS, {"max_output_tokens": 10**6}, "max_output_tokens", "max_output_tokens must be at most 65536"),
        (ITEMS, {"max_tokens": 5}, "max_tokens", "max_tokens: the service has no such field; did you mean 'max_output_tokens'?"),
        (
            CHAT,
            {"switch_ratio": 4},
            "switch_ratio",
            "switch_ratio: the service has no such field; parameters of a method stand in",
        ),
        (ITEMS, {"ballots": 4}, "ballots", "ballots: the service has no such field; parameters of a method stand in `params`"),
        (CHAT, {"temprature": 1}, "temprature", "temprature: the service has no such field; did you mean 'temperature'?"),
        (
            CHAT,
            {"reasoning": {"efort": "low"}},
            "reasoning.efort",
            "reasoning.efort: the service has no such field; did you mean 'effort'?",
        ),
        (CHAT, {"n": 17}, "n", "n: a request may have at most 16 chains (--max-n), got 17; ask for fewer"),
        (RAW, {"prompt": ["a"] * 17}, "prompt", "prompt: a request may have at most 16 chains, one for each prompt (--max-n), got 17"),
        (
            CHAT,
            {"model": "speculative", "method": "auto", "params": {"allow": "cascade", "samples": 99}},
            "params.samples",
            "params.samples: a request may have at most 64 chains at once (--max-chains), got 99; ask for fewer",
        ),
        (CHAT, {"n": 9, "with": "vote(ballots=8)"}, "n", "n: a request may have at most 64 chains at once (--max-chains), got 72"),
        (
            CHAT,
            {"thinking": {"budget_tokens": 9}, "reasoning": {"effort": "low"}},
            "thinking.budget_tokens",
            "thinking.budget_tokens and reasoning.effort: both limit the thinking; give one of them",
        ),
        (CHAT, {"messages": [{"role": "user", "content": " "}]}, "messages", "messages: the problem is empty; give its text"),
        (RAW, {"prompt": " "}, "prompt", "prompt: the problem is empty; give its text"),
        (ITEMS, {"input": " "}, "input", "input: the problem is empty; give its text"),
        (CHAT, {"params": {"switch_chunk": 0}}, "params.switch_chunk", "random_switch: switch_chunk must be at least 1, got 0"),
        (CHAT, {"params": {"switch_chnk": 4}}, "params.switch_chnk", "unknown parameter of random_switch 'switch_chnk'"),
        (CHAT, {"with": ["early_exit", "vote(ballots=0)"]}, "with[1].ballots", "vote: ballots must be at least 1, got '0'"),
        (CHAT, {"with": "vote(inner=1)"}, "with", "wrapper 'vote(inner=1)': `inner` cannot be set, since it is the method"),
        (CHAT, {"with": ["vot"]}, "with[0]", "unknown wrapper 'vot'; did you mean 'vote'"),
        (CHAT, {"model": "speculative/vote"}, "model", "the model must be a method or a preset, got the wrapper 'vote'; name a method"),
        (
            CHAT,
            {"model": "speculative", "method": "vote"},
            "method",
            "the method must not be a wrapper, got 'vote'; name a method, and the wrapper",
        ),
    ],
)
def test_an_error_names_the_field_that_the_client_sent(served, door, change, param, told):
    path, body = door
    error = served.post(path, {**body, **change}).json()["error"]
    assert error["message"].startswith(told)
    assert error["param"] == param


def test_unknown_paths_and_methods(served):
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
def test_a_body_with_many_mistakes_is_checked_down_to_the_first(field, bad, monkeypatch):
    """A body of 4 MB can be wrong in two million places, of each of which an error would be made."""
    model = CompletionRequest if field == "prompt" else ChatRequest
    body = {**ASK, "prompt": "Once", field: [bad] * MANY}
    counts = []
    monkeypatch.setattr(body_reader, "validation_error", lambda errors: counts.append(len(errors)) or validation_error(errors))
    with pytest.raises(ApiError) as raised:
        parse_body(json.dumps(body).encode(), model)
    assert raised.value.status == 400
    assert counts[0] < 10


def test_too_many_prompts_are_rejected_before_problems_are_built(monkeypatch):
    made = []
    monkeypatch.setattr(RequestReader, "_problem", lambda *_, **__: made.append(1))
    with pytest.raises(ApiError, match=r"prompt: a request may have at most 16 chains, one for each prompt \(--max-n\), got 100"):
        RequestReader(Settings()).completion(CompletionRequest.model_validate({"prompt": ["a"] * MANY}))
    assert not made
