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
from real import PROBLEMS, counts, metric, prompt, quiet, streamed_as_completed, through_doors, until

from speculative.engines.base import CACHE_SALT, CallStats, Decoding
from speculative.engines.diagnostics import look
from speculative.engines.http.protocols.vllm import REPEATED

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(1500)]


async def test_the_servers_are_known_for_what_they_are(pair, local):
    for role in ("big", "small"):
        found = await look(role, pair[role])
        assert found.error is None
        assert found.server == "vllm 0.32.0"
        assert found.template == "the same as ours"
        assert set(found.abilities) == {"cached", "choices", "continue", "ids", "logprobs", "priority", "score", "stream", "top"}
        assert pair[role].tokenizer.fingerprint == local[role].tokenizer.fingerprint
        assert pair[role].context == 8192


async def test_a_server_that_schedules_by_priority_takes_that_of_each_call(servers):
    async with through_doors(servers) as (pair, doors):
        engine, prefix = pair["small"], prompt(pair["small"], PROBLEMS[0]["problem"])
        doors["small"].bodies.clear()
        decodings = [Decoding(3, purpose=purpose) for purpose in ("reply", "text", "ahead", "prefill")]
        found = await asyncio.gather(*(engine.complete([prefix], one, key="", stats=CallStats()) for one in decodings))
        assert len({several[0][0].ids for several in found}) == 1
        assert sorted(body.get("priority", 0) for body in doors["small"].bodies) == [0, 1, 2, 2]


async def test_greedy_ids_are_those_of_the_bundled_engine(pair, local):
    for role in ("big", "small"):
        stop_ids = tuple(local[role].tokenizer.special_token_id(end) for end in ("</think>", "<|im_end|>"))
        prefixes = [prompt(local[role], problem["problem"]) for problem in PROBLEMS[:12]]
        decoding = Decoding(96, stop_ids=stop_ids, logprobs=True)
        theirs = await pair[role].complete(prefixes, decoding, key="", stats=CallStats())
        ours = await local[role].complete(prefixes, decoding, key="", stats=CallStats())
        same = sum(one[0].ids == other[0].ids and one[0].finish == other[0].finish for one, other in zip(theirs, ours, strict=True))
        assert same >= 11
        for (one,), (other,) in zip(theirs, ours, strict=True):
            if one.ids == other.ids:
                assert one.logprobs == pytest.approx(other.logprobs, abs=2e-2)


async def test_a_stream_gives_what_complete_gives(pair):
    await streamed_as_completed(pair["small"])


async def test_seeds_make_the_draws_and_each_place_has_its_own(pair):
    engine = pair["small"]
    prefix = engine.tokenizer.encode("Once upon a time")  # nothing that it would be sure of
    decoding = Decoding(40, temperature=2.0, seed=11, n=3)
    stats = CallStats()
    first = await engine.complete([prefix, prefix], decoding, key="", stats=stats)
    again = await engine.complete([prefix, prefix], decoding, key="", stats=CallStats())
    assert first == again
    assert len({one.ids for several in first for one in several}) > 1
    assert first[0] != first[1]
    assert stats.requests == 2
    assert stats.produced_tokens == sum(one.produced for several in first for one in several)


async def test_scores_are_those_of_the_bundled_engine(pair, local):
    for role in ("big", "small"):
        prefixes = [prompt(local[role], problem["problem"]) for problem in PROBLEMS[:4]]
        given = [local[role].tokenizer.encode(text) for text in ("So 3 * 4 = 12.\n\n", "Wait.", "é🦊", "\\boxed{7}")]
        stats = CallStats()
        theirs = await pair[role].score(prefixes, given, key="", stats=stats)
        ours = await local[role].score(prefixes, given, key="", stats=CallStats())
        for one, other in zip(theirs, ours, strict=True):
            assert one == pytest.approx(other, abs=2e-2)
        assert stats.scored_tokens == sum(map(len, given))
        assert pair[role].scores_flat


