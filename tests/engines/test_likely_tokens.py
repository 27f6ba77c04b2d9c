"""Each kind of server tells the likely tokens at each place, and the log-probabilities of given tokens at the first one."""

import contextlib

import pytest

from speculative.engines.base import MIN_LOGPROB, CallStats, Decoding
from speculative.engines.http.engine import OpenAIEngine
from speculative.errors import EngineServerError
from speculative.testing import ScriptedEngine, ScriptedTokenizer
from speculative.testing.fake_server import FakeServer

TOKENIZER = ScriptedTokenizer()
PROMPT = TOKENIZER.encode("Q:")
A, B, C, D, E = TOKENIZER.encode("abcde")
LIKELY = {"a": -0.25, "b": -1.5, "c": -2.5, "d": -4.0}
"""Everywhere the same; a written token that is not among them has -0.1."""


@pytest.fixture(params=["vllm", "sglang", "llama.cpp", "other"])
def kind(request):
    return request.param


@contextlib.asynccontextmanager
async def rig(kind, text="ab</think>", likely=LIKELY):
    scripted = ScriptedEngine(text, top=lambda seen: likely)
    async with FakeServer(scripted, kind=kind) as server:
        engine = await OpenAIEngine.connect(server.url, tokenizer=TOKENIZER, dialect="chatml")
        yield engine, server
        await engine.aclose()


async def complete(engine, decoding):
    ((completion,),) = await engine.complete([PROMPT], decoding, key="", stats=CallStats())
    return completion


async def stream(engine, decoding):
    return [delta async for delta in engine.stream(PROMPT, decoding, key="", stats=CallStats())][-1].completion


@pytest.mark.parametrize("call", [complete, stream])
async def test_likely_tokens_come_with_each_token(kind, call):
    decoding = Decoding(9, top_logprobs=3, logprobs=True, stop_ids=(TOKENIZER.special_token_id("</think>"),))
    async with rig(kind) as (engine, _):
        assert {"top", "choices"} <= engine.abilities
        completion = await call(engine, decoding)
    assert (completion.ids, completion.finish) == ((A, B), "end")
    assert completion.top_logprobs == (((A, -0.25), (B, -1.5), (C, -2.5)),) * 2
    assert completion.logprobs == (-0.1, -0.1)


@pytest.mark.parametrize("call", [complete, stream])
async def test_likely_tokens_come_without_the_log_probabilities_of_the_written_ones(kind, call):
    async with rig(kind) as (engine, _):
        completion = await call(engine, Decoding(1, top_logprobs=2))
    assert completion.top_logprobs == (((A, -0.25), (B, -1.5)),)
    assert completion.logprobs is None
    assert completion.choice_logprobs is None


@pytest.mark.parametrize("call", [complete, stream])
async def test_choices_have_their_log_probabilities_at_the_first_place(kind, call):
    async with rig(kind) as (engine, _):
        completion = await call(engine, Decoding(2, choices=(D, A, E)))
    assert completion.choice_logprobs == (-4.0, -0.25, MIN_LOGPROB)
    assert completion.top_logprobs is None


async def test_choices_and_likely_tokens_can_be_asked_for_together(kind):
    async with rig(kind) as (engine, _):
        completion = await complete(engine, Decoding(2, top_logprobs=1, choices=(D, E)))
    assert completion.top_logprobs == (((A, -0.25),),) * 2
    assert completion.choice_logprobs in ((-4.0, MIN_LOGPROB), (MIN_LOGPROB, MIN_LOGPROB))  # vLLM gives only the likely ones then


async def test_the_end_of_a_text_has_choices_too(kind):
    end = TOKENIZER.special_token_id("</think>")
    async with rig(kind, text="</think>") as (engine, _):
        completion = await complete(engine, Decoding(5, choices=(B,), stop_ids=(end,)))
    assert (completion.ids, completion.end_id, completion.choice_logprobs) == ((), end, (-1.5,))


async def test_a_server_that_gives_fewer_likely_tokens_than_asked_is_an_error(kind):
    """vLLM did so for a call beside one that asks for given tokens."""
    async with rig(kind, likely={}) as (engine, _):
        with pytest.raises(EngineServerError, match="2 log-probabilities that were asked for did not come"):
            await complete(engine, Decoding(2, top_logprobs=3))


class Named(FakeServer):
    """A server that names likely tokens by their text."""

    async def _tell(self, response, said):
        for choice in said["choices"]:
            if "logprobs" in choice:
                choice["logprobs"]["top_logprobs"] = [{"a": -0.25} for _ in choice["token_ids"]]
        await super()._tell(response, said)


async def test_likely_tokens_without_ids_are_an_error_where_they_are_asked_for():
    async with Named(ScriptedEngine("ab"), kind="other") as server:
        engine = await OpenAIEngine.connect(server.url, tokenizer=TOKENIZER, dialect="chatml")
        assert (await complete(engine, Decoding(2, logprobs=True))).logprobs == (-0.1, -0.1)
        with pytest.raises(EngineServerError, match="did not come"):
            await complete(engine, Decoding(2, top_logprobs=1))
        await engine.aclose()


@pytest.mark.parametrize("kind", ["vllm", "sglang"])
async def test_scores_come_with_the_likely_tokens_at_each_place(kind):
    scripted = ScriptedEngine("x", top=lambda seen: LIKELY, scores=lambda prefix, text: -0.75)
    async with FakeServer(scripted, kind=kind) as server:
        engine = await OpenAIEngine.connect(server.url, tokenizer=TOKENIZER, dialect="chatml")
        stats = CallStats()
        plain, likely = await engine.score([PROMPT, PROMPT], [[], [B, C]], key="", stats=stats, top=2)
        assert (list(plain), plain.top) == ([], ())
        assert (list(likely), likely.top) == ([-0.75, -0.75], (((A, -0.25), (B, -1.5)),) * 2)
        (found,) = await engine.score([PROMPT], [[B]], key="", stats=stats)
        assert found.top is None
        assert (stats.requests, stats.scored_tokens, stats.prompt_tokens) == (2, 3, 2 * len(PROMPT))
        await engine.aclose()
