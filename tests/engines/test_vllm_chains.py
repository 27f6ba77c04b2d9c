"""Chains on real vLLM: every method, what the servers count of it, warm-ups, cancelling, and the service in front.

What a usage says is held against the servers' own counters: a call or a token more or less would show.
"""

import asyncio
import json
import os
import subprocess
import sys
from itertools import pairwise
from types import SimpleNamespace
from uuid import uuid4

import openai
import pytest
from msgspec import structs
from real import PROBLEMS, company, connected, counted, counts, final_answers, metric, quiet, through_doors, tower_as_in_this_process, until

import speculative
from speculative.chain.chain import Chain
from speculative.engines.http.engine import OpenAIEngine
from speculative.methods.base import Method
from speculative.methods.registry import names, registered
from speculative.pair import Pair
from speculative.problem import Problem, Sampling
from speculative.runner import run
from speculative.trace.events import Answered, Cancelled, Prefilled, Scored, Wrote

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(1500)]

BLOCK = 128
"""Tokens of a block of the CPU build's prefix cache: only whole ones are found again."""

WILD = Sampling(temperature=2.0)
"""So hot that what a model says without end is no loop."""

METHODS = [
    *((name, ()) for name in names() if "judge" not in registered()[name].needs),
    *(("random_switch", (name,)) for name in names(wrappers=True)),
]
SEVERAL = ("best_step", "logprob_subselect", "whole_draft")
"""Methods that ask for several completions in one call: a server counts each of them as a request with a prompt of its own."""
CUTS = ("auto", "lookahead", "mentor")
"""Methods that cancel a call: the tokens that arrive beyond the cut hang on the server's chunks, and some are never sent. The server may
not count such a request, nor its prompt; it counts no more of them than the usage."""
TIMED = ("lookahead",)
"""Methods that cancel drafts which nothing needs any more: how many were written by then hangs on the servers' speed. The text does not."""
CONFUSED = ("handoff", "mentor", "offload")
"""Methods in which this small model may write a marker as plain text: it was not trained for tags, and goes on behind big's words."""


def fields_counted(method):
    """Returns the fields of the usage that must be what the server counted."""
    several, cuts = method in SEVERAL, method in CUTS
    return (*(() if several else ("requests", "prompt_tokens")), *(() if cuts else ("produced_tokens",)))


def written_for_scores(result, role):
    """Returns the tokens that a server wrote because it scores with one. The bundled engine writes none."""
    return sum(event.call.produced_tokens for event in result.trace.walk() if isinstance(event, Scored) and event.call.role == role)


@pytest.mark.parametrize(("method", "wrappers"), METHODS)
async def test_every_method_end_to_end(pair, servers, method, wrappers):
    before = counts(servers)
    settings = {"wrappers": wrappers, "max_tokens": 600, "max_seconds": 300, "seed": 3}
    result = await speculative.asolve(PROBLEMS[2]["problem"], method, pair=pair, **settings)
    assert result.finish_reason in ("stop", "length", "loop")
    assert result.reasoning.strip()
    assert result.text
    for usage in result.usage.values():
        assert usage.produced_tokens == usage.kept_tokens + usage.discarded_tokens
    assert any(usage.requests for usage in result.usage.values())
    found = [marker for marker in ("<|im_end|>", "</think>", "<think>") if marker in result.reasoning + result.text]
    assert not found or method in CONFUSED, found
    await counted(servers, before, result.usage, fields_counted(method), exact=method not in CUTS)


@pytest.mark.parametrize(("method", "wrappers"), METHODS)
async def test_every_method_at_temperature_0_is_what_it_is_on_the_bundled_pair(pair, local, method, wrappers):
    """Text, answer and cost, on a problem that the bundled pair solves by each method but those that it was not trained for."""
    settings = {"wrappers": wrappers, "max_tokens": 600, "seed": 3, "temperature": 0}
    theirs = await speculative.asolve(PROBLEMS[2]["problem"], method, pair=pair, **settings)
    ours = await speculative.asolve(PROBLEMS[2]["problem"], method, pair=local, **settings)
    assert (theirs.reasoning, theirs.text, theirs.finish_reason) == (ours.reasoning, ours.text, ours.finish_reason)
    assert set(theirs.usage) == set(ours.usage)
    for role, usage in theirs.usage.items():
        if method in TIMED:
            assert usage.kept_tokens == ours.usage[role].kept_tokens
            continue
        past_the_cut = () if method in CUTS else ("produced_tokens", "discarded_tokens")
        for field in ("kept_tokens", *past_the_cut, *(() if method in SEVERAL else ("prompt_tokens",))):
            more = written_for_scores(theirs, role) if field in ("produced_tokens", "discarded_tokens") else 0
            assert getattr(usage, field) == getattr(ours.usage[role], field) + more, (role, field)


async def test_placeholder_calls_both_servers(pair, servers):
    before = counts(servers)
    result = await speculative.asolve(PROBLEMS[0]["problem"], "placeholder", pair=pair, max_tokens=300)
    assert (result.usage["small"].requests, result.usage["big"].requests) == (1, 2)
    assert result.usage["small"].produced_tokens == result.usage["small"].discarded_tokens > 0
    await counted(servers, before, result.usage)


