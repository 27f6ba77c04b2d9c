"""vLLM scores a step with its prefix cache kept where it may; where that gives no value, the echo of the prompt does."""

import contextlib
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from speculative.engines.base import CallStats
from speculative.engines.http.engine import OpenAIEngine
from speculative.testing import ScriptedEngine, ScriptedTokenizer
from speculative.testing.fake_server import FakeServer, Fault

TOKENIZER = ScriptedTokenizer()
PREFIX = TOKENIZER.encode("abcdefgh")
STEP = TOKENIZER.encode("stu")
FLAT, PLAIN = "/inference/v1/generate", "/v1/completions"


class Distinct(ScriptedEngine):
    """Gives every token a log-probability of its own, by its place."""

    async def score(self, prefixes, continuations, *, key, stats, top=0):
        found = await super().score(prefixes, continuations, key=key, stats=stats, top=top)
        for scores, prefix in zip(found, prefixes, strict=True):
            scores[:] = [-(len(prefix) + place) / 100 for place in range(len(scores))]
        return found


WANTED = [-0.08, -0.09, -0.10]


@contextlib.asynccontextmanager
async def rig(**settings):
    async with FakeServer(Distinct("x", top=lambda seen: {"s": -0.5, "t": -1.0, "u": -2.0})) as server:
        engine = await OpenAIEngine.connect(server.url, tokenizer=TOKENIZER, dialect="chatml")
        server.requests.clear()
        for name, value in settings.items():
            setattr(server, name, value)
        yield engine, server
        await engine.aclose()


async def score(engine, top=0):
    stats = CallStats()
    (found,) = await engine.score([PREFIX], [STEP], key="", stats=stats, top=top)
    return found, stats


async def test_the_benchmark_compares_both_ways():
    spec = spec_from_file_location("scores", Path(__file__).parents[2] / "bench" / "scores.py")
    bench = module_from_spec(spec)
    spec.loader.exec_module(bench)
    async with rig(scale_out=True) as (engine, server):
        row = await bench.Scorer(engine).row(20, 2)
        assert row["apart"] == 0
        assert {FLAT, PLAIN} <= set(paths(server))
        assert sum(path == FLAT for path in paths(server)) == 2
        assert sum(bool(body.get("echo")) for _, _, body in server.requests) == 2
    async with rig() as (engine, _):
        with pytest.raises(SystemExit, match="start it with --enable-scale-out"):
            await bench.Scorer(engine).row(20, 1)


def paths(server):
    return [path for path, _, _ in server.requests]


@pytest.mark.parametrize("drops_rows", [False, True])
async def test_a_step_is_scored_with_the_cache_kept(drops_rows):
    """The V2 runner leaves the rows of cached positions out, the V1 runner leaves garbage in them."""
    async with rig(scale_out=True, in_cache=5, drops_rows=drops_rows) as (engine, server):
        found, stats = await score(engine)
        assert found == pytest.approx(WANTED)
        assert paths(server) == [FLAT]
        assert stats == CallStats(requests=1, prompt_tokens=8, cached_tokens=5, produced_tokens=1, scored_tokens=3)
        sampling = server.requests[0][2]["sampling_params"]
        assert sampling["skip_reading_prefix_cache"] is False
        assert sampling["max_tokens"] == 1


@pytest.mark.parametrize("drops_rows", [False, True])
async def test_the_first_tokens_row_is_asked_for_where_the_whole_prefix_was_cached(drops_rows):
    async with rig(scale_out=True, in_cache=8, drops_rows=drops_rows) as (engine, server):
        found, stats = await score(engine)
        assert found == pytest.approx(WANTED)
        assert paths(server) == [FLAT, PLAIN]
        assert server.requests[1][2]["logprob_token_ids"] == [STEP[0]]
        assert stats == CallStats(requests=2, prompt_tokens=16, cached_tokens=15, produced_tokens=2, scored_tokens=3)


