"""Against real vLLM: two servers on the shipped models.

    VLLM_CPU=$(scripts/vllm-cpu.sh) pytest -m vllm

`VLLM_CPU` is the Python that has vLLM, or the folder of its environment; without it the folder that the script builds by itself is looked
at. Without a Python these tests are skipped; in CI (`CI=true`) they fail.
"""

import asyncio
import json
import random
import unicodedata

import pytest
from real import PROBLEMS, metric, prompt, until

import speculative
from speculative.chain import Chain
from speculative.engines.base import Decoding, Tally
from speculative.engines.checkup import look
from speculative.events import Answered, Warmed, Wrote
from speculative.methods.base import Method
from speculative.methods.registry import names
from speculative.problem import Problem
from speculative.runner import run

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(1500)]


async def test_the_servers_are_known_for_what_they_are(pair, local):
    for role in ("big", "small"):
        found = await look(role, pair[role])
        assert found.error is None
        assert found.server == "vllm 0.32.0"
        assert found.template == "the same as ours"
        assert set(found.abilities) == {"cached", "continue", "ids", "logprobs", "score", "stream"}
        assert pair[role].vocabulary.fingerprint == local[role].vocabulary.fingerprint
        assert pair[role].context == 8192


async def test_greedy_ids_are_those_of_the_bundled_engine(pair, local):
    for role in ("big", "small"):
        stop_ids = tuple(local[role].vocabulary.marker(end) for end in ("</think>", "<|im_end|>"))
        prefixes = [prompt(local[role], problem["problem"]) for problem in PROBLEMS[:12]]
        decoding = Decoding(96, stop_ids=stop_ids, logprobs=True)
        theirs = await pair[role].complete(prefixes, decoding, key="", tally=Tally())
        ours = await local[role].complete(prefixes, decoding, key="", tally=Tally())
        same = sum(one[0].ids == other[0].ids and one[0].finish == other[0].finish for one, other in zip(theirs, ours, strict=True))
        assert same >= 11
        for (one,), (other,) in zip(theirs, ours, strict=True):
            if one.ids == other.ids:
                assert one.logprobs == pytest.approx(other.logprobs, abs=2e-2)


async def test_a_stream_gives_what_complete_gives(pair):
    engine = pair["small"]
    prefix = prompt(engine, PROBLEMS[3]["problem"])
    for decoding in (Decoding(64, stop=("\n\n",), logprobs=True), Decoding(64, temperature=0.8, seed=7), Decoding(1), Decoding(3)):
        ((whole,),) = await engine.complete([prefix], decoding, key="", tally=Tally())
        deltas = [delta async for delta in engine.stream(prefix, decoding, key="", tally=Tally())]
        assert deltas[-1].completion == whole
        assert tuple(number for delta in deltas for number in delta.ids) == whole.ids
        text = engine.vocabulary.to_bytes(whole.ids)
        if decoding.stop:
            assert whole.finish == "stop"
            assert b"\n\n" in text
            assert b"\n\n" not in engine.vocabulary.to_bytes(whole.ids[:-1])


async def test_seeds_make_the_draws_and_each_place_has_its_own(pair):
    engine = pair["small"]
    prefix = engine.vocabulary.encode("Once upon a time")  # nothing that it would be sure of
    decoding = Decoding(40, temperature=2.0, seed=11, n=3)
    tally = Tally()
    first = await engine.complete([prefix, prefix], decoding, key="", tally=tally)
    again = await engine.complete([prefix, prefix], decoding, key="", tally=Tally())
    assert first == again
    assert len({one.ids for several in first for one in several}) > 1
    assert first[0] != first[1]
    assert tally.requests == 2
    assert tally.produced_tokens == sum(one.produced for several in first for one in several)


