"""A reward model behind vLLM: it is known for what it is, and gives the reward at the last token of each text."""

import pytest

from speculative.engines.base import CallStats, Decoding
from speculative.engines.diagnostics import ping
from speculative.engines.http.engine import OpenAIEngine
from speculative.errors import EngineError, EngineRefusedError, EngineServerError
from speculative.testing import ScriptedEngine, ScriptedTokenizer
from speculative.testing.fake_server import FakeServer, Fault

TOKENIZER = ScriptedTokenizer()


@pytest.fixture(params=[False, True], ids=["last token", "steps"])
async def rig(request):
    async with FakeServer(ScriptedEngine("x", rewards=lambda text: float(len(text)))) as server:
        server.pools, server.pools_steps = True, request.param
        engine = await OpenAIEngine.connect(server.url, tokenizer=TOKENIZER, dialect="chatml")
        yield engine, server
        await engine.aclose()


async def test_rewards_are_those_of_the_last_token(rig):
    engine, server = rig
    assert engine.abilities == {"ids", "reward"}
    stats = CallStats()
    assert await engine.reward([TOKENIZER.encode("abc"), TOKENIZER.encode("a")], key="chain", stats=stats) == [3.0, 1.0]
    assert stats == CallStats(requests=1, prompt_tokens=4)
    assert await engine.reward([], key="", stats=stats) == []
    assert stats.requests == 1
    assert engine.reads_whole_texts == server.pools_steps


async def test_a_reward_model_says_that_it_cannot_write(rig):
    engine, _ = rig
    await ping(engine)
    with pytest.raises(EngineError, match="reward model"):
        await engine.complete([[97]], Decoding(3), key="", stats=CallStats())
    with pytest.raises(EngineError, match="reward model"):
        engine.stream([97], Decoding(3), key="", stats=CallStats())


async def test_a_model_that_writes_gives_no_rewards():
    async with FakeServer(ScriptedEngine("x")) as server:
        engine = await OpenAIEngine.connect(server.url, tokenizer=TOKENIZER, dialect="chatml")
        with pytest.raises(EngineError, match="serve a reward model with vLLM"):
            await engine.reward([[97]], key="", stats=CallStats())
        await engine.aclose()


@pytest.mark.parametrize("data", [[], [{"data": []}], [{"data": [[]]}], [{"data": [None]}], [{"data": ["x"]}], [{"data": [1.0]}] * 2])
async def test_an_answer_without_the_reward_is_an_error(rig, monkeypatch, data):
    engine, server = rig

    async def pooled(body):
        return {"data": data}

    monkeypatch.setattr(server, "_pooled", pooled)
    with pytest.raises(EngineServerError, match="no reward came"):
        await engine.reward([[97]], key="", stats=CallStats())


async def test_a_server_that_writes_nothing_and_gives_no_rewards_is_refused(monkeypatch):
    async with FakeServer(ScriptedEngine("x")) as server:
        server.pools = True
        server.faults.append(Fault("status", status=404, said="no pooling"))
        with pytest.raises(EngineRefusedError, match="no pooling"):
            await OpenAIEngine.connect(server.url, tokenizer=TOKENIZER, dialect="chatml")
        assert [path for path, _, _ in server.requests] == ["/v1/completions", "/pooling"]
        assert server.requests[1][2]["input"] == [TOKENIZER.encode("1")]