@pytest.mark.parametrize("drops_rows", [False, True])
async def test_the_first_token_is_asked_for_at_once_where_blocks_of_the_cache_are_known(drops_rows):
    async with rig(scale_out=True, in_cache=8, drops_rows=drops_rows) as (engine, server):
        await score(engine)
        server.requests.clear()
        found, stats = await score(engine)
        assert found == pytest.approx(WANTED)
        assert sorted(paths(server)) == [FLAT, PLAIN]
        assert stats == CallStats(requests=2, prompt_tokens=16, cached_tokens=15, produced_tokens=2, scored_tokens=3)
        server.in_cache = 5  # the row came, and the call for its token was for nothing
        found, stats = await score(engine)
        assert found == pytest.approx(WANTED)
        assert (stats.requests, stats.produced_tokens) == (2, 2)
        (longer,) = await engine.score([[*PREFIX, *STEP]], [STEP], key="", stats=CallStats())
        assert longer == pytest.approx([-0.11, -0.12, -0.13])
        assert paths(server)[-1] == FLAT  # 11 tokens are no whole blocks


@pytest.mark.parametrize("drops_rows", [False, True])
async def test_tokens_that_were_read_before_are_asked_for_singly(drops_rows):
    """A step begins as an earlier one did, whose rows the server does not compute again."""
    async with rig(scale_out=True, in_cache=9, drops_rows=drops_rows) as (engine, server):
        found, stats = await score(engine)
        assert found == pytest.approx(WANTED)
        assert paths(server) == [FLAT, PLAIN, PLAIN]
        assert [body["logprob_token_ids"] for _, _, body in server.requests[1:]] == [[STEP[0]], [STEP[1]]]
        assert [len(body["prompt"]) for _, _, body in server.requests[1:]] == [8, 9]
        assert (stats.requests, stats.produced_tokens, stats.scored_tokens) == (3, 3, 3)


@pytest.mark.parametrize("drops_rows", [False, True])
async def test_a_step_of_which_many_tokens_were_read_before_is_scored_by_echo(drops_rows):
    step = TOKENIZER.encode("st" * 12)
    async with rig(scale_out=True, in_cache=8 + 20, drops_rows=drops_rows) as (engine, server):
        stats = CallStats()
        (found,) = await engine.score([PREFIX], [step], key="", stats=stats)
        assert found == pytest.approx([-(8 + place) / 100 for place in range(24)])
        assert paths(server) == [FLAT, PLAIN]
        assert server.requests[1][2]["echo"]
        assert (stats.requests, stats.scored_tokens) == (2, 24)


async def test_rows_that_are_no_numbers_make_the_answer_a_400_and_the_echo_is_taken_for_that_step_only():
    async with rig(scale_out=True, in_cache=5) as (engine, server):
        server.faults.append(Fault("status", status=400, said="Out of range float values are not JSON compliant"))
        found, stats = await score(engine)
        assert found == pytest.approx(WANTED)
        assert paths(server) == [FLAT, PLAIN]
        assert stats.requests == 1
        found, _ = await score(engine)
        assert found == pytest.approx(WANTED)
        assert paths(server)[2:] == [FLAT]


async def test_a_call_for_the_first_token_is_counted_where_the_rows_are_refused():
    async with rig(scale_out=True, in_cache=8) as (engine, server):
        await score(engine)  # the blocks of the cache are known now
        server.faults.append(Fault("status", status=400, said="Out of range float values are not JSON compliant"))
        found, stats = await score(engine)
        assert found == pytest.approx(WANTED)
        assert stats.produced_tokens == 1  # by the call for the first token; the echo wrote none


async def test_a_server_that_does_not_open_the_endpoint_is_asked_once():
    async with rig() as (engine, server):
        for _ in range(2):
            found, stats = await score(engine)
            assert found == pytest.approx(WANTED)
            assert stats == CallStats(requests=1, prompt_tokens=8, scored_tokens=3)
        assert paths(server) == [FLAT, PLAIN, PLAIN]


@pytest.mark.parametrize(("in_cache", "expected"), [(5, [FLAT]), (8, [FLAT, PLAIN])])
async def test_likely_tokens_come_with_the_cache_kept(in_cache, expected):
    async with rig(scale_out=True, in_cache=in_cache) as (engine, server):
        found, _ = await score(engine, top=2)
        assert found == pytest.approx(WANTED)
        s, t, _ = STEP
        assert paths(server) == expected
        assert all(dict(place).keys() <= {*STEP} and len(place) == 2 for place in found.top)
        if in_cache == 8:  # by the echo, whose places hold the likely tokens alone
            assert found.top == (((s, -0.5), (t, -1.0)),) * 3
