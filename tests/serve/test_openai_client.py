"""The official client, synchronous and asynchronous, drives every endpoint and option."""

import asyncio
import re

import pytest
from openai import AsyncOpenAI, BadRequestError, NotFoundError, OpenAI
from serving import ANSWER, THOUGHT, pair, serving

METHODS = ["big_only", "small_only", "random_switch", "logprob_subselect", "spec_rewrite", "placeholder"]
MESSAGES = [{"role": "user", "content": "2 + 2?"}]


@pytest.fixture(scope="module")
def client(served):
    with OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
async def many(served):
    async with AsyncOpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def ask(client, **rest):
    return client.chat.completions.create(**{"model": "speculative/random_switch", "messages": MESSAGES, **rest})


def told(chunks):
    """Reasoning, content and the chunks, from a stream."""
    chunks = list(chunks)
    deltas = [choice.delta for chunk in chunks for choice in chunk.choices]
    reasoning = "".join(getattr(delta, "reasoning", None) or "" for delta in deltas)
    return reasoning, "".join(delta.content or "" for delta in deltas), chunks


def test_models(client):
    ids = [model.id for model in client.models.list()]
    assert {f"speculative/{method}" for method in METHODS if method != "placeholder"} <= set(ids)
    assert client.models.retrieve("speculative/placeholder").id not in ids
    found = client.models.retrieve("speculative/random_switch")
    assert found.id == "speculative/random_switch"
    assert "switch_chunk" in found.speculative["schema"]["properties"]
    with pytest.raises(NotFoundError, match="did you mean 'speculative/random_switch'"):
        client.models.retrieve("speculative/random_swich")


@pytest.mark.parametrize("method", METHODS)
def test_every_method_streamed_and_not(client, method):
    whole = ask(client, model=f"speculative/{method}", seed=3)
    message = whole.choices[0].message
    assert message.content
    assert message.reasoning == message.reasoning_content
    reasoning, content, chunks = told(ask(client, model=f"speculative/{method}", seed=3, stream=True))
    assert (reasoning, content) == (message.reasoning, message.content)
    made, told_ = (
        {role: usage["produced_tokens"] for role, usage in each["usage"].items()} for each in (whole.speculative, chunks[-1].speculative)
    )
    assert made == told_


def test_a_reply(client):
    reply = ask(client, seed=5, user="someone")
    assert reply.object == "chat.completion"
    (choice,) = reply.choices
    assert choice.message.content == ANSWER
    assert choice.message.reasoning == THOUGHT
    assert choice.finish_reason == "stop"
    assert choice.speculative["boxed"] == "4"
    assert choice.speculative["seed"] == 5
    usage = reply.usage
    assert usage.completion_tokens == sum(role["kept_tokens"] for role in reply.speculative["usage"].values())
    assert 0 < usage.completion_tokens_details.reasoning_tokens < usage.completion_tokens
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert usage.prompt_tokens_details.cached_tokens == 0
    assert reply.speculative["method"] == "random_switch"
    assert reply.speculative["finish_reason"] == "stop"


def test_a_stream(client):
    reasoning, content, chunks = told(ask(client, stream=True, stream_options={"include_usage": True}))
    assert (reasoning, content) == (THOUGHT, ANSWER)
    assert chunks[0].choices[0].delta.role == "assistant"
    kinds = [("r" if getattr(c.choices[0].delta, "reasoning", None) else "c") for c in chunks[1:-2]]
    assert kinds == sorted(kinds, reverse=True)  # all reasoning, then all content
    assert kinds.count("r") > 3
    assert [chunk.choices[0].finish_reason for chunk in chunks[:-1]] == [None] * (len(chunks) - 2) + ["stop"]
    assert not chunks[-1].choices
    assert chunks[-1].usage.completion_tokens_details.reasoning_tokens > 0
    assert chunks[-1].speculative["finish_reason"] == "stop"  # the last chunk tells what is ours, as it does without the usage
    assert chunks[-1].speculative["usage"] == chunks[-2].speculative["usage"]
    assert len({chunk.id for chunk in chunks}) == 1