async def test_scores_are_those_of_the_bundled_engine(pair, local):
    for role in ("big", "small"):
        prefixes = [prompt(local[role], problem["problem"]) for problem in PROBLEMS[:4]]
        given = [local[role].vocabulary.encode(text) for text in ("So 3 * 4 = 12.\n\n", "Wait.", "é🦊", "\\boxed{7}")]
        tally = Tally()
        theirs = await pair[role].score(prefixes, given, key="", tally=tally)
        ours = await local[role].score(prefixes, given, key="", tally=Tally())
        for one, other in zip(theirs, ours, strict=True):
            assert one == pytest.approx(other, abs=2e-2)
        assert tally.scored_tokens == sum(map(len, given))
        assert tally.cached_tokens == 0


async def test_our_ids_are_the_servers_ids_for_any_text(pair):
    draws = random.Random(5)
    alphabet = "abc XYZ 0123\n\n\t.,🦊é中\u0301\u200d\x00\x07\u2028\ufeffßİ\\{}<>|/think"
    for engine in pair.values():
        for _ in range(60):
            text = "".join(draws.choice(alphabet) for _ in range(draws.randint(1, 60)))
            body = {"model": engine.server.model, "prompt": text, "add_special_tokens": False}
            answer = json.loads(await engine.link.post("/tokenize", body, ""))
            # The server may compose characters (NFC) before it encodes, which would change a text; we never do, and send ids.
            if unicodedata.is_normalized("NFC", text) and not set(answer["tokens"]) & set(engine.vocabulary.markers.values()):
                assert engine.vocabulary.encode(text) == answer["tokens"]
            assert engine.vocabulary.to_bytes(engine.vocabulary.encode(text)).decode() == text


async def test_the_prefix_cache_is_used_and_counted(pair):
    engine = pair["big"]
    prefix = (prompt(engine, PROBLEMS[0]["problem"]) * 30)[:1000]
    cold, warm = Tally(), Tally()
    await engine.complete([prefix], Decoding(1), key="", tally=cold)
    await engine.complete([[*prefix, 30, 31]], Decoding(1), key="", tally=warm)
    assert warm.cached_tokens >= 896
    assert warm.prompt_tokens == 1002


@pytest.mark.parametrize("method", names())
async def test_every_method_end_to_end(pair, method):
    result = await speculative.asolve(PROBLEMS[2]["problem"], method, pair=pair, max_tokens=600, max_seconds=300, seed=3)
    assert result.finish_reason in ("stop", "length", "loop")
    assert result.answer or result.finish_reason != "stop"
    for usage in result.usage.values():
        assert usage.produced_tokens == usage.kept_tokens + usage.discarded_tokens
        assert usage.requests > 0
    assert not any(marker in result.reasoning for marker in ("<|im_end|>", "</think>", "<think>"))


async def test_placeholder_calls_both_servers(pair, servers):
    before = {role: metric(servers[role].url, "request_success_total") for role in servers}
    await speculative.asolve(PROBLEMS[0]["problem"], "placeholder", pair=pair, max_tokens=300)
    for role, count in before.items():
        await until(lambda role=role, count=count: metric(servers[role].url, "request_success_total") > count)


async def test_warming_saves_the_other_model_the_prefill(pair, servers):
    problem = Problem.of(PROBLEMS[0]["problem"] * 4, max_tokens=4000)
    before = metric(servers["small"].url, "request_success_total")
    chain = Chain(problem, pair)
    await chain.insert("".join(f"So we look at it again, for the {i}th time.\n\n" for i in range(30)))
    await chain.warm("small")
    await chain.write("small", max_tokens=8)
    await chain.close()
    usage = chain.trace.usage()["small"]
    assert usage.requests == 2
    assert usage.cached_tokens >= 256
    assert usage.discarded_tokens >= 1
    await until(lambda: metric(servers["small"].url, "request_success_total") >= before + 2)


async def test_in_a_chain_only_what_is_new_is_computed(pair):
    """Every call goes on from the last one of the same model: all of that but the last part of a block comes from the cache."""
    block, seen = 128, {}
    problem = Problem.of(PROBLEMS[0]["problem"], max_tokens=4000, max_seconds=120, seed=2)
    result = await run(problem, Turns(), pair)
    calls = [event.call for event in result.trace if isinstance(event, Wrote)]
    assert len(calls) >= 20
    for call in calls:
        before = seen.get(call.role, 0)
        assert call.cached_tokens >= before // block * block - block
        seen[call.role] = call.prompt_tokens + call.produced_tokens
    assert set(seen) == {"big", "small"}
    assert min(seen.values()) > 4 * block


