"""Judgements go before drafts, and drafts before those that may be thrown away, where a server has an order."""

from __future__ import annotations

from typing import Any

from speculative.engines.http.engine import OpenAIEngine
from speculative.methods.registry import build
from speculative.pair import Pair
from speculative.runner import asolve
from speculative.testing import ScriptedEngine, ScriptedTokenizer
from speculative.testing.fake_server import FakeServer

TEXT = "One.\n\nTwo.\n\nThree.\n\nFour.</think>Five."


async def connect(server: FakeServer) -> OpenAIEngine:
    return await OpenAIEngine.connect(server.url, tokenizer=ScriptedTokenizer(), dialect="chatml")


def priorities(server: FakeServer) -> list[int]:
    return [body.get("priority", 0) for path, _, body in server.requests if path == "/v1/completions"]


async def solved(method: str, params: dict[str, Any], *, fcfs: bool = False) -> tuple[list[int], list[int]]:
    """The priorities of all calls to big, and to small."""
    async with FakeServer(ScriptedEngine(TEXT)) as big, FakeServer(ScriptedEngine(TEXT)) as small:
        big.fcfs = small.fcfs = fcfs
        async with Pair(await connect(big), await connect(small)) as pair:
            big.requests.clear()
            small.requests.clear()
            await asolve("?", build(method, params), pair=pair, max_tokens=400)
        return priorities(big), priorities(small)


async def test_a_judgement_goes_before_a_draft_and_that_before_a_draft_behind_a_draft() -> None:
    big, small = await solved("step_verify", {"pipeline": "accept", "threshold": 0})
    judgements, answers = big[:-1], big[-1:]
    assert set(judgements) == {0}
    assert small[0] == 1  # the first step follows the chain, all others a step that is judged meanwhile
    assert set(small[1:]) == {2}
    assert answers == [1]


async def test_a_server_that_refuses_priorities_gets_none() -> None:
    big, small = await solved("step_verify", {"pipeline": "accept", "threshold": 0}, fcfs=True)
    assert len(big) > 2
    assert set(big + small) == {0}


async def test_the_ability_says_whether_a_server_takes_priorities() -> None:
    async with FakeServer(ScriptedEngine(TEXT)) as server:
        for fcfs in (False, True):
            server.fcfs = fcfs
            engine = await connect(server)
            assert ("priority" in engine.abilities) is not fcfs
            await engine.aclose()
    async with FakeServer(ScriptedEngine(TEXT), kind="sglang") as server:
        engine = await connect(server)
        assert "priority" not in engine.abilities
        await engine.aclose()