async def test_a_step_is_scored_with_the_cache_kept_for_any_length_of_the_prefix(pair, local):
    """Around a whole block of the cache (128 tokens), too: there the row of the step's first token is missing."""
    engine = pair["small"]
    text = (prompt(engine, PROBLEMS[0]["problem"]) * 30)[:700]
    step = engine.tokenizer.encode("So 3 * 4 = 12.\n\n")
    for length in (383, 384, 385, 500, 512, 700):
        prefix, stats = text[:length], CallStats()
        await engine.complete([prefix], Decoding(1), key="", stats=CallStats())
        for again in range(2):  # the second time the step itself may lie in the cache
            (theirs,) = await engine.score([prefix], [step], key="", stats=stats, top=0)
            (ours,) = await local["small"].score([prefix], [step], key="", stats=CallStats())
            assert theirs == pytest.approx(ours, abs=2e-2), (length, again)
        assert stats.cached_tokens >= length // 128 * 128
        assert stats.scored_tokens == 2 * len(step)


async def test_a_step_whose_beginning_was_read_before_is_not_computed_with_its_whole_prefix(pair, local):
    """Two drafts of a step share their first tokens, which fill a block of the cache (128 tokens)."""
    engine = pair["small"]
    prefix = (prompt(engine, PROBLEMS[1]["problem"]) * 30)[:506]
    drafts = [engine.tokenizer.encode("So 3 * 4 = 12." + more) for more in (" Then 12 + 5 = 17.\n\n", " Next: 12 - 2 = 10.\n\n")]
    await engine.complete([prefix], Decoding(1), key="", stats=CallStats())
    for draft in drafts:
        stats = CallStats()
        (theirs,) = await engine.score([prefix], [draft], key="", stats=stats)
        (ours,) = await local["small"].score([prefix], [draft], key="", stats=CallStats())
        assert theirs == pytest.approx(ours, abs=2e-2)
    assert stats.requests > 1  # single tokens, all of them behind cached prefixes
    assert stats.cached_tokens >= stats.requests * 384
    assert stats.produced_tokens == stats.requests


async def test_likely_tokens_and_choices_are_those_of_the_bundled_engine(pair, local):
    engine, prefix = pair["small"], prompt(pair["small"], PROBLEMS[1]["problem"])
    step = engine.tokenizer.encode("So 3")
    digits = tuple(engine.tokenizer.encode(digit)[0] for digit in "0123456789")
    for decoding in (Decoding(12, top_logprobs=4, logprobs=True), Decoding(1, choices=digits)):
        theirs, ours = [(await one.complete([prefix], decoding, key="", stats=CallStats()))[0][0] for one in (engine, local["small"])]
        assert theirs.ids == ours.ids
        for one, other in zip(theirs.top_logprobs or (), ours.top_logprobs or (), strict=True):
            assert [number for number, _ in one][:2] == [number for number, _ in other][:2]
            assert [value for _, value in one] == pytest.approx([value for _, value in other], abs=5e-2)
        if decoding.choices:
            assert theirs.choice_logprobs == pytest.approx(ours.choice_logprobs, abs=5e-2)
    theirs, ours = [(await one.score([prefix], [step], key="", stats=CallStats(), top=3))[0] for one in (engine, local["small"])]
    assert theirs == pytest.approx(ours, abs=2e-2)
    for one, other in zip(theirs.top, ours.top, strict=True):
        assert [value for _, value in one] == pytest.approx([value for _, value in other], abs=5e-2)


async def test_a_key_finds_only_its_own_prefixes_in_the_cache(pair):
    engine = pair["big"]
    prefix = engine.tokenizer.encode(f"{random.random()} pens and 17 cups. " * 60)[:300]
    found: dict[str, list[int]] = {"": [], "one": [], "two": []}
    for key in ("", "", "one", "one", "two"):
        token, stats = CACHE_SALT.set(key or None), CallStats()
        await engine.complete([prefix], Decoding(1), key="salt", stats=stats)
        CACHE_SALT.reset(token)
        found[key].append(stats.cached_tokens)
    assert found == {"": [0, 256], "one": [0, 256], "two": [0]}


