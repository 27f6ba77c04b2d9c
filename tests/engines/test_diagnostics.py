"""`speculative doctor`, and what a pair says of servers that cannot serve a method."""

import asyncio
import json
from typing import ClassVar

import pytest
import unlike

from speculative.cli import run
from speculative.engines.diagnostics import look
from speculative.engines.http.engine import OpenAIEngine
from speculative.engines.options import EngineOptions
from speculative.engines.tokenizers import loader
from speculative.errors import UnsupportedMethodError, UsageError
from speculative.methods.base import Method
from speculative.pair import Pair, open_engine
from speculative.testing import ScriptedEngine, ScriptedTokenizer
from speculative.testing.fake_server import FakeServer


class Judging(Method):
    """Needs what some servers have not."""

    needs: ClassVar = {"big": {"score"}}

    async def think(self, chain): ...


@pytest.fixture(params=["vllm", "llama.cpp"])
async def opened(request):
    async with FakeServer(ScriptedEngine("One."), kind=request.param) as server:
        engine = await OpenAIEngine.connect(server.url, tokenizer=ScriptedTokenizer(), dialect="chatml")
        yield server, engine
        await engine.aclose()


async def test_a_server_is_looked_at(opened):
    server, engine = opened
    found = await look("big", engine)
    kind = {"vllm": "vllm 0.32.0", "llama.cpp": "llama.cpp b1"}[server.kind]
    assert (found.error, found.server, found.template, found.reply) == (None, kind, "the same as ours", "One.")
    assert [line for line in found.advice if "score" not in line] == []
    server.cached = False
    again = await OpenAIEngine.connect(server.url, tokenizer=ScriptedTokenizer(), dialect="think-endoftext")
    found = await look("big", again)
    assert found.template.startswith("differs from ours")
    expected = {"vllm": ["start", "start", "name"], "llama.cpp": ["name", "methods"]}[server.kind]
    assert [line.partition(" ")[0] for line in found.advice] == expected
    await again.aclose()


@pytest.mark.parametrize("scale_out", [False, True])
async def test_the_doctor_names_the_flag_for_scores_at_flat_cost(scale_out):
    async with FakeServer(ScriptedEngine("One.")) as server:
        server.scale_out = scale_out
        engine = await OpenAIEngine.connect(server.url, tokenizer=ScriptedTokenizer(), dialect="chatml")
        advice = "\n".join((await look("big", engine)).advice)
        assert ("--enable-scale-out" in advice) is not scale_out
        await engine.aclose()


@pytest.mark.parametrize("steps", [False, True])
async def test_the_doctor_knows_a_reward_model_and_says_what_step_pooling_costs(steps):
    async with FakeServer(ScriptedEngine("One.", rewards=lambda text: 0.25)) as server:
        server.pools, server.pools_steps = True, steps
        engine = await OpenAIEngine.connect(server.url, tokenizer=ScriptedTokenizer(), dialect="chatml")
        found = await look("judge", engine)
        assert (found.error, found.reply, found.abilities) == (None, "a reward of 0.25", ["ids", "reward"])
        assert ["pools by steps" in line for line in found.advice] == [True] * steps
        await engine.aclose()


async def test_what_a_server_cannot_do_names_the_methods_that_it_can_serve():
    async with FakeServer(ScriptedEngine("One."), kind="llama.cpp") as server:
        engine = await OpenAIEngine.connect(server.url, tokenizer=ScriptedTokenizer(), dialect="chatml")
        with pytest.raises(UnsupportedMethodError, match=r"needs score of the big model.*can run .*big_only.*random_switch"):
            Pair(engine, engine).check(Judging())


async def test_a_pair_opens_on_addresses_with_options(tmp_path, monkeypatch):
    path = unlike.byte_level(tmp_path)

    class Real(ScriptedEngine):
        tokenizer = loader.read(path)

        async def complete(self, prefixes, decoding, *, key, stats):
            from speculative.engines.base import Completion

            return [[Completion((70,), "length")] * decoding.n for _ in prefixes]

    async with FakeServer(Real(""), key="k") as big, FakeServer(Real(""), source=str(tmp_path)) as small:
        monkeypatch.setenv("SPECULATIVE_BIG_KEY", "k")
        options = {"big": EngineOptions(tokenizer=str(path)), "small": EngineOptions(model="fake", dialect="chatml")}
        pair = await asyncio.to_thread(Pair.open, big.url, [small.url], options=options)
        assert [pair[role].dialect for role in pair] == ["qwen3", "chatml"]
        assert "judge" not in pair


def test_specs_that_are_none():
    with pytest.raises(UsageError, match=r"the engine must be the spec of an engine or a list of addresses, got \[\]"):
        open_engine([])
    with pytest.raises(UsageError, match="unknown engine"):
        open_engine("ftp://x")


def test_the_doctor_reports_the_dead_and_the_living(capsys):
    assert run(["doctor", "--big", "http://127.0.0.1:9", "--json"]) == 1
    big, small = json.loads(capsys.readouterr().out)["roles"]
    assert "nothing listens there" in big["error"]
    assert small["error"] is None
    assert small["server"] == "in this process"
    assert run(["doctor", "--big", f"http://127.0.0.1:9/{'long' * 50}"]) == 1
    assert "…" not in capsys.readouterr().out  # what has no room in a line goes on in the next one
    assert run(["doctor", "--big", "bundled:small"]) == 0
    assert "equal tokenizers" in capsys.readouterr().out


class Losing(ScriptedTokenizer):
    """Loses newlines on the way back."""

    def to_bytes(self, ids):
        return super().to_bytes(ids).replace(b"\n", b"")


async def test_the_doctor_sees_a_tokenizer_that_loses_newlines():
    engine = ScriptedEngine("One.")
    engine._tokenizer = Losing()
    found = await look("big", engine)
    assert found.error == r"scripted: the text '\n' comes back as b''; fetch the tokenizer again, or use another model"