async def test_what_a_server_is_given_only_grows_by_what_was_written(servers, nothing_left):
    """Seen on the protocol: each prompt is the last one of that server, then the ids that came back, then what the other model wrote."""
    async with through_doors(servers) as (pair, doors):
        for door in doors.values():
            door.bodies.clear()
        result = await speculative.asolve(PROBLEMS[0]["problem"], "random_switch", pair=pair, seed=3, switch_chunk=5, max_tokens=600)
    calls = [event for event in result.trace if isinstance(event, Wrote | Answered)]
    assert {event.call.role for event in calls} == set(doors)
    sent = {role: iter([body["prompt"] for body in door.bodies]) for role, door in doors.items()}
    given = [next(sent[event.call.role]) for event in calls]
    assert not [left for prompts in sent.values() for left in prompts]
    bare, written = given[0], []
    for prompt, event in zip(given, calls, strict=True):
        assert prompt[: len(bare) + len(written)] == bare + written
        assert isinstance(event, Answered) or len(prompt) == len(bare) + len(written)
        ids = event.proposal.completion.ids
        written += ids[: len(ids) - event.proposal.dropped]
    assert len(calls) > 8


class Turns(Method):
    """The models take turns, and something is said between them."""

    async def think(self, chain):
        for turn in range(12):
            await chain.write("small" if turn % 2 else "big", max_tokens=128)
            await chain.insert(f"\n\nNow turn {turn}.\n\n")


async def test_in_a_long_chain_only_what_is_new_is_computed(endless, servers):
    """Every call goes on from the last one of the same model: all whole blocks of that come from the cache."""
    before = counts(servers)
    problem = Problem.of(PROBLEMS[1]["problem"], sampling=WILD, max_tokens=4000, max_seconds=300, seed=3)
    result = await run(problem, Turns(answer_by="small"), endless)
    calls = [event for event in result.trace if isinstance(event, Wrote)]
    assert [len(event.proposal.completion.ids) for event in calls] == [128] * 12
    known = {"big": 0, "small": 0}
    for event in calls:
        call = event.call
        assert call.cached_tokens >= known[call.role] // BLOCK * BLOCK
        known[call.role] = call.prompt_tokens + call.produced_tokens - 1 - event.proposal.dropped  # the last token is never read
    assert min(known.values()) > 10 * BLOCK
    await counted(servers, before, result.usage)


async def test_warming_saves_the_other_model_the_prefill(pair, servers):
    before = counts(servers)
    chain = Chain(Problem.of(PROBLEMS[0]["problem"] * 4, max_tokens=4000), pair)
    await chain.insert("".join(f"So we look at it again, for the {i}th time.\n\n" for i in range(30)))
    await chain.prefill("small")
    await chain.write("small", max_tokens=8)
    await chain.close()
    up, written = (event.call for event in chain.trace if isinstance(event, Prefilled | Wrote))
    assert (up.cached_tokens, up.produced_tokens) == (0, 1)
    assert written.cached_tokens == (up.prompt_tokens - 1) // BLOCK * BLOCK > 2 * BLOCK
    assert chain.trace.usage()["small"].discarded_tokens >= 1
    await counted(servers, before, chain.trace.usage())


class Followed(OpenAIEngine):
    """Tells when it has nothing to do."""

    def __init__(self, *settings):
        super().__init__(*settings)
        self.free = asyncio.Event()
        self.free.set()

    async def complete(self, *given, **rest):
        self.free.clear()
        try:
            return await super().complete(*given, **rest)
        finally:
            self.free.set()


class Waiting(Method):
    """Small writes, and after each piece lets big catch up: however busy the machine is, the warm-ups keep up."""

    async def think(self, chain):
        for _ in range(5):
            await chain.write("small", max_tokens=300)
            await asyncio.sleep(0)  # a warm-up that was just begun is at work now
            await chain.engines["big"].free.wait()


async def test_an_idle_model_is_warmed_while_the_other_one_writes(endless, servers):
    """`prefill_every`: big has most of what small wrote in its cache before it is handed the chain. The tokens are the same without."""
    unseen = f"{PROBLEMS[4]['problem']} ({uuid4()})"  # by the caches
    problem = Problem.of(unseen, sampling=WILD, seed=4, max_tokens=2000, max_seconds=300)
    async with Pair(await connected(servers["big"].url, "big", Followed), endless["small"]) as engines:
        before = counts(servers)
        warm = await run(structs.replace(problem, prefill_every=100), Waiting(), engines)
        await counted(servers, before, warm.usage)
        cold = await run(problem, Waiting(), engines)
    ups = [event.call for event in warm.trace if isinstance(event, Prefilled)]
    assert len(ups) >= 5
    assert {(call.role, call.requests, call.produced_tokens) for call in ups} == {("big", 1, 1)}
    assert ups[0].cached_tokens == 0
    for last, call in pairwise(ups):
        assert last.prompt_tokens + 100 <= call.prompt_tokens
        assert call.cached_tokens == last.prompt_tokens // BLOCK * BLOCK
    answer = next(event.call for event in warm.trace if isinstance(event, Answered))
    assert (answer.role, warm.usage["small"].kept_tokens) == ("big", 1500)
    assert answer.cached_tokens == ups[-1].prompt_tokens // BLOCK * BLOCK >= 1200 // BLOCK * BLOCK
    assert warm.usage["big"].discarded_tokens == len(ups)
    assert not [event for event in cold.trace if isinstance(event, Prefilled)]
    assert cold.reasoning == warm.reasoning


