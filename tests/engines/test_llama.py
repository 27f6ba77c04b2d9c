"""Against llama.cpp's real server: two of them on the shipped models.

    GGUF_FOLDER=$(scripts/gguf.sh) pytest -m llama

The folder holds the models as GGUF files; without the variable, the script's own folder is looked at. The server is the program
`llama-server` or the package xllamacpp (the extra `llama`). Without files or server these tests are skipped; in CI (`CI=true`) they fail.
"""

import asyncio
import json
import os
import random
import signal
from itertools import chain

import pytest
from real import (
    PROBLEMS,
    SCRIPTS,
    SHIPPED,
    final_answers,
    group,
    llama_launch,
    metric,
    prompt,
    streamed_as_completed,
    tower_as_in_this_process,
    until,
)

import speculative
from speculative.cli import run as command
from speculative.engines.base import MIN_LOGPROB, CallStats, Decoding
from speculative.engines.diagnostics import look
from speculative.engines.http.engine import OpenAIEngine
from speculative.engines.http.protocols.base import ServerRequest
from speculative.engines.vllm import launch as starting
from speculative.errors import ContextExceededError, EngineError, EngineRefusedError
from speculative.methods.base import Method
from speculative.methods.registry import names, registered
from speculative.pair import Pair
from speculative.problem import Problem
from speculative.runner import run
from speculative.trace.events import Prefilled, Wrote

pytestmark = [pytest.mark.llama, pytest.mark.timeout(300)]


def working(server):
    return metric(server.url, "requests_processing", "llamacpp")


def role_flags(llamas):
    return [part for role in llamas for part in (f"--{role}", llamas[role].url, f"--{role}-tokenizer", str(SHIPPED / role))]


async def test_likely_tokens_and_choices_are_those_of_the_bundled_engine(llama_pair, local):
    engine, prefix = llama_pair["small"], prompt(llama_pair["small"], PROBLEMS[1]["problem"])
    assert {"top", "choices"} <= engine.abilities
    ends = (engine.tokenizer.special_token_id("</think>"),)
    for decoding in (Decoding(12, top_logprobs=4, logprobs=True, stop_ids=ends), Decoding(1, choices=tuple(range(300, 310)))):
        theirs, ours = [(await one.complete([prefix], decoding, key="", stats=CallStats()))[0][0] for one in (engine, local["small"])]
        assert theirs.ids == ours.ids
        for one, other in zip(theirs.top_logprobs or (), ours.top_logprobs or (), strict=True):
            assert [number for number, _ in one][:2] == [number for number, _ in other][:2]
            assert [value for _, value in one] == pytest.approx([value for _, value in other], abs=5e-2)
        if decoding.choices:  # looked up among the likeliest: the others are not told
            told = [(one, other) for one, other in zip(theirs.choice_logprobs, ours.choice_logprobs, strict=True) if one > MIN_LOGPROB]
            assert [one for one, _ in told] == pytest.approx([other for _, other in told], abs=5e-2)


async def test_the_servers_are_known_for_what_they_are(llama_pair, local):
    for role in ("big", "small"):
        found = await look(role, llama_pair[role])
        assert found.error is None
        assert found.server.startswith("llama.cpp ")
        assert found.template == "the same as ours"
        assert set(found.abilities) == {"cached", "choices", "continue", "ids", "logprobs", "stream", "top"}
        assert found.fingerprint == local[role].tokenizer.fingerprint
        assert found.context == 8192
        ((ours,),) = await local[role].complete(
            [prompt(local[role], "What is 1+1?")], Decoding(8), key="", stats=CallStats()
        )  # what the doctor asks
        assert found.reply == local[role].tokenizer.to_bytes(ours.ids).decode()


async def test_greedy_ids_and_their_log_probabilities_are_those_of_the_bundled_engine(llama_pair, local):
    for role in ("big", "small"):
        stop_ids = tuple(local[role].tokenizer.special_token_id(end) for end in ("</think>", "<|im_end|>"))
        prefixes = [prompt(local[role], problem["problem"]) for problem in PROBLEMS[:12]]
        decoding, stats = Decoding(96, stop_ids=stop_ids, logprobs=True), CallStats()
        theirs = await llama_pair[role].complete(prefixes, decoding, key="", stats=stats)
        ours = await local[role].complete(prefixes, decoding, key="", stats=CallStats())
        pairs = [(one, other) for (one,), (other,) in zip(theirs, ours, strict=True) if one.ids == other.ids]
        assert len(pairs) >= 11
        for one, other in pairs:
            assert (one.finish, one.end_id) == (other.finish, other.end_id)
            assert one.logprobs == pytest.approx(other.logprobs, abs=2e-2)
        assert stats.produced_tokens >= sum(one.produced for (one,) in theirs)


