"""The advisor tool in the shapes that clients send, with the official client against the service on the bundled pair."""

from __future__ import annotations

import asyncio
import threading

import pytest
from easy import EASY
from openai import BadRequestError, OpenAI
from serving import Broken, pair, serving

from speculative import Pair
from speculative.settings import Preset
from speculative.testing import ScriptedEngine

MESSAGES = [{"role": "user", "content": EASY}]
ANTHROPIC = {"type": "advisor_20260301", "name": "advisor", "model": "big", "max_uses": 2, "max_tokens": 1024}
OPENROUTER = {"type": "openrouter:advisor", "parameters": {"model": "big", "max_completion_tokens": 50}}
FORCED = {"tool_choice": "required"}


@pytest.fixture(scope="module")
def bundled():
    with serving(Pair.open()) as served:
        yield served


@pytest.fixture(scope="module")
def client(bundled):
    with OpenAI(base_url=f"{bundled.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def ask(client, tool, **rest):
    return client.chat.completions.create(
        **{"model": "speculative", "messages": MESSAGES, "tools": [tool], "seed": 1, "max_tokens": 200, **rest}
    )


@pytest.mark.parametrize("tool", [ANTHROPIC, OPENROUTER], ids=["anthropic", "openrouter"])
def test_a_chat_is_advised_and_the_usage_has_both_roles(client, tool):
    reply = ask(client, tool, **FORCED)
    told = reply.speculative
    assert (reply.model, told["method"]) == ("speculative/advisor", "advisor")
    assert reply.choices[0].message.content
    (advice,) = told["advice"]
    assert advice["text"].strip()
    assert told["usage"]["big"]["requests"] == 1
    assert told["usage"]["big"]["produced_tokens"] == advice["completion_tokens"] > 0
    assert told["usage"]["big"]["prompt_tokens"] == advice["prompt_tokens"]
    assert told["usage"]["big"]["kept_tokens"] == 0
    assert reply.usage.completion_tokens == told["usage"]["small"]["kept_tokens"] > 0
    assert advice["text"].strip() not in reply.choices[0].message.reasoning
    assert "ignored" not in told


def test_a_stream_is_sent_while_it_is_written_and_ends_with_the_same_report(client):
    ask(client, ANTHROPIC, **FORCED)  # fills the prefix cache, so that both replies find the same tokens there
    whole = ask(client, ANTHROPIC, **FORCED)
    chunks = list(ask(client, ANTHROPIC, **FORCED, stream=True, stream_options={"include_usage": True}))
    deltas = [choice.delta for chunk in chunks for choice in chunk.choices]
    texts = [getattr(delta, "reasoning", None) for delta in deltas]
    assert len([text for text in texts if text]) > 1
    assert "".join(text or "" for text in texts) == whole.choices[0].message.reasoning
    last = chunks[-1]
    assert last.usage == whole.usage
    assert [piece["text"] for piece in last.speculative["advice"]] == [piece["text"] for piece in whole.speculative["advice"]]
    assert last.speculative["usage"].keys() == {"big", "small"}


class Gated(Broken):
    """An engine that waits in the middle of a text until the gate opens."""

    async def stream(self, prefix, decoding, *, key, stats):
        async for delta in self._inner.stream(prefix, decoding, key=key, stats=stats):
            yield delta
            if stats.produced_tokens > 4:
                await asyncio.to_thread(self.error.wait, 60)


def test_a_stream_begins_before_the_chain_is_written():
    gate = threading.Event()
    small = Gated(ScriptedEngine("a long thought " * 4 + "</think>\n\n4", name="S"), gate)
    with serving(Pair(ScriptedEngine("Add them.", name="B"), small)) as served, OpenAI(base_url=f"{served.url}/v1", api_key="x") as client:
        texts = []
        for chunk in ask(client, ANTHROPIC, stream=True):
            texts += [text for choice in chunk.choices if (text := getattr(choice.delta, "reasoning", None))]
            if texts:
                gate.set()
    assert "".join(texts) == "a long thought " * 4
    assert len(texts) > 1


def test_a_response_is_advised_streamed_and_not(client):
    options = {"model": "speculative", "input": EASY, "tools": [ANTHROPIC], "tool_choice": "required", "extra_body": {"seed": 1}}
    whole = client.responses.create(**options)
    assert (whole.status, whole.speculative["method"], len(whole.speculative["advice"])) == ("completed", "advisor", 1)
    assert [tool["type"] if isinstance(tool, dict) else tool.type for tool in whole.tools] == ["advisor_20260301"]
    events = list(client.responses.create(**options, stream=True))
    assert [event.type for event in events].count("response.reasoning_text.delta") > 1
    last = events[-1].response
    assert last.output_text == whole.output_text
    assert last.speculative["advice"][0]["text"] == whole.speculative["advice"][0]["text"]


def test_the_options_become_parameters(client):
    params = ask(client, {**ANTHROPIC, "model": "bundled:big"}).speculative["params"]
    assert (params["max_calls"], params["advice_tokens"], params["trigger"], params["ask_first"]) == (2, 1024, "either", False)
    told = ask(client, {**OPENROUTER, "parameters": {"instructions": " Be brief. ", "forward_transcript": True, "tools": []}}).speculative
    assert told["params"]["fields"].endswith("mistakes so far; Be brief.")
    assert told["params"]["max_calls"] == 3
    own = ask(client, ANTHROPIC, extra_body={"params": {"max_calls": 1, "trigger": "hesitation"}}).speculative["params"]
    assert (own["max_calls"], own["trigger"]) == (1, "hesitation")
    limited = ask(client, ANTHROPIC, extra_body={"max_tool_calls": 0}, **FORCED).speculative
    assert (limited["params"]["max_calls"], limited["advice"]) == (0, [])


@pytest.mark.parametrize(
    "choice",
    [
        "required",
        {"type": "any"},
        {"type": "tool", "name": "advisor"},
        {"type": "function", "function": {"name": "advisor"}},
        {"type": "advisor_20260301"},
    ],
    ids=str,
)
def test_a_choice_that_names_the_tool_asks_first(client, choice):
    assert ask(client, ANTHROPIC, tool_choice=choice).speculative["params"]["ask_first"]


def test_options_that_change_no_reply_are_listed(client):
    told = ask(client, {**ANTHROPIC, "caching": {"type": "ephemeral", "ttl": "5m"}, "defer_loading": False}).speculative
    assert told["ignored"] == ["tools.caching", "tools.defer_loading"]
    none = ask(client, ANTHROPIC, tool_choice="none").speculative
    assert (none["method"], none["ignored"]) == ("random_switch", ["tools"])


@pytest.mark.parametrize(
    ("tools", "told"),
    [
        ([{**ANTHROPIC, "model": "claude-opus"}], "tools[0].model: the advisor is the service's big model, 'bundled:big"),
        ([{"type": "openrouter:advisor", "parameters": {"model": "~a/b"}}], "got '~a/b'; name that one, or leave it out"),
        ([{**ANTHROPIC, "max_uses": 0}], "tools[0].max_uses must be at least 1, got 0"),
        ([{**ANTHROPIC, "max_uses": "2"}], "tools[0].max_uses must be an integer, got '2'; send it without quotes"),
        ([{**ANTHROPIC, "max_uses": 10**9}], "tools[0].max_uses must be at most 8192 in this service (--max-param), got 1000000000"),
        ([{**ANTHROPIC, "max_completion_tokens": 5}], "tools[0].max_tokens: max_tokens and max_completion_tokens are the same limit"),
        ([{**ANTHROPIC, "depth": 3}], "tools[0].depth: the service has no such field; leave it out"),
        ([{**OPENROUTER, "parameters": {"temperature": 0.5}}], "the advisor samples as the request does; leave it out"),
        ([{**OPENROUTER, "parameters": {"forward_transcript": False}}], "the advisor always reads the whole chain; leave it out"),
        ([{**OPENROUTER, "parameters": {"tools": [{"type": "x"}]}}], "the advisor calls no tools; leave it out"),
        ([{**OPENROUTER, "parameters": {"instructions": 5}}], "tools[0].instructions must be a string, got 5"),
        ([{**OPENROUTER, "parameters": "big"}], "tools[0].parameters must be an object, got 'big'"),
        ([ANTHROPIC, OPENROUTER], "tools: one advisor can be asked, got 2; leave out all but one"),
        ([{"type": "web_search"}, ANTHROPIC], "tools: these models call no tool but the advisor; leave the others out"),
        ([{"type": "web_search"}], "these models call no tools but the advisor; leave it out"),
        ([{"type": "advisor_20990101"}], "these models call no tools but the advisor; leave it out"),
    ],
)
def test_what_cannot_be_honoured_is_refused_in_one_sentence(client, tools, told):
    for create, asked in ((client.chat.completions.create, {"messages": MESSAGES}), (client.responses.create, {"input": EASY})):
        with pytest.raises(BadRequestError) as raised:
            create(model="speculative", tools=tools, **asked)
        message = raised.value.body["message"]
        assert told in message
        assert "\n" not in message


def test_half_a_character_in_the_instructions_is_refused(bundled):
    tool = b'{"type": "openrouter:advisor", "parameters": {"instructions": "\\ud800"}}'
    body = b'{"messages": [{"role": "user", "content": "a"}], "tools": [' + tool + b"]}"
    reply = bundled.post(content=body, headers={"content-type": "application/json"})
    assert (reply.status_code, "tools[0].instructions" in reply.json()["error"]["message"]) == (400, True)


@pytest.mark.parametrize("named", [{"model": "speculative/big_only"}, {"extra_body": {"method": "big_only"}}])
def test_another_method_contradicts_the_tool(client, named):
    with pytest.raises(BadRequestError, match="tools: the advisor is asked by the method 'advisor', and the request names 'big_only'"):
        ask(client, ANTHROPIC, **named)
    assert ask(client, ANTHROPIC, model="speculative/advisor").speculative["method"] == "advisor"


def test_a_preset_of_the_method_keeps_its_parameters():
    presets = {"asking": Preset(method="advisor", params={"trigger": "tag", "max_calls": 7})}
    with serving(pair(), method="asking", presets=presets) as served, OpenAI(base_url=f"{served.url}/v1", api_key="none") as client:
        for model in ("speculative", "speculative/asking"):
            reply = ask(client, {"type": "openrouter:advisor"}, model=model)
            assert (reply.model, reply.speculative["params"]["trigger"]) == ("speculative/asking", "tag")
            assert reply.speculative["params"]["max_calls"] == 7
        assert ask(client, ANTHROPIC).speculative["params"]["max_calls"] == 2


def test_dropped_params_leave_the_advisor():
    tool = {**ANTHROPIC, "model": "claude-opus", "depth": 3}
    with serving(pair(), drop_params=True) as served, OpenAI(base_url=f"{served.url}/v1", api_key="none") as client:
        told = client.chat.completions.create(model="speculative", messages=MESSAGES, tools=[{"type": "web_search"}, tool]).speculative
        assert (told["method"], sorted(told["ignored"])) == ("advisor", ["tools", "tools.depth", "tools.model"])
        told = client.chat.completions.create(model="speculative", messages=MESSAGES, tools=[{"type": "web_search"}]).speculative
        assert (told["method"], told["ignored"]) == ("random_switch", ["tools"])