async def test_a_server_ends_a_text_that_repeats_itself(pair):
    engine = pair["small"]
    ((found,),) = await engine.complete([engine.tokenizer.encode("x is 5, y is 5. " * 16)], Decoding(1200), key="loop", stats=CallStats())
    assert found.finish == "loop"
    assert len(found.ids) < 1200
    times, ids = REPEATED["min_count"], list(found.ids)
    sizes = range(REPEATED["min_pattern_size"], REPEATED["max_pattern_size"] + 1)
    assert any(ids[-times * size :] == times * ids[-size:] for size in sizes)


async def test_each_of_many_choices_has_its_log_probability(pair, local):
    choices = tuple(range(300, 330))  # more than the 20 likeliest, which are asked for elsewhere
    prefix, decoding = prompt(pair["big"], PROBLEMS[0]["problem"]), Decoding(1, choices=choices)
    theirs, ours = [(await one.complete([prefix], decoding, key="", stats=CallStats()))[0][0] for one in (pair["big"], local["big"])]
    assert theirs.choice_logprobs == pytest.approx(ours.choice_logprobs, abs=5e-2)
    assert len(theirs.choice_logprobs) == 30


async def test_our_ids_are_the_servers_ids_for_any_text(pair):
    draws, compared = random.Random(5), 0
    alphabet = "abc XYZ 0123\n\n\t.,🦊é中\u0301\u200d\x00\x07\u2028\ufeffßİ\\{}<>|/think"
    for engine in pair.values():
        for _ in range(60):
            text = "".join(draws.choice(alphabet) for _ in range(draws.randint(1, 60)))
            body = {"model": engine.server.model, "prompt": text, "add_special_tokens": False}
            answer = json.loads(await engine.client.post("/tokenize", body, ""))
            # The server may compose characters (NFC) before it encodes, which would change a text; we never do, and send ids.
            if unicodedata.is_normalized("NFC", text) and not set(answer["tokens"]) & set(engine.tokenizer.special_tokens.values()):
                assert engine.tokenizer.encode(text) == answer["tokens"]
                compared += 1
            assert engine.tokenizer.to_bytes(engine.tokenizer.encode(text)).decode() == text
    assert compared > 40


async def test_the_prefix_cache_is_used_and_counted(pair):
    engine = pair["big"]
    prefix = (prompt(engine, PROBLEMS[0]["problem"]) * 30)[:1000]
    cold, warm = CallStats(), CallStats()
    await engine.complete([prefix], Decoding(1), key="", stats=cold)
    await engine.complete([[*prefix, 30, 31]], Decoding(1), key="", stats=warm)
    assert (cold.cached_tokens, cold.prompt_tokens) == (0, 1000)
    assert (warm.cached_tokens, warm.prompt_tokens) == (896, 1002)


async def test_many_beams_in_one_call(pair):
    """The width that SplitReason's example asks for."""
    engine, stats = pair["small"], CallStats()
    prefix = prompt(engine, PROBLEMS[0]["problem"])
    ((*several,),) = await engine.complete([prefix], Decoding(16, temperature=2.0, n=512, seed=2), key="", stats=stats)
    assert len(several) == 512
    assert stats.requests == 1
    assert len({one.ids for one in several}) > 50


async def test_cancelling_ends_the_work_of_the_server(pair, servers):
    """Of so many completions that it would take long: a busy server may say for ten seconds nothing of itself."""
    engine, stats, url = pair["big"], CallStats(), servers["big"].url
    prefix = prompt(engine, PROBLEMS[0]["problem"])
    before = counts(servers)["big"]
    task = asyncio.create_task(engine.complete([prefix] * 24, Decoding(6000, temperature=1.0), key="", stats=stats))
    await until(lambda: metric(url, "num_requests_running") >= 3)
    await until(lambda: stats.produced_tokens > 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await quiet(servers)
    after = counts(servers)["big"]
    assert after["requests"] == before["requests"]  # none of them came to its end
    assert 10 < stats.produced_tokens <= after["produced_tokens"] - before["produced_tokens"] < 24 * 6000
    assert stats.prompt_tokens == 24 * len(prefix)