async def test_a_text_that_ends_by_itself_says_how(llama_pair):
    """The server knows the end of a text by itself, whether it is among the stop ids or not."""
    engine = llama_pair["big"]
    end = engine.tokenizer.special_token_id("<|im_end|>")
    prefix = prompt(engine, PROBLEMS[0]["problem"])
    ((asked,),) = await engine.complete([prefix], Decoding(2000, stop_ids=(end,)), key="", stats=CallStats())
    ((unasked,),) = await engine.complete([prefix], Decoding(2000), key="", stats=CallStats())
    assert asked == unasked
    assert (asked.finish, asked.end_id) == ("end", end)
    assert engine.tokenizer.special_token_id("</think>") in asked.ids


async def test_a_stream_gives_what_complete_gives(llama_pair):
    await streamed_as_completed(llama_pair["small"])


async def test_no_id_of_a_character_is_lost(llama_pair, monkeypatch):
    """Streamed answers leave out all but the last id of a character of several tokens. A grammar makes the model write some."""
    engine, text = llama_pair["big"], "é🦊 中🦊🦊"
    prefix, body = engine.tokenizer.encode("Once"), engine._protocol.body
    ends = tuple(engine.tokenizer.special_token_id(end) for end in ("<|im_end|>", "<|endoftext|>"))
    grammar = {"grammar": f'root ::= "{text}"'}
    monkeypatch.setattr(engine._protocol, "body", lambda *asked: body(*asked) | grammar)
    ((whole,),) = await engine.complete([prefix], Decoding(60, logprobs=True), key="", stats=CallStats())
    assert engine.tokenizer.to_bytes(whole.ids).decode() == text
    assert len(whole.logprobs) == len(whole.ids) > len(text)
    at_once = {**body(ServerRequest([prefix], [0], 60), Decoding(60), 1), **grammar, "stream": False}
    del at_once["return_progress"]
    answer = json.loads(await engine.client.post("/completion", at_once, ""))
    assert list(whole.ids) == [number for number in answer["tokens"] if number not in engine.tokenizer.special_tokens.values()]
    for stop in ("🦊", "中", "🦊🦊🦊"):  # the server takes such texts off its answers
        ((ended,),) = await engine.complete([prefix], Decoding(60, stop=(stop,), stop_ids=ends), key="", stats=CallStats())
        assert engine.tokenizer.to_bytes(ended.ids).decode() == (text.partition(stop)[0] + stop if stop in text else text)
        assert ended.finish == ("stop" if stop in text else "end")
    for limit in range(1, len(whole.ids)):
        stats = CallStats()
        ((cut,),) = await engine.complete([prefix], Decoding(limit), key="", stats=stats)
        assert (cut.ids, cut.finish) == (whole.ids[: len(cut.ids)], "length")
        assert limit - 3 <= len(cut.ids) <= limit
        assert engine.tokenizer.to_bytes(cut.ids).decode() or limit < 4  # whole characters
        assert stats.produced_tokens == limit


async def test_chunks_of_one_token_get_through_characters_of_several(llama_pair, monkeypatch):
    text, engine = "🦊é 中🦊", llama_pair["small"]
    body = engine._protocol.body
    monkeypatch.setattr(engine._protocol, "body", lambda *asked: body(*asked) | {"grammar": f'root ::= "{text}"'})
    written = []

    class Chunks(Method):
        append_only = False

        async def run(self, chain):
            mark = chain.checkpoint()
            for size in (1, 2, 3):
                await chain.rewind(mark)
                written.append((await chain.write("small", max_tokens=size)).text)

    result = await speculative.asolve(PROBLEMS[0]["problem"], Chunks(), pair=llama_pair, temperature=0.0, max_produced=200)
    assert [text.startswith(one) and one for one in written] == written
    assert all(written)
    assert result.usage["small"].produced_tokens <= 24  # each a first try, and a second one behind the character


async def test_seeds_make_the_draws_and_each_place_has_its_own(llama_pair):
    engine = llama_pair["small"]
    prefix = engine.tokenizer.encode("Once upon a time")  # nothing that it would be sure of
    decoding, stats = Decoding(24, temperature=1.0, seed=11, n=3), CallStats()
    first = await engine.complete([prefix, prefix], decoding, key="", stats=stats)
    # Company, and how much of the prompt is in the cache, change the last bits of what the server computes, and so a draw now and then:
    # these are alone, one after another, and the last two find the same cache.
    alone = [(await engine.complete([prefix], Decoding(24, temperature=1.0, seed=5), key="", stats=CallStats()))[0][0] for _ in range(3)]
    assert alone[1] == alone[2]
    assert len({one.ids for several in first for one in several}) == 6
    assert stats.requests == 6


