"""The bundled engine: the same text in any company, nothing computed twice, nothing left behind."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from profiles import examples, quick_cases

from speculative.engines.base import CallStats, Completion, Decoding, Delta, Engine
from speculative.engines.local import BundledEngine, memory
from speculative.engines.local.engine import SHIPPED
from speculative.engines.local.model import PIECE, Model
from speculative.errors import ContextExceededError, EngineClosedError, EngineError

TEXT = "Mia has 82 apples. She buys 6 boxes with 7 apples each. How many apples does Mia have now?"
SAMPLED = Decoding(24, temperature=1.5, top_p=0.98, seed=5, logprobs=True)


@pytest.fixture(scope="module")
def small() -> Iterator[BundledEngine]:
    engine = BundledEngine.open("small")
    yield engine
    engine._worker.close()


@pytest.fixture(scope="module")
def prompt(small: BundledEngine) -> list[int]:
    return small.tokenizer.encode(TEXT)


async def one(engine: BundledEngine, prefix: list[int], decoding: Decoding, stats: CallStats | None = None) -> Completion:
    return (await engine.complete([prefix], decoding, key="k", stats=stats or CallStats()))[0][0]


def changed(decoding: Decoding, **changes: Any) -> Decoding:
    return Decoding(**{name: changes.get(name, getattr(decoding, name)) for name in Decoding.__struct_fields__})


async def test_it_is_an_engine(small: BundledEngine) -> None:
    engine: Engine = small
    assert (engine.name, engine.dialect, engine.context) == ("bundled:small", "bundled", 16384)
    assert engine.abilities == {"continue", "ids", "logprobs", "top", "choices", "score", "stream", "cached"}


async def test_the_most_likely_tokens_and_the_choices_are_those_of_the_distribution(small: BundledEngine, prompt: list[int]) -> None:
    whole = small._worker.model.shape.vocabulary
    found = await one(small, prompt, changed(SAMPLED, max_tokens=5, logprobs=True, top_logprobs=whole, choices=(5, 6, 7)))
    assert found.top_logprobs
    assert found.logprobs
    for token, logprob, top in zip(found.ids, found.logprobs, found.top_logprobs, strict=True):
        values = [value for _, value in top]
        assert values == sorted(values, reverse=True)
        assert np.exp(values).sum() == pytest.approx(1, abs=1e-4)
        assert dict(top)[token] == pytest.approx(logprob, abs=1e-4)
    assert found.choice_logprobs == tuple(dict(found.top_logprobs[0])[token] for token in (5, 6, 7))
    three = await one(small, prompt, changed(SAMPLED, max_tokens=5, top_logprobs=3))
    assert three.top_logprobs == tuple(top[:3] for top in found.top_logprobs)
    (scored,) = await small.score([prompt], [found.ids], key="", stats=CallStats(), top=3)
    for mine, theirs in zip(three.top_logprobs, scored.top or (), strict=True):
        assert [token for token, _ in mine] == [token for token, _ in theirs]
        assert [value for _, value in mine] == pytest.approx([value for _, value in theirs], abs=1e-4)


async def test_among_others_top_and_choices_are_those_of_its_own_row(small: BundledEngine, prompt: list[int]) -> None:
    kind = changed(SAMPLED, max_tokens=9, top_logprobs=2, choices=(5, 6))
    alone = await one(small, prompt, kind)
    crowd = await asyncio.gather(
        *(one(small, prompt[place % 3 :], changed(kind, seed=place)) for place in range(9)), one(small, prompt, kind)
    )
    assert crowd[-1] == alone


async def test_a_call_that_resumes_another_draws_what_that_would_have_drawn(small: BundledEngine, prompt: list[int]) -> None:
    whole = await one(small, prompt, changed(SAMPLED, max_tokens=40, seed=11))
    size = len(whole.ids) // 2
    resumed = changed(SAMPLED, max_tokens=40 - size, seed=99, resumes=(11, 0, 0, size))
    assert (await one(small, [*prompt, *whole.ids[:size]], resumed)).ids == whole.ids[size:]
    assert (await one(small, [*prompt, *whole.ids[:size]], changed(resumed, resumes=None))).ids != whole.ids[size:]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["small", "big"])
async def test_alone_and_among_32_a_chain_is_the_same_bit_for_bit(name: str) -> None:
    alone, crowd = BundledEngine.open(name), BundledEngine.open(name)
    random = np.random.default_rng(3)
    prefixes = [[int(i) for i in random.integers(3, 500, random.integers(1, 60))] for _ in range(32)]
    kinds = [
        Decoding(int(random.integers(5, 40)), temperature=float(t), top_p=p, top_k=k, seed=i, logprobs=bool(i % 3), stop=("\n",) * (i % 2))
        for i, (t, p, k) in enumerate([(0, 1, 0), (0.6, 0.95, 0), (1.0, 1, 20), (1.5, 0.9, 50)] * 8)
    ]
    expected = [await one(alone, prefix, kind) for prefix, kind in zip(prefixes, kinds, strict=True)]
    tasks: list[asyncio.Task[Completion]] = []
    for prefix, kind in zip(prefixes, kinds, strict=True):
        tasks.append(asyncio.create_task(one(crowd, prefix, kind)))
        await asyncio.sleep(0.001)
    scored = await asyncio.gather(*(crowd.score([p], [c.ids], key="", stats=CallStats()) for p, c in zip(prefixes, expected, strict=True)))
    assert [await task for task in tasks] == expected
    for completion, values in zip(expected, scored, strict=True):
        if completion.logprobs is not None:
            assert tuple(values[0]) == completion.logprobs
    await alone.aclose()
    await crowd.aclose()


@settings(max_examples=examples(25), deadline=None)
@given(st.lists(st.tuples(st.integers(0, 60), st.lists(st.integers(3, 500), max_size=50), st.integers(0, 6)), min_size=1, max_size=8))
def test_the_cache_changes_no_result(small: BundledEngine, moves: list[tuple[int, list[int], int]]) -> None:
    """A chain that goes on, rewinds and branches reads the same from a warm cache as from none."""

    async def live() -> None:
        cold = BundledEngine.open("small", cache_bytes=0)
        chain = [7, 8, 9]
        for cut, more, tokens in moves:
            chain = [*chain[: max(len(chain) - cut, 1)], *more]
            kind = changed(SAMPLED, max_tokens=tokens)
            found, expected = await asyncio.gather(one(small, chain, kind), one(cold, chain, kind))
            assert found == expected
            assert await small.score([chain], [found.ids], key="", stats=CallStats()) == [list(found.logprobs or ())]
            chain += found.ids
        await cold.aclose()

    asyncio.run(live())


async def test_going_on_rewinding_and_branching_compute_nothing_again(small: BundledEngine) -> None:
    chain = small.tokenizer.encode("Something that nobody has said before: " + TEXT)

    async def fresh(prefix: list[int], tokens: int = 12) -> tuple[int, list[int]]:
        stats = CallStats()
        completion = await one(small, prefix, changed(SAMPLED, max_tokens=tokens), stats)
        assert stats.prompt_tokens == len(prefix)
        return stats.prompt_tokens - stats.cached_tokens, list(completion.ids)

    await fresh(chain, 0)
    _, first = await fresh(chain)
    assert (await fresh([*chain, *first]))[0] == 1  # the last token has not been computed: its logits are wanted now
    assert (await fresh([*chain, *first, 40, 41, 42]))[0] == 3
    other = [(token + 1) % 512 for token in first]
    assert (await fresh([*chain, *other]))[0] == len(other)
    assert (await fresh([*chain, *first, 40, 41, 42, 43]))[0] == 1
    assert (await fresh([*chain, *other, 44]))[0] == 1
    assert (await fresh(chain))[0] == 1


async def test_scoring_reuses_the_prefix_and_leaves_the_continuation() -> None:
    small = BundledEngine.open("small")  # of its own: where no row is empty, a short tail is cut off rather than the prefix copied
    chain = small.tokenizer.encode("Another thing that was never said. " + TEXT)
    stats = CallStats()
    values = await small.score([chain, chain], [[40, 41, 42], [50]], key="", stats=stats)
    assert [len(part) for part in values] == [3, 1]
    assert all(value < 0 for part in values for value in part)
    assert stats == CallStats(requests=1, prompt_tokens=2 * len(chain), cached_tokens=len(chain) - 1, scored_tokens=4)
    stats = CallStats()
    await one(small, [*chain, 40, 41, 42, 60], changed(SAMPLED, max_tokens=1), stats)
    assert stats.cached_tokens == len(chain) + 3
    assert await small.score([chain], [[]], key="", stats=CallStats()) == [[]]
    assert await small.score([], [], key="", stats=CallStats()) == []
    await small.aclose()


async def test_long_appends_come_in_pieces(small: BundledEngine) -> None:
    random = np.random.default_rng(0)
    text = [int(i) for i in random.integers(3, 500, 900)]
    whole = await small.score([text[:1]], [text[1:]], key="", stats=CallStats())
    for cut in (127, 128, 129, 130, 257, 300, 899):
        cold = BundledEngine.open("small")
        if cut % 2:
            await one(cold, text[:cut], Decoding(0))
        assert await cold.score([text[:cut]], [text[cut:]], key="", stats=CallStats()) == [whole[0][cut - 1 :]]
        await cold.aclose()


@pytest.mark.parametrize("name", ["small", "big"])
def test_an_append_of_any_size_computes_the_same(name: str) -> None:
    model = Model(SHIPPED / name)
    random = np.random.default_rng(0)
    text = random.integers(0, 512, 400).astype(np.int32)
    kv, other = model.buffers(1, 402), model.buffers(1, 700)
    expected = np.concatenate([model.append(kv, 0, start, text[start : start + 100]) for start in range(0, 400, 100)])
    for size in (1, 2, 3, 5, 6, 7, 12, 13, 16, 31, 32, 33, 63, 64, 65, 97, PIECE - 1, PIECE):
        for start in (0, 1, 128, 400 - size, int(random.integers(400 - size))):
            other[:, :, :, start:] = np.nan
            other[:, :, :, :start] = kv[:, :, :, :start]
            end = start + size
            assert (model.append(other, 0, start, text[start:end]) == expected[start:end]).all()
            assert (other[:, :, :, start:end] == kv[:, :, :, start:end]).all()


async def test_draws_depend_on_seed_and_place_alone(small: BundledEngine, prompt: list[int]) -> None:
    kind = changed(SAMPLED, n=3)
    results = await small.complete([prompt, prompt[:-5], prompt], kind, key="", stats=CallStats())
    assert len({completion.ids for part in results for completion in part}) == 9
    assert results[0][0] == await one(small, prompt, SAMPLED)
    again = await small.complete([prompt], changed(kind, n=5), key="other", stats=CallStats())
    assert again[0][:3] == results[0]
    assert (await one(small, prompt, changed(SAMPLED, seed=6))).ids != results[0][0].ids
    longer = await one(small, prompt, changed(SAMPLED, max_tokens=90))
    assert longer.ids[:24] == results[0][0].ids


async def test_n_completions_share_one_prefill(small: BundledEngine) -> None:
    chain = small.tokenizer.encode("A third thing, also new. " + TEXT)
    stats = CallStats()
    await small.complete([chain], changed(SAMPLED, n=4), key="", stats=stats)
    assert stats == CallStats(requests=1, prompt_tokens=len(chain), cached_tokens=stats.cached_tokens, produced_tokens=4 * 24)
    assert stats.cached_tokens < 20


async def test_greedy_copies_are_written_once(small: BundledEngine, prompt: list[int]) -> None:
    stats, kind = CallStats(), Decoding(24, n=3, logprobs=True)
    found = await small.complete([prompt, prompt[:-2]], kind, key="", stats=stats)
    assert found == [[await one(small, ids, changed(kind, n=1))] * 3 for ids in (prompt, prompt[:-2])]
    assert stats.produced_tokens == sum(several[0].produced for several in found)


async def test_a_stream_gives_what_complete_gives(small: BundledEngine, prompt: list[int]) -> None:
    stats = CallStats()
    deltas = [delta async for delta in small.stream(prompt, SAMPLED, key="", stats=stats)]
    completion = await one(small, prompt, SAMPLED)
    assert tuple(i for delta in deltas for i in delta.ids) == completion.ids
    assert [delta.completion for delta in deltas] == [None] * (len(deltas) - 1) + [completion]
    assert stats.produced_tokens == 24
    empty = [delta async for delta in small.stream(prompt, Decoding(0), key="", stats=CallStats())]
    assert empty == [Delta((), Completion((), "length"))]


@pytest.mark.parametrize("rows", [1, 3, 64])
async def test_slow_readers_of_paced_streams_hold_nobody_else_and_read_the_same(small: BundledEngine, rows: int) -> None:
    engine = BundledEngine.open("small", cache_bytes=rows * 512 * small._worker.model.token_bytes)
    random = np.random.default_rng(7)
    prefixes = [[int(i) for i in random.integers(3, 500, 495)] for _ in range(6)]
    kinds = [changed(SAMPLED, seed=seed, logprobs=False) for seed in range(6)]
    alone = [await one(small, prefix, kind) for prefix, kind in zip(prefixes, kinds, strict=True)]
    waiting, gate = asyncio.Event(), asyncio.Event()

    async def read(seed: int) -> list[int]:
        found = list[int]()
        async for delta in engine.stream(prefixes[seed], changed(kinds[seed], paced=True), key="", stats=CallStats()):
            found += delta.ids
            if len(found) >= 5 + seed:
                waiting.set()
                await gate.wait()
        return found

    readers = [asyncio.create_task(read(seed)) for seed in range(2)]
    await waiting.wait()
    async with asyncio.timeout(120):  # the error in place of a test that never ends
        others = await asyncio.gather(*(one(engine, prefixes[seed], kinds[seed]) for seed in range(2, 6)))
    gate.set()
    assert [list(completion.ids) for completion in alone[:2]] == await asyncio.gather(*readers)
    assert [completion.ids for completion in others] == [completion.ids for completion in alone[2:]]
    await engine.aclose()


async def test_a_stream_ends_before_its_end_id(small: BundledEngine, prompt: list[int]) -> None:
    plain = await one(small, prompt, SAMPLED)
    kind = changed(SAMPLED, stop_ids=(plain.ids[3],))
    deltas = [delta async for delta in small.stream(prompt, kind, key="", stats=CallStats())]
    assert tuple(i for delta in deltas for i in delta.ids) == (await one(small, prompt, kind)).ids


async def test_stop_ids_end_and_are_no_text(small: BundledEngine, prompt: list[int]) -> None:
    plain = await one(small, prompt, SAMPLED)
    place = next(i for i, token in enumerate(plain.ids) if i > 2 and token not in plain.ids[:i])
    stats = CallStats()
    ended = await one(small, prompt, changed(SAMPLED, stop_ids=(plain.ids[place], 10**6)), stats)
    assert plain.logprobs is not None
    assert ended == Completion(plain.ids[:place], "end", plain.ids[place], plain.logprobs[:place])
    assert stats.produced_tokens == ended.produced == place + 1


async def test_stop_strings_end_with_the_token_that_completes_them(small: BundledEngine, prompt: list[int]) -> None:
    plain = await one(small, prompt, changed(SAMPLED, max_tokens=60))
    text = small.tokenizer.to_bytes(plain.ids).decode(errors="ignore")
    for start in (5, 20, 33):
        stop = text[start : start + 4]
        ended = await one(small, prompt, changed(SAMPLED, max_tokens=60, stop=("never", stop)))
        assert ended.finish == "stop"
        assert plain.ids[: len(ended.ids)] == ended.ids
        assert stop.encode() in small.tokenizer.to_bytes(ended.ids)
        assert stop.encode() not in small.tokenizer.to_bytes(ended.ids[:-1])


async def test_the_context_ends_a_chain_and_refuses_a_prefix() -> None:
    engine = BundledEngine.open("small", context=100)
    assert engine.context == 100
    full = [int(i) for i in np.random.default_rng(1).integers(3, 500, 99)]
    assert (await one(engine, full, SAMPLED)).finish == "context"
    assert len((await one(engine, full[:90], SAMPLED)).ids) == 10
    assert (await one(engine, full, changed(SAMPLED, max_tokens=1))).finish == "length"
    assert (await one(engine, [*full, 5], Decoding(0))).finish == "length"
    with pytest.raises(ContextExceededError, match="small: a prefix of 101 tokens does not fit into its context of 100"):
        await one(engine, [*full, 5], SAMPLED)
    with pytest.raises(ContextExceededError):
        await engine.score([full], [[5, 6]], key="", stats=CallStats())
    assert len((await engine.score([full], [[5]], key="", stats=CallStats()))[0]) == 1
    await engine.aclose()


async def test_what_cannot_be_asked_is_an_error_of_that_call_alone(small: BundledEngine, prompt: list[int]) -> None:
    other = asyncio.create_task(one(small, prompt, changed(SAMPLED, max_tokens=200)))
    await asyncio.sleep(0)
    wrong = {"max_tokens": -1, "n": -1, "temperature": -0.1, "top_p": 0.0, "top_k": -1}
    for name, value in wrong.items():
        with pytest.raises(EngineError, match=f"{name}={value} is out of range"):
            await one(small, prompt, changed(SAMPLED, **{name: value}))
    size = small._worker.model.shape.vocabulary
    for ids in ([size], [-1]):
        with pytest.raises(EngineError, match=f"id {ids[0]} is not in the vocabulary of {size}"):
            await one(small, ids, SAMPLED)
        with pytest.raises(EngineError, match="not in the vocabulary"):
            await small.score([prompt], [ids], key="", stats=CallStats())
    with pytest.raises(EngineError, match="empty prefix"):
        await one(small, [], SAMPLED)
    with pytest.raises(EngineError, match="1 prefixes and 0 continuations"):
        await small.score([prompt], [], key="", stats=CallStats())
    with pytest.raises(EngineError, match="n=2"):
        await anext(small.stream(prompt, changed(SAMPLED, n=2), key="", stats=CallStats()))
    assert await small.complete([], SAMPLED, key="", stats=CallStats()) == []
    assert await small.complete([prompt], changed(SAMPLED, n=0), key="", stats=CallStats()) == [[]]
    assert len((await other).ids) == 200


async def test_a_failure_takes_its_own_call_only(small: BundledEngine, prompt: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    model = small._worker.model
    append = model.append

    def failing(*arguments: Any) -> Any:
        if 499 in arguments[3]:
            raise RuntimeError("no more memory")
        return append(*arguments)

    other = asyncio.create_task(one(small, prompt, changed(SAMPLED, max_tokens=200)))
    await asyncio.sleep(0)
    monkeypatch.setattr(model, "append", failing)
    with pytest.raises(EngineError, match="small: RuntimeError: no more memory"):
        await one(small, [*prompt, 499], SAMPLED)
    assert len((await other).ids) == 200


async def test_a_failing_step_is_told_to_all_that_were_in_it(prompt: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    engine = BundledEngine.open("small")
    expected = await one(engine, prompt, SAMPLED)
    batch = engine._worker.batch
    prepare = batch._prepare
    monkeypatch.setattr(batch, "_prepare", lambda: 1 / 0)
    with pytest.raises(EngineError, match="ZeroDivisionError") as raised:
        await one(engine, prompt, SAMPLED)
    assert isinstance(raised.value.__cause__, ZeroDivisionError)  # for a log, which has no room for words that may quote a prompt
    monkeypatch.setattr(batch, "_prepare", prepare)
    assert await one(engine, prompt, SAMPLED) == expected
    await engine.aclose()


async def test_cancelling_ends_the_work_and_counts_it(small: BundledEngine, prompt: list[int]) -> None:
    batch = small._worker.batch
    stats, other = CallStats(), asyncio.create_task(one(small, prompt, changed(SAMPLED, max_tokens=400)))
    task = asyncio.create_task(small.complete([prompt, prompt[:-1]], changed(SAMPLED, max_tokens=10_000, n=3), key="", stats=stats))
    while len(batch.members) < 7:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(batch.members) <= 1
    assert stats.produced_tokens >= 6
    counted = stats.produced_tokens
    assert len((await other).ids) == 400
    assert stats.produced_tokens == counted


async def test_cancelling_before_the_work_begins(small: BundledEngine, prompt: list[int]) -> None:
    stats = CallStats()
    tasks = [asyncio.create_task(one(small, prompt, changed(SAMPLED, max_tokens=3000), stats)) for _ in range(20)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    assert all(isinstance(found, asyncio.CancelledError) for found in await asyncio.gather(*tasks, return_exceptions=True))
    assert not small._worker._jobs
    assert len((await one(small, prompt, SAMPLED)).ids) == 24


async def test_leaving_a_stream_ends_it(small: BundledEngine, prompt: list[int]) -> None:
    stats = CallStats()
    stream = small.stream(prompt, changed(SAMPLED, max_tokens=10_000), key="", stats=stats)
    assert len((await anext(stream)).ids) >= 1
    await stream.aclose()  # type: ignore[attr-defined]
    assert not small._worker.batch.members
    assert stats.produced_tokens >= 1


async def test_one_wake_up_a_call(small: BundledEngine, prompt: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    wakes: list[Any] = []
    plain = loop.call_soon_threadsafe
    monkeypatch.setattr(loop, "call_soon_threadsafe", lambda *arguments: wakes.append(arguments) or plain(*arguments))
    await small.complete([prompt, prompt[:-2]], changed(SAMPLED, n=3), key="", stats=CallStats())
    assert len(wakes) == 1
    await small.score([prompt, prompt[:-2]], [[5], [6]], key="", stats=CallStats())
    assert len(wakes) == 2


async def test_several_event_loops_share_an_engine(small: BundledEngine, prompt: list[int]) -> None:
    expected = await one(small, prompt, SAMPLED)
    found: list[Completion] = []

    def elsewhere() -> None:
        found.append(asyncio.run(one(small, prompt, SAMPLED)))

    threads = [threading.Thread(target=elsewhere) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert await one(small, prompt, SAMPLED) == expected
    for thread in threads:
        await asyncio.to_thread(thread.join)
    assert found == [expected] * 3


@pytest.mark.slow
async def test_little_memory_costs_time_and_nothing_else(small: BundledEngine) -> None:
    random = np.random.default_rng(9)
    prefixes = [[int(i) for i in random.integers(3, 500, 480)] for _ in range(6)]
    kind = changed(SAMPLED, max_tokens=60, n=7)
    expected = await small.complete(prefixes, kind, key="", stats=CallStats())
    scores = await small.score(prefixes, [parts[1].ids for parts in expected], key="", stats=CallStats())
    budget = 5 * 512 * small._worker.model.token_bytes
    tight = BundledEngine.open("small", cache_bytes=budget)
    stats, calls = CallStats(), asyncio.gather
    results = await calls(
        tight.complete(prefixes, kind, key="", stats=stats),
        tight.score(prefixes, [parts[1].ids for parts in expected], key="", stats=CallStats()),
    )
    assert results == [expected, scores]
    assert tight._worker.batch.shrinks
    assert stats == CallStats(1, 6 * 480, stats.cached_tokens, 42 * 60, 0)
    assert tight._worker.store.nbytes <= budget
    await tight.aclose()


@pytest.mark.parametrize(("free", "expected"), [(1 << 30, 512 << 20), (8 << 30, 1 << 30), (100 << 30, 3 << 30)])
def test_a_cache_without_a_given_size_follows_the_free_memory(monkeypatch: pytest.MonkeyPatch, free: int, expected: int) -> None:
    monkeypatch.setattr(memory, "virtual_memory", lambda: SimpleNamespace(available=free))
    monkeypatch.setattr(memory, "CGROUPS", Path("missing"))
    assert memory.default_cache_bytes() == expected


@pytest.mark.parametrize("files", memory.CONTAINER_FILES)
@pytest.mark.parametrize(("limit", "expected"), [(9 << 30, 1 << 30), (2 << 30, 512 << 20), ("max", 3 << 30)])
def test_a_cache_without_a_given_size_keeps_to_the_memory_of_its_container(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, files: tuple[str, str], limit: int | str, expected: int
) -> None:
    (tmp_path / "memory").mkdir()
    for name, value in zip(files, (limit, 1 << 30), strict=True):
        (tmp_path / name).write_text(f"{value}\n", encoding="utf-8")
    monkeypatch.setattr(memory, "virtual_memory", lambda: SimpleNamespace(available=100 << 30))
    monkeypatch.setattr(memory, "CGROUPS", tmp_path)
    assert memory.default_cache_bytes() == expected


@pytest.mark.parametrize("seed", quick_cases([0, 1, 2, 3]))
async def test_a_crowd_in_little_memory(small: BundledEngine, seed: int) -> None:
    """Chains of all lengths that come, go on, and are cancelled at random, in a cache that cannot hold them."""
    random = np.random.default_rng(seed)
    tight = BundledEngine.open("small", cache_bytes=int(random.integers(3, 20)) * 512 * small._worker.model.token_bytes, context=1500)

    async def live(number: int) -> None:
        mine = np.random.default_rng([seed, number])
        chain = [int(i) for i in mine.integers(3, 500, int(mine.choice([5, 200, 505])))]
        for turn in range(4):
            await asyncio.sleep(float(mine.random()) * 0.02)
            kind = changed(SAMPLED, max_tokens=int(mine.choice([0, 1, 16, 120])), n=int(mine.choice([1, 1, 3])), seed=turn)
            expected = (await small.complete([chain], kind, key="", stats=CallStats()))[0]
            call = asyncio.ensure_future(tight.complete([chain], kind, key="", stats=CallStats()))
            if mine.random() < 0.3:
                await asyncio.sleep(float(mine.random()) * 0.02)
                call.cancel()
                await asyncio.gather(call, return_exceptions=True)
            else:
                assert (await call)[0] == expected
                found = await tight.score([chain], [expected[-1].ids], key="", stats=CallStats())
                assert found == [list(expected[-1].logprobs or ())]
            chain += [*expected[0].ids, *(int(i) for i in mine.integers(3, 500, 10))]

    await asyncio.gather(*(live(number) for number in range(12)))
    worker = tight._worker
    assert not worker.batch.members
    assert not worker._jobs
    assert not worker.store.busy.any()
    await tight.aclose()


async def test_closing_fails_what_is_in_flight(prompt: list[int]) -> None:
    engine = BundledEngine.open("small", context=16000)
    call = asyncio.create_task(one(engine, prompt, changed(SAMPLED, max_tokens=15_000)))
    stream = engine.stream(prompt, changed(SAMPLED, max_tokens=15_000), key="", stats=CallStats())
    await anext(stream)
    cancelled = asyncio.create_task(one(engine, prompt, changed(SAMPLED, max_tokens=15_000)))
    await asyncio.sleep(0.01)
    thread = engine._worker._thread
    await asyncio.gather(engine.aclose(), engine.aclose())
    cancelled.cancel()
    assert not thread.is_alive()
    with pytest.raises(EngineClosedError, match="closed while it worked"):
        await call
    with pytest.raises(EngineClosedError):
        async for _ in stream:
            pass
    assert isinstance((await asyncio.gather(cancelled, return_exceptions=True))[0], asyncio.CancelledError | EngineClosedError)
    with pytest.raises(EngineClosedError, match="open it again"):
        await one(engine, prompt, SAMPLED)
    await engine.aclose()


def test_a_dropped_engine_ends_its_thread() -> None:
    engine = BundledEngine.open("small")
    thread, gone = engine._worker._thread, weakref.ref(engine)
    del engine
    gc.collect()
    assert gone() is None
    thread.join(60)
    assert not thread.is_alive()


def test_an_event_loop_that_closed_waits_for_nothing(small: BundledEngine, prompt: list[int]) -> None:
    async def leave() -> None:
        call = asyncio.ensure_future(one(small, prompt, changed(SAMPLED, max_tokens=300)))
        await asyncio.sleep(0.01)
        call.cancel()

    loop = asyncio.new_event_loop()
    loop.run_until_complete(leave())
    loop.close()
    assert len(asyncio.run(one(small, prompt, SAMPLED)).ids) == 24
    gc.collect()


def test_opening_brings_nothing_heavy_in_before() -> None:
    import subprocess
    import sys

    code = "import sys, speculative.engines.local; assert not {'numpy', 'onnxruntime', 'tokenizers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_interpreter_ends_with_an_engine_at_work() -> None:
    import subprocess
    import sys

    code = """
import asyncio, sys
from speculative.engines.base import Decoding, CallStats
from speculative.engines.local import BundledEngine
engine = BundledEngine.open("small")
async def main():
    task = asyncio.ensure_future(engine.complete([[5, 6]], Decoding(16000), key="", stats=CallStats()))
    await asyncio.sleep(0.05)
asyncio.run(main())
loop = asyncio.new_event_loop()
call = loop.create_task(engine.complete([[5, 6]], Decoding(16000), key="", stats=CallStats()))
loop.run_until_complete(asyncio.sleep(0.05))
sys.exit(3)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=False)
    assert done.returncode == 3
    assert b"Traceback" not in done.stderr