def test_usage_is_streamed_only_on_request(client):
    _, _, chunks = told(ask(client, stream=True))
    assert all(chunk.usage is None for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_seeds(client):
    kinds = {"model": "speculative/random_switch", "extra_body": {"params": {"switch_chunk": 2}}}
    authors = [ask(client, seed=seed, **kinds).speculative["usage"] for seed in (7, 7, 8)]
    counts = [{role: usage["kept_tokens"] for role, usage in each.items()} for each in authors]
    assert counts[0] == counts[1] != counts[2]
    assert len({ask(client).choices[0].speculative["seed"] for _ in range(3)}) > 1


def test_several_choices(client):
    reply = ask(client, n=3, seed=10)
    assert [choice.index for choice in reply.choices] == [0, 1, 2]
    assert [choice.speculative["seed"] for choice in reply.choices] == [10, 11, 12]
    alone = ask(client, seed=10)
    assert reply.usage.prompt_tokens == alone.usage.prompt_tokens
    assert reply.choices[0].speculative["usage"].keys() == alone.choices[0].speculative["usage"].keys()
    chunks = list(ask(client, n=3, seed=10, stream=True))
    for index in range(3):
        mine = [choice for chunk in chunks for choice in chunk.choices if choice.index == index]
        assert "".join(choice.delta.content or "" for choice in mine) == ANSWER
        assert mine[-1].finish_reason == "stop"


@pytest.mark.parametrize("stop", ["boxed", ["nothing", "boxed{4}"], [" Well", "Well"], ["T"]])
@pytest.mark.parametrize("stream", [False, True])
def test_stop_strings_end_the_answer_and_are_not_in_it(client, stop, stream):
    stops = [stop] if isinstance(stop, str) else stop
    expected = ANSWER[: min(at for one in stops if (at := ANSWER.find(one)) >= 0)].rstrip()
    reply = ask(client, stop=stop, stream=stream)
    reasoning, content, finish = (
        (*told(reply)[:2], "stop")
        if stream
        else (reply.choices[0].message.reasoning, reply.choices[0].message.content, reply.choices[0].finish_reason)
    )
    assert (reasoning, content, finish) == (THOUGHT, expected, "stop")


def test_a_budget_gives_length(client):
    for field in ("max_tokens", "max_completion_tokens"):
        reply = ask(client, **{field: 12})
        assert reply.choices[0].finish_reason == "length"
        assert reply.choices[0].speculative["finish_reason"] == "length"
        assert reply.usage.completion_tokens <= 12


def test_method_params_with_and_events(client, served):
    reply = ask(
        client, model="speculative", extra_body={"method": "random_switch", "params": {"big_share": 0, "switch_chunk": 4}, "events": True}
    )
    assert reply.model == "speculative/random_switch"
    assert reply.speculative["params"]["big_share"] == 0
    events = reply.speculative["events"][0]
    assert [events[0]["event"], events[-1]["event"]] == ["started", "ended"]
    assert {event["call"]["role"] for event in events if event["event"] == "wrote"} == {"small"}
    voted = ask(client, extra_body={"with": ["vote(ballots=3)"]})
    assert voted.speculative["method"] == "vote*random_switch"
    assert voted.choices[0].message.content == ANSWER


def test_events_in_a_stream_name_their_chain(client):
    chunks = list(ask(client, stream=True, extra_body={"with": "vote(ballots=2)", "events": True}))
    events = [chunk.speculative for chunk in chunks if getattr(chunk, "speculative", None) and "event" in chunk.speculative]
    assert {tuple(event["chain"]) for event in events} == {(), (0,), (1,)}
    assert [event["event"]["event"] for event in events if not event["chain"]].count("ended") == 1
    assert any(event["event"]["event"] == "wrote" for event in events)


def test_conversations(client, served):
    earlier = ask(client).choices[0].message.model_dump()
    for engine in served.engines.values():
        engine.calls.clear()
    turns = [
        {"role": "system", "content": "Be brief."},
        *MESSAGES,
        earlier,
        {"role": "user", "content": [{"type": "text", "text": "And <think> 3?"}]},
    ]
    assert ask(client, messages=turns, model="speculative/big_only").choices[0].message.content == ANSWER
    seen = served.engines["big"].calls[0][1]
    assert seen.startswith("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n2 + 2?<|im_end|>\n<|im_start|>assistant\n" + ANSWER)
    assert THOUGHT not in seen
    big = served.engines["big"].tokenizer
    assert big.encode("<think>") != [big.special_token_id("<think>")]


def test_completions(client, served):
    for engine in served.engines.values():
        engine.calls.clear()
    raw = "<|im_start|>user\n2 + 2?<|im_end|>\n<|im_start|>assistant\n<think>\n"
    reply = client.completions.create(model="speculative/big_only", prompt=raw)
    assert reply.object == "text_completion"
    assert re.fullmatch(f"{re.escape(THOUGHT)}</think>\n\n\\s*{re.escape(ANSWER)}", reply.choices[0].text)
    assert served.engines["big"].calls[0][1] == raw
    chunks = list(client.completions.create(model="speculative/big_only", prompt=raw, stream=True))
    assert "".join(choice.text for chunk in chunks for choice in chunk.choices) == reply.choices[0].text
    assert chunks[-1].choices[0].finish_reason == "stop"


def fine(seen, seed):
    said = "It is a fine day today. Really.<|im_end|> Never said."
    return said[len(seen.partition(": ")[2]) :]


def test_a_raw_prompt_without_thinking_is_continued():
    with serving(pair(fine)) as served, OpenAI(base_url=f"{served.url}/v1", api_key="x") as client:
        create = client.completions.create
        reply = create(model="speculative/random_switch", prompt="Once: ")
        assert reply.choices[0].text == "It is a fine day today. Really."
        assert reply.choices[0].finish_reason == "stop"
        assert not served.running
        cut = create(model="speculative/random_switch", prompt="Once: ", stop=[" day", "Really"])
        assert (cut.choices[0].text, cut.choices[0].finish_reason) == ("It is a fine", "stop")
        short = create(model="speculative/random_switch", prompt="Once: ", max_tokens=8)
        assert (short.choices[0].text, short.choices[0].finish_reason, short.usage.completion_tokens) == ("It is a fine day", "length", 8)
        both = create(model="speculative/random_switch", prompt=["A: ", "B: "], n=2)
        assert [choice.index for choice in both.choices] == [0, 1, 2, 3]


async def test_many_at_once(many):
    replies = await asyncio.gather(*(ask(many, seed=seed) for seed in range(20)))
    assert {reply.choices[0].message.content for reply in replies} == {ANSWER}
    assert [reply.choices[0].speculative["seed"] for reply in replies] == list(range(20))
    stream = await ask(many, stream=True)
    assert "".join([choice.delta.content or "" async for chunk in stream for choice in chunk.choices]) == ANSWER
    assert (await many.models.retrieve("speculative")).id == "speculative/random_switch"
    with pytest.raises(BadRequestError, match=r"sgen"):
        await ask(many, model="speculative/logprob_subselect", extra_body={"params": {"sgen": 0}})


@pytest.mark.parametrize(("told", "seen"), [({}, "2 + 2?<|im_end|>"), ({"answer_instruction": "Say 7."}, "2 + 2?\nSay 7.<|im_end|>")])
def test_the_answer_instruction_is_added_to_the_problem(client, served, told, seen):
    ask(client, model="speculative/big_only", extra_body=told)
    assert seen in served.engines["big"].calls[-1][1]


def test_the_family_s_own_instruction_is_added_on_demand(client, served):
    ask(client, model="speculative/big_only", extra_body={"answer_instruction": True})
    assert "2 + 2?\nPut your final answer within \\boxed{}.<|im_end|>" in served.engines["big"].calls[-1][1]
    with pytest.raises(BadRequestError, match="answer_instruction"):
        ask(client, extra_body={"answer_instruction": False})