async def test_our_ids_are_the_servers_ids_for_any_text(llama_pair):
    draws = random.Random(5)
    alphabet = "abc XYZ 0123\n\n\t.,🦊é中\u0301\u200d\x00\x07\u2028\ufeffßİ\\{}<>|/think"
    for engine in llama_pair.values():
        for _ in range(60):
            text = "".join(draws.choice(alphabet) for _ in range(draws.randint(1, 60)))
            answer = json.loads(await engine.client.post("/tokenize", {"content": text, "parse_special": False}, ""))
            if not set(answer["tokens"]) & set(engine.tokenizer.special_tokens.values()):
                assert engine.tokenizer.encode(text) == answer["tokens"]


async def test_the_prefix_cache_is_used_and_counted(llama_pair):
    engine = llama_pair["big"]
    prefix = (prompt(engine, PROBLEMS[0]["problem"]) * 30)[:1000]
    cold, warm = CallStats(), CallStats()
    await engine.complete([prefix], Decoding(1), key="", stats=cold)
    await engine.complete([[*prefix, 30, 31]], Decoding(1), key="", stats=warm)
    assert cold.cached_tokens < 100
    assert warm.cached_tokens == 1000
    assert warm.prompt_tokens == 1002


LACKS = {"score", "reward"}
"""The abilities that a llama.cpp server does not have."""


@pytest.mark.parametrize("method", [name for name in names() if not LACKS & {*chain.from_iterable(registered()[name].needs.values())}])
async def test_every_method_end_to_end(llama_pair, method):
    result = await speculative.asolve(PROBLEMS[2]["problem"], method, pair=llama_pair, max_tokens=600, max_seconds=250, seed=3)
    assert result.finish_reason in ("stop", "length", "loop")
    assert result.text or result.finish_reason != "stop"
    for usage in result.usage.values():
        assert usage.produced_tokens == usage.kept_tokens + usage.discarded_tokens
    assert any(usage.requests for usage in result.usage.values())
    assert not any(marker in result.reasoning for marker in ("<|im_end|>", "</think>", "<think>"))


class Turns(Method):
    """The models take turns, far past the end of the thinking. What is said between turns keeps it from being a loop."""

    async def think(self, chain):
        for turn in range(40):
            await chain.write("small" if turn % 2 else "big", max_tokens=32)
            if chain.finish not in (None, "stop"):
                return
            await chain.insert(f"\n\nNow turn {turn}.\n\n")


async def test_one_step_after_another_is_written_into_the_same_cache(llama_pair):
    """A step ends at a stop string, and the next call goes to the slot that has all of it: the slot is free by then."""
    engine = llama_pair["big"]
    prefix = prompt(engine, PROBLEMS[7]["problem"])
    ends = tuple(engine.tokenizer.special_token_id(end) for end in ("</think>", "<|im_end|>"))
    for step in range(5):
        stats = CallStats()
        ((completion,),) = await engine.complete([prefix], Decoding(200, stop=("\n\n",), stop_ids=ends), key="", stats=stats)
        if step:
            assert stats.cached_tokens >= len(prefix) - 2
        assert stats.produced_tokens == completion.produced
        if completion.finish != "stop":
            break
        prefix = [*prefix, *completion.ids]
    assert step >= 2


async def test_in_a_chain_only_what_is_new_is_computed(llama_pair):
    """The server keeps every token of its cache, not whole blocks: of a prompt, all that the model has seen comes from it."""
    problem = Problem.of(PROBLEMS[0]["problem"], max_tokens=4000, max_seconds=250, seed=2)
    result = await run(problem, Turns(), llama_pair)
    calls = [event.call for event in result.trace if isinstance(event, Wrote)]
    assert len(calls) >= 20
    seen = {}
    for call in calls:
        # The last token that was written is in no cache yet; what was cut off a draft is not of the next prompt.
        assert call.cached_tokens >= seen.get(call.role, 0) - 2
        seen[call.role] = call.prompt_tokens
    assert set(seen) == {"big", "small"}
    assert min(seen.values()) > 300


async def test_an_idle_model_is_warmed_while_the_other_one_writes(llama_pair):
    settings = {"pair": llama_pair, "temperature": 0, "max_tokens": 1500, "sequential_scale": 8, "answer_by": "big"}
    warm = await speculative.asolve(PROBLEMS[4]["problem"], "small_only", prefill_every=50, **settings)
    ups = [event.call for event in warm.trace if isinstance(event, Prefilled)]
    assert ups
    assert {call.role for call in ups} == {"big"}
    cold = await speculative.asolve(PROBLEMS[4]["problem"], "small_only", **settings)
    assert cold.reasoning == warm.reasoning


