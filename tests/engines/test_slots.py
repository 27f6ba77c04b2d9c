"""A chain keeps its slot of a llama.cpp server."""

from __future__ import annotations

import asyncio

from speculative.engines.base import CallStats, Decoding
from speculative.engines.http.engine import OpenAIEngine
from speculative.engines.http.slots import ANY, ChainSlots
from speculative.testing import ScriptedEngine, ScriptedTokenizer
from speculative.testing.fake_server import FakeServer


def call(slots: ChainSlots, chain: str) -> int:
    with slots.reserve(chain) as number:
        return number


def test_each_chain_has_a_slot_of_its_own_and_keeps_it() -> None:
    slots = ChainSlots(3, 0)
    assert [call(slots, chain) for chain in "abcabc"] == [0, 1, 2, 0, 1, 2]


def test_a_new_chain_takes_the_slot_that_was_unused_for_longest() -> None:
    slots = ChainSlots(2, 0)
    assert [call(slots, chain) for chain in "abacdc"] == [0, 1, 0, 1, 0, 1]


def test_a_second_call_of_a_chain_takes_another_slot_and_then_the_server_chooses() -> None:
    slots = ChainSlots(2, 0)
    with slots.reserve("a") as first, slots.reserve("a") as second, slots.reserve("b") as third:
        assert (first, second, third) == (0, 1, ANY)
    assert call(slots, "a") == 1


def test_processes_begin_with_slots_of_their_own() -> None:
    assert [call(ChainSlots(4, process), "a") for process in (8, 9)] == [0, 1]


async def test_calls_to_llamacpp_name_the_slot_also_after_a_hang_up() -> None:
    async with FakeServer(ScriptedEngine("One two three four"), kind="llama.cpp") as server:
        engine = await OpenAIEngine.connect(server.url, tokenizer=ScriptedTokenizer(), dialect="chatml")
        server.requests.clear()
        prefix = engine.tokenizer.encode("x")
        for chain in "abab":
            await engine.complete([prefix], Decoding(3), key=chain, stats=CallStats())
            async for _ in (stream := engine.stream(prefix, Decoding(3), key=chain, stats=CallStats())):
                break
            await stream.aclose()  # pyright: ignore[reportAttributeAccessIssue]
        await asyncio.gather(*(engine.complete([prefix], Decoding(3), key=chain, stats=CallStats()) for chain in "cdefg"))
        named = [body["id_slot"] for path, _, body in server.requests if path == "/completion"]
        assert named[0] == named[1] == named[4] == named[5] != named[2] == named[3] == named[6] == named[7]
        assert sorted(named[8:]) == [ANY, 0, 1, 2, 3]
        await engine.aclose()


async def test_other_servers_are_sent_no_slot() -> None:
    async with FakeServer(ScriptedEngine("One.")) as server:
        engine = await OpenAIEngine.connect(server.url, tokenizer=ScriptedTokenizer(), dialect="chatml")
        await engine.complete([engine.tokenizer.encode("x")], Decoding(3), key="a", stats=CallStats())
        assert not any("id_slot" in body for _, _, body in server.requests)
        await engine.aclose()