class Turns(Method):
    """The models take turns, far past the end of the thinking. What is said between turns keeps it from being a loop."""

    async def think(self, chain):
        for turn in range(60):
            await chain.write("small" if turn % 2 else "big", max_tokens=48)
            if chain.finish not in (None, "stop"):
                return
            await chain.insert(f"\n\nNow turn {turn}.\n\n")


async def test_an_idle_model_is_warmed_while_the_other_one_writes(pair, servers):
    """`warm_every`: big has most of what small wrote in its cache before it is handed the chain. The tokens are the same without."""
    before = {role: metric(servers[role].url, "request_success_total") for role in servers}
    settings = {"pair": pair, "temperature": 0, "max_tokens": 1500, "sequential_scale": 8, "answer_by": "big"}
    warm = await speculative.asolve(PROBLEMS[4]["problem"], "small_only", warm_every=100, **settings)
    ups = [event.call for event in warm.trace if isinstance(event, Warmed)]
    assert ups  # how many depends on how busy the machine is: one at a time, and none while the last is under way
    assert {call.role for call in ups} == {"big"}
    answer = next(event.call for event in warm.trace if isinstance(event, Answered))
    assert answer.role == "big"
    assert answer.cached_tokens >= max(call.prompt_tokens for call in ups) // 128 * 128 - 128
    assert warm.usage["big"].discarded_tokens >= len(ups)
    for role, count in before.items():
        await until(lambda role=role, count=count: metric(servers[role].url, "request_success_total") >= count + 2)
    cold = await speculative.asolve(PROBLEMS[4]["problem"], "small_only", **settings)
    assert cold.reasoning == warm.reasoning


async def test_many_beams_in_one_call(pair):
    """The width that SplitReason's example asks for."""
    engine, tally = pair["small"], Tally()
    prefix = prompt(engine, PROBLEMS[0]["problem"])
    ((*several,),) = await engine.complete([prefix], Decoding(16, temperature=2.0, n=512, seed=2), key="", tally=tally)
    assert len(several) == 512
    assert tally.requests == 1
    assert len({one.ids for one in several}) > 50


async def test_cancelling_ends_the_work_of_the_server(pair, servers):
    engine, tally = pair["big"], Tally()
    prefix = prompt(engine, PROBLEMS[0]["problem"])
    task = asyncio.create_task(engine.complete([prefix] * 3, Decoding(6000, temperature=1.0), key="", tally=tally))
    await until(lambda: metric(servers["big"].url, "num_requests_running") >= 3)
    await until(lambda: tally.produced_tokens > 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: metric(servers["big"].url, "num_requests_running") == 0)
    assert 10 < tally.produced_tokens < 18000
    assert tally.prompt_tokens == 3 * len(prefix)


async def test_final_answers_are_those_of_the_bundled_pair(pair, local):
    """At temperature 0, on 100 problems; those that differ are listed (ties in the last bit can fall either way)."""
    problems = PROBLEMS[::5][:100]
    for method in ("big_only", "random_switch"):
        gate = asyncio.Semaphore(12)

        async def answer(problem, engines, method=method, gate=gate):
            async with gate:
                result = await speculative.asolve(problem["problem"], method, pair=engines, temperature=0, seed=1, max_tokens=2000)
            return result.boxed

        theirs = await asyncio.gather(*(answer(problem, pair) for problem in problems))
        ours = await asyncio.gather(*(answer(problem, local) for problem in problems))
        differ = [
            (problem.get("id", place), one, other)
            for place, (problem, one, other) in enumerate(zip(problems, theirs, ours, strict=True))
            if one != other
        ]
        print(f"{method}: {len(problems) - len(differ)} of {len(problems)} the same; {differ}")
        assert len(differ) <= 5, differ