async def test_cancelling_frees_the_slots(llama_pair, llamas, monkeypatch):
    engine, stats = llama_pair["big"], CallStats()
    body = engine._protocol.body
    monkeypatch.setattr(
        engine._protocol, "body", lambda *asked: body(*asked) | {"ignore_eos": True}
    )  # however slow we look, they are at work
    prefix = prompt(engine, PROBLEMS[0]["problem"])
    more = engine.tokenizer.encode("Once upon a time")
    task = asyncio.create_task(engine.complete([more] * 8, Decoding(6000, temperature=0.9, seed=4), key="", stats=stats))
    await until(lambda: working(llamas["big"]) == 4 or task.done())
    await until(lambda: stats.produced_tokens > 10 or task.done())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    monkeypatch.undo()
    await until(lambda: working(llamas["big"]) == 0)
    assert metric(llamas["big"].url, "requests_deferred", "llamacpp") == 0
    assert (await engine.complete([prefix], Decoding(4), key="", stats=CallStats()))[0][0].finish == "length"


async def test_more_chains_than_slots_wait_for_their_turn(llama_pair):
    chains = [speculative.asolve(problem["problem"], "random_switch", pair=llama_pair, seed=1) for problem in PROBLEMS[:12]]
    assert {result.finish_reason for result in await asyncio.gather(*chains)} <= {"stop", "loop"}


async def test_what_does_not_fit_is_said(llama_pair):
    engine = llama_pair["small"]
    with pytest.raises(ContextExceededError):
        await engine.complete([[40] * 9000], Decoding(1), key="", stats=CallStats())
    ((full,),) = await engine.complete([[40] * 8190], Decoding(9, temperature=0.7), key="", stats=CallStats())
    assert full.finish in ("context", "end")
    assert len(full.ids) <= 2
    with pytest.raises(EngineRefusedError, match="invalid tokens"):
        await engine.complete([[99999]], Decoding(1), key="", stats=CallStats())
    with pytest.raises(EngineError, match="cannot score"):
        await engine.score([[40]], [[41]], key="", stats=CallStats())


async def test_a_key_is_asked_for_and_a_server_that_dies_leaves_the_chain_to_the_survivor(tmp_path, llama_pair, llamas, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    own = await asyncio.to_thread(starting.start_and_wait, llama_launch("small", "--api-key sesame"))
    try:
        for wrong in (None, "simsim"):
            with pytest.raises(EngineRefusedError, match=r"401.*--big-key") as refused:
                await OpenAIEngine.connect(own.url, secret=wrong, tokenizer=str(SHIPPED / "small"))
            assert "sesame" not in str(refused.value)
        small = await OpenAIEngine.connect(own.url, secret="sesame")  # its tokenizer is read from the file
        big = await OpenAIEngine.connect(llamas["big"].url, tokenizer=str(SHIPPED / "big"))
        async with Pair(big, small) as pair:

            async def forever(**settings):
                for seed in range(1000):
                    result = await speculative.asolve(PROBLEMS[0]["problem"], "small_only", pair=pair, seed=seed, **settings)
                    if result.degraded:
                        return result
                raise AssertionError("the server outlived a thousand chains")

            task = asyncio.create_task(forever(degrade="big"))
            await asyncio.sleep(0.5)
            os.killpg(group(own), signal.SIGKILL)
            assert (await task).degraded == "small"
            with pytest.raises(EngineError) as lost:
                await speculative.asolve(PROBLEMS[0]["problem"], "small_only", pair=pair)
            assert lost.value.lost
    finally:
        await asyncio.to_thread(own.end)


def test_the_commands_run_on_its_servers(llamas, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    assert command(["doctor", *role_flags(llamas)]) == 0
    document = [" ".join(line.split()) for line in (SCRIPTS.parent / "docs" / "servers.md").read_text().splitlines()]
    for line in capsys.readouterr().out.splitlines():
        for port, role in ((8811, "big"), (8812, "small")):
            line = line.replace(llamas[role].url, f"http://127.0.0.1:{port}/v1")
        assert " ".join(line.split()) in document
    assert command(["ask", PROBLEMS[0]["problem"], "--method", "random_switch", "--seed", "1", "--json", *role_flags(llamas)]) == 0
    assert json.loads(capsys.readouterr().out)["finish_reason"] == "stop"
    methods = "big_only,small_only,random_switch"
    assert command(["compare", "--methods", methods, "--limit", "5", "--out", str(tmp_path / "runs"), *role_flags(llamas)]) == 0
    shown = capsys.readouterr().out
    assert all(f" {method} " in shown for method in methods.split(","))


async def test_final_answers_are_those_of_the_bundled_pair(llama_pair, local):
    """At temperature 0, on ten problems; those that differ are listed (ties in the last bit can fall either way)."""
    problems = PROBLEMS[:10]
    async for method, differ, _ in final_answers(problems, llama_pair, local):
        print(f"{method}: {len(problems) - len(differ)} of {len(problems)} the same; {differ}")
        assert len(differ) <= 1, differ


async def test_a_tower_on_its_servers_is_the_one_in_this_process(llamas):
    await tower_as_in_this_process(llamas)
