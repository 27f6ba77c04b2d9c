"""A tower whose models run behind servers writes what it writes with the same models in this process."""

from __future__ import annotations

import random
from typing import Any

import pytest
from strategies import FRAGMENTS, Recorded

from speculative import EngineError, Pair, Problem
from speculative.engines.http import retries
from speculative.engines.http.engine import OpenAIEngine
from speculative.methods.registry import build
from speculative.runner import run
from speculative.testing import Script, ScriptedEngine, ScriptedTokenizer
from speculative.testing.fake_server import FakeServer, Kind
from speculative.tower import TowerEngine

ENDLESS = [fragment for fragment in FRAGMENTS if "<" not in fragment and "same" not in fragment]
KINDS: tuple[Kind, ...] = ("vllm", "sglang", "llama.cpp")


def babble(salt: int) -> Script:
    """Says the same after the same, whatever the seed: over HTTP those are others."""

    def script(seen: str, seed: int) -> str:
        chance = random.Random(f"{salt}/{seen}")
        return "".join(chance.choice(ENDLESS) for _ in range(chance.randrange(1, 30)))

    return script


def models(width: int = 2) -> list[ScriptedEngine]:
    return [ScriptedEngine(babble(salt), name=f"m{salt}", width=width) for salt in range(3)]


def paired(big: Any, inner_big: Any, inner_small: Any, degrade: Any = "fail") -> Pair:
    return Pair(big, TowerEngine(build("random_switch", {"switch_chunk": 5}), Pair(inner_big, inner_small), degrade=degrade))


async def connected(server: FakeServer) -> OpenAIEngine:
    return await OpenAIEngine.connect(server.url, tokenizer=ScriptedTokenizer(server.engine.tokenizer.width), dialect="chatml")


@pytest.mark.parametrize("listens", [False, True])
@pytest.mark.parametrize("kind", KINDS)
async def test_the_chain_is_the_one_without_servers(kind: Kind, listens: bool) -> None:
    problem, method = Problem.of("6*7? 😀", max_tokens=150, seed=3), build("random_switch", {"switch_chunk": 11, "switch_ratio": 2})
    width = 1 if kind == "llama.cpp" else 2  # its fake one ends no text inside of a token
    direct = await run(problem, method, paired(*models(width)))
    one, two, three = models(width)
    async with FakeServer(one, kind=kind) as a, FakeServer(two, kind=kind) as b, FakeServer(three, kind=kind) as c:
        pair = paired(*[await connected(server) for server in (a, b, c)])
        served = await run(problem, method, pair, Recorded() if listens else None)
        await pair.aclose()
    assert served.trace.segments() == direct.trace.segments()
    rows = {role: cost.kept_tokens for role, cost in served.usage.items()}
    assert rows == {role: cost.kept_tokens for role, cost in direct.usage.items()}
    assert {"small/big", "small/small"} <= set(rows)


async def test_a_server_that_is_gone_below_is_survived_on_either_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "ATTEMPTS", 2)
    problem = Problem.of("6*7?", max_tokens=100, seed=3)
    one, two, three = models()
    async with FakeServer(one) as a, FakeServer(two) as b, FakeServer(three) as c:
        engines = [await connected(server) for server in (a, b, c)]
        await b.__aexit__(None, None, None)
        inside = await run(problem, build("small_only"), paired(*engines, degrade="small"))
        assert inside.degraded == "small/big"
        assert inside.usage["small/small"].kept_tokens == inside.usage["small"].kept_tokens > 0
        outside = await run(Problem.of("6*7?", max_tokens=100, seed=3, degrade="big"), build("small_only"), paired(*engines))
        assert outside.degraded == "small"
        assert outside.usage["big"].kept_tokens > 0
        with pytest.raises(EngineError) as caught:
            await run(problem, build("small_only"), paired(*engines))
        assert caught.value.role == "small"
        for engine in engines:
            await engine.aclose()
