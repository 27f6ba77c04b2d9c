"""Chains over HTTP are those that the same models write in this process, whatever the server, the method and the tokens."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from profiles import examples
from strategies import FRAGMENTS, Recorded, Verbs, check_books, policies

from speculative import Pair, Problem, Result
from speculative.chain.chain import Chain
from speculative.engines.http.engine import OpenAIEngine
from speculative.methods.base import Method
from speculative.methods.registry import build
from speculative.runner import run
from speculative.testing import Script, ScriptedEngine, ScriptedTokenizer
from speculative.testing.fake_server import FakeServer, Kind
from speculative.trace.replay import ReplayEngine

PLAIN = [fragment for fragment in FRAGMENTS if fragment.isascii()]


def babble(salt: int, fragments: Sequence[str] = FRAGMENTS) -> Script:
    """Says the same after the same, whatever the seed: over HTTP those are others."""

    def script(seen: str, seed: int) -> str:
        chance = random.Random(f"{salt}/{seen}")
        return "".join(chance.choice(fragments) for _ in range(chance.randrange(1, 30)))

    return script


async def both(kind: Kind, problem: Problem, method: Method, engines: Any, heard: bool) -> tuple[Result, Result, Result]:
    """Directly, over servers, and that one again from its trace."""
    direct = await run(method.prepare(problem), method, Pair(*engines()))
    big, small = engines()
    async with FakeServer(big, kind=kind) as one, FakeServer(small, kind=kind) as two:
        connected = [
            await OpenAIEngine.connect(server.url, tokenizer=ScriptedTokenizer(server.engine.tokenizer.width), dialect="chatml")
            for server in (one, two)
        ]
        async with Pair(*connected) as pair:
            served = await run(method.prepare(problem), method, pair, Recorded() if heard else None)
            replay = Pair(*(ReplayEngine(served.trace, role, like) for role, like in pair.items()))
            return direct, served, await run(method.prepare(problem), method, replay)


@settings(max_examples=examples(40))
@given(
    st.sampled_from(["vllm", "sglang", "llama.cpp"]),
    policies(),
    st.integers(0, 1 << 30),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.integers(1, 300),
    st.none() | st.integers(1, 400),
    st.just(1 << 20) | st.integers(700, 1000),
    st.booleans(),
)
def test_a_chain_over_http_is_the_same_and_replays(
    kind: Kind, policy: Any, salt: int, widths: tuple[int, int], tokens: int, produced: int | None, context: int, heard: bool
) -> None:
    # llama.cpp keeps back the bytes of a character that a limit cuts: such a chain is shorter there than in this process
    widths, fragments = ((1, 1), PLAIN) if kind == "llama.cpp" else (widths, FRAGMENTS)
    name, params, wrappers = policy
    problem = Problem.of("6*7? <think> 😀", max_tokens=tokens, max_produced=produced, seed=salt)
    made = lambda: [ScriptedEngine(babble(salt + i, fragments), width=width, context=context) for i, width in enumerate(widths)]  # noqa: E731
    method = build(name, params, wrappers)
    needed = set[str]().union(*method.required_abilities().values())
    assume(not needed & {"top", "choices"} and (kind != "llama.cpp" or "score" not in needed))
    direct, served, again = asyncio.run(both(kind, problem, method, made, heard))
    assert (served.reasoning, served.text, served.finish_reason) == (direct.reasoning, direct.text, direct.finish_reason)
    check_books(served.trace)
    assert again.trace.timeless() == served.trace.timeless()
    for role, cost in served.usage.items():
        expected = direct.usage[role]
        assert (cost.produced_tokens, cost.kept_tokens) == (expected.produced_tokens, expected.kept_tokens)
        assert produced is None or cost.produced_tokens <= produced


@pytest.mark.parametrize("temperature", [0, 1])
@pytest.mark.parametrize("limit", [1, 2, 3, 5, 8])
async def test_a_text_of_llama_that_is_cut_inside_of_a_character_replays(limit: int, temperature: float) -> None:
    async def chunks(chain: Chain) -> None:
        while chain.thinking:
            await chain.write("big", max_tokens=limit)
            await chain.draft("small", 2, max_tokens=limit, temperature=temperature)

    script = "a😀é日b🦊.</think>"
    _, served, again = await both(
        "llama.cpp", Problem.of("6*7?"), Verbs(script=chunks), lambda: [ScriptedEngine(script), ScriptedEngine(script)], heard=False
    )
    assert served.reasoning == "a😀é日b🦊."
    assert again.trace.timeless() == served.trace.timeless()