async def test_cancelling_a_task_ends_the_work_of_both_servers(endless, servers):
    """Many chains at once, in the middle of what they write: no call of theirs comes to its end.

    So many that a step of a server takes long: one that makes a thousand steps a second may say for ten seconds nothing of itself.
    """
    before = counts(servers)
    settings = {"wrappers": ["vote(ballots=24)"], "switch_chunk": 5000, "max_tokens": 7000, "temperature": 1.0}
    task = asyncio.create_task(speculative.asolve(PROBLEMS[0]["problem"], "random_switch", pair=endless, seed=5, **settings))
    await until(lambda: task.done() or all(metric(one.url, "num_requests_running") for one in servers.values()))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await quiet(servers)
    for role, now in counts(servers).items():
        assert now["requests"] == before[role]["requests"]
        assert 0 < now["produced_tokens"] - before[role]["produced_tokens"] < 24 * 5000


async def test_a_chain_whose_time_is_over_leaves_its_server_idle(endless, servers):
    async with company(servers["big"], "big"):
        result = await speculative.asolve(PROBLEMS[0]["problem"], "big_only", pair=endless, max_tokens=7000, max_seconds=5)
    assert result.finish_reason == "time"
    (cut,) = (event for event in result.trace if isinstance(event, Cancelled))
    assert result.usage["big"].produced_tokens == cut.call.produced_tokens
    assert result.usage["big"].discarded_tokens < 4  # the beginning of a character
    assert result.reasoning
    await quiet(servers)


async def test_a_strangers_client_speaks_to_the_servers_through_the_service_and_hangs_up(servers, nothing_left, tmp_path):
    """The command as it is typed, and the official client with another base URL. Hanging up ends the servers' work."""
    flags = [f"--{role}={one.url}" for role, one in servers.items()]
    command = [sys.executable, "-m", "speculative", "serve", "--port", "0", *flags]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SPECULATIVE_")}
    service = await asyncio.create_subprocess_exec(*command, cwd=tmp_path, env=clean, stderr=subprocess.PIPE)
    try:
        async with asyncio.timeout(60):
            while (said := json.loads(await service.stderr.readline()))["event"] != "ready":
                url = said.get("url", "")
        before = counts(servers)
        async with openai.AsyncOpenAI(base_url=url, api_key="none", timeout=60, max_retries=0) as client:
            ask = {"model": "speculative", "messages": [{"role": "user", "content": PROBLEMS[2]["problem"]}]}
            reply = await client.chat.completions.create(**ask, extra_body={"method": "random_switch"}, temperature=0, seed=3)
            assert "\\boxed{" in reply.choices[0].message.content
            assert reply.choices[0].finish_reason == "stop"
            usage = {role: SimpleNamespace(**one) for role, one in reply.speculative["usage"].items()}
            await counted(servers, before, usage, ["produced_tokens"])
            # So hot that it is no loop, and its end is taken back again and again: thousands of tokens, if nobody hangs up.
            long = {"method": "small_only", "params": {"sequential_scale": 1000}}
            before = counts(servers)["small"]["produced_tokens"]
            stream = await client.chat.completions.create(**ask, extra_body=long, stream=True, max_tokens=6000, temperature=2, top_p=1)
            async for chunk in stream:
                if chunk.choices and getattr(chunk.choices[0].delta, "reasoning", None):
                    break
            await stream.close()
            await quiet(servers)
            assert 0 < counts(servers)["small"]["produced_tokens"] - before < 4000
        service.terminate()
        assert await asyncio.wait_for(service.wait(), 20) == 0
    finally:
        if service.returncode is None:
            service.kill()
            await service.wait()


async def test_final_answers_are_those_of_the_bundled_pair(pair, local, capsys):
    """At temperature 0, on 24 problems; those that differ are listed (ties in the last bit can fall either way)."""
    problems = PROBLEMS[:24]
    async for method, differ, ours in final_answers(problems, pair, local):
        with capsys.disabled():  # the list is wanted from a run that passes, too
            print(f"\n{method}: {len(problems) - len(differ)} of {len(problems)} the same; (problem, vLLM's, ours): {differ}")
        assert sum(answer is not None for answer in ours) >= 20
        assert len(differ) <= 2, differ


async def test_a_tower_on_its_servers_is_the_one_in_this_process(servers, nothing_left):
    await tower_as_in_this_process(servers)
