"""`POST /v1/responses` with the official client: text in; reasoning and text out, streamed and not."""

import json

import pytest
from openai import AsyncOpenAI, BadRequestError, InternalServerError, OpenAI
from serving import ANSWER, ASK, THOUGHT, Broken, Late, pair, serving

from speculative.errors import EngineUnreachableError

METHODS = ["big_only", "random_switch", "logprob_subselect", "spec_rewrite"]


@pytest.fixture(scope="module")
def client(served):
    with OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def ask(client, **rest):
    return client.responses.create(**{"model": "speculative/random_switch", "input": "2 + 2?", **rest})


def reasoning_of(response):
    return "".join(part.text for item in response.output if item.type == "reasoning" for part in item.content)


@pytest.mark.parametrize("method", METHODS)
def test_reasoning_and_text_streamed_and_not(client, method):
    model = f"speculative/{method}"
    whole = ask(client, model=model, extra_body={"seed": 3})
    assert (whole.status, whole.output_text) == ("completed", ANSWER)
    assert reasoning_of(whole) == THOUGHT or method == "spec_rewrite"
    assert [item.type for item in whole.output] == ["reasoning", "message"]
    with client.responses.stream(model=model, input="2 + 2?", extra_body={"seed": 3}) as stream:
        events = list(stream)
        final = stream.get_final_response()
    assert (final.output_text, reasoning_of(final)) == (ANSWER, reasoning_of(whole))
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == ANSWER
    assert "".join(event.delta for event in events if event.type == "response.reasoning_text.delta") == reasoning_of(whole)
    cost = [{role: usage["produced_tokens"] for role, usage in one.speculative["usage"].items()} for one in (whole, final)]
    assert cost[0] == cost[1]


def test_the_order_and_numbers_of_events(client):
    events = list(ask(client, stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = [event.type for event in events]
    outline = [kind for place, kind in enumerate(kinds) if not place or kind != kinds[place - 1]]
    assert outline == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.reasoning_text.delta",
        "response.reasoning_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert kinds.count("response.reasoning_text.delta") > 3
    added = [event for event in events if event.type == "response.output_item.added"]
    done = [event for event in events if event.type == "response.output_item.done"]
    last = events[-1].response
    assert [event.item.id for event in added] == [event.item.id for event in done] == [item.id for item in last.output]
    assert [event.output_index for event in added] == [0, 1]
    assert last.id == events[0].response.id


def test_usage_and_fields(client):
    response = ask(client, instructions="Be brief.", max_output_tokens=500, temperature=0.5, user="u", metadata={"a": "b"})
    usage = response.usage
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens
    assert 0 < usage.output_tokens_details.reasoning_tokens < usage.output_tokens
    assert usage.output_tokens == sum(role["kept_tokens"] for role in response.speculative["usage"].values())
    assert (response.instructions, response.max_output_tokens, response.temperature) == ("Be brief.", 500, 0.5)
    assert response.metadata == {"a": "b"}
    assert response.speculative["ignored"] == ["metadata"]
    assert response.speculative["boxed"] == "4"


def test_turns_and_instructions_reach_the_models(client, served):
    earlier = [item.model_dump(exclude_none=True) for item in ask(client).output]
    for engine in served.engines.values():
        engine.calls.clear()
    turns = [
        {"role": "user", "content": "2 + 2?"},
        *earlier,
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "And 3?"}]},
    ]
    assert ask(client, model="speculative/big_only", input=turns, instructions="Be brief.").output_text == ANSWER
    seen = served.engines["big"].calls[0][1]
    assert seen.startswith("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n2 + 2?<|im_end|>\n<|im_start|>assistant\n" + ANSWER)
    assert THOUGHT not in seen
    assert "<|im_start|>user\nAnd 3?<|im_end|>" in seen


@pytest.mark.parametrize("stream", [False, True])
def test_a_reply_at_its_token_limit_is_incomplete(client, stream):
    made = ask(client, max_output_tokens=12, stream=stream)
    response = list(made)[-1].response if stream else made
    assert (response.status, response.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert response.usage.output_tokens <= 12


def test_effort_limits_the_thinking(served):
    with OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as client:
        response = ask(client, max_output_tokens=80, reasoning={"effort": "minimal", "summary": "auto"})
    assert response.usage.output_tokens_details.reasoning_tokens == 7  # a tenth of the 70 tokens that are left for it
    assert response.status == "completed"
    assert response.reasoning.effort == "minimal"
    assert response.speculative["ignored"] == ["reasoning.summary"]


@pytest.mark.parametrize("stream", [False, True])
def test_events_of_the_chain_come_with_the_reply(client, stream):
    made = ask(client, stream=stream, extra_body={"events": True})
    response = list(made)[-1].response if stream else made
    events = response.speculative["events"][0]
    assert [events[0]["event"], events[-1]["event"]] == ["started", "ended"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"tools": [{"type": "web_search"}]}, "tools"),
        ({"previous_response_id": "resp_1"}, "send the earlier turns with each request"),
        ({"store": True}, "store"),
        ({"background": True}, "background: true cannot be honoured: a reply is written while its client waits; set `stream`"),
        ({"text": {"format": {"type": "json_object"}}}, "text"),
        ({"input": []}, "input"),
        ({"input": [{"role": "assistant", "content": "a"}]}, "last turn"),
        ({"input": [{"type": "function_call_output", "call_id": "a", "output": "b"}]}, "input[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]}, "input[0].content"),
        ({"input": [{"type": "reasoning", "id": "a", "summary": []}]}, "empty"),
        ({"reasoning": {"effort": "none"}}, "reasoning.effort"),
        ({"reasoning": {"depth": 5}}, "reasoning.depth"),
        ({"n": 2}, "n"),
        ({"messages": []}, "messages"),
        ({"max_tokens": 5}, "max_tokens"),
    ],
)
def test_refusals_name_the_field(client, change, named):
    with pytest.raises(BadRequestError) as raised:
        client.post("/responses", cast_to=object, body={"model": "speculative", "input": "2 + 2?", **change})
    assert named in raised.value.message


@pytest.mark.parametrize("stream", [False, True])
def test_an_error_before_the_first_text_has_a_status(stream):
    engines = pair()
    engines._engines["big"] = Broken(engines["big"], EngineUnreachableError("it is away"))
    with serving(engines) as served, OpenAI(base_url=f"{served.url}/v1", api_key="x", max_retries=0) as client:
        with pytest.raises(InternalServerError) as raised:
            ask(client, model="speculative/big_only", stream=stream)
        assert raised.value.status_code == 502


def test_an_error_in_the_middle_of_a_stream_is_its_last_event():
    engines = pair()
    engines._engines["big"] = Late(engines["big"], EngineUnreachableError("it went away"))
    with serving(engines) as served:
        text = served.post("/v1/responses", {"model": "speculative/big_only", "input": "2 + 2?", "stream": True}).text
    event, data = text.strip().split("\n\n")[-1].split("\n")
    assert event == "event: response.failed"
    failed = json.loads(data.removeprefix("data: "))["response"]
    assert (failed["status"], failed["error"]["code"]) == ("failed", "engine_unreachable")


async def test_the_asynchronous_client(served):
    async with AsyncOpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as client:
        stream = await client.responses.create(model="speculative", input="2 + 2?", stream=True)
        assert "".join([event.delta async for event in stream if event.type == "response.output_text.delta"]) == ANSWER


def test_the_route_works_without_v1(served):
    assert served.post("/responses", {"input": "2 + 2?"}).json()["model"] == ASK["model"]
