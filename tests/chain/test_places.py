"""Tokens depend on their place in the tree and on nothing else."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from easy import EASY
from hypothesis import given, settings
from hypothesis import strategies as st
from profiles import examples, quick_cases
from strategies import Jittery, Recorded, check_books, check_result, digit_odds

from speculative import Chain, Pair, Problem, Question, Result, Wrapper
from speculative.chain.drafts import TreeNode
from speculative.engines.local import BundledEngine
from speculative.methods.registry import build
from speculative.runner import run
from speculative.testing import ScriptedEngine

METHODS = Path(__file__).parents[2] / "examples" / "methods"
CHARACTERS = "ab c.\n\n\né"


def typing(salt: int, end: int = 400) -> Callable[[str, int], str]:
    """A model that draws one character after the other, each from what stands before it: where a call begins does not matter."""

    def script(seen: str, seed: int) -> str:
        text = ""
        while len(text) < 500:
            chance = crc32(f"{salt}/{seed}/{len(seen) + len(text)}/{(seen + text)[-20:]}".encode())
            if chance % end == 0:
                return text + "</think>"
            text += CHARACTERS[chance // end % len(CHARACTERS)]
        return text

    return script


def typing_pair(engine: type[ScriptedEngine] = ScriptedEngine, **settings: Any) -> Pair:
    return Pair(*(engine(typing(salt), name=name, **settings) for salt, name in ((1, "big"), (2, "small"))))


class Curious(Wrapper):
    """Asks and prefills at every step, and changes nothing."""

    async def run(self, chain: Chain) -> None:
        async def ask(watched: Chain) -> None:
            await watched.ask("small", "Well?", n=2, max_tokens=3)
            await watched.ask("big", Question("answer"), max_tokens=3)
            await watched.prefill("small")
            await watched.prefill("big")

        chain.at_step(ask)
        await self.inner.run(chain)


class Idle(Wrapper):
    """Watches every step and does nothing."""

    async def run(self, chain: Chain) -> None:
        async def watch(watched: Chain) -> None: ...

        chain.at_step(watch)
        await self.inner.run(chain)


CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "big_only": ("big_only", {"sequential_scale": 1}),
    "chunks": ("random_switch", {"switch_chunk": 7}),
    "steps": ("random_switch", {"unit": "step"}),
    "beams": ("logprob_subselect", {"sgen": 4, "lbound": 2, "max_iterations": 4}),
    "rewrites": ("spec_rewrite", {"thinking_n_ignore": 2, "drafting_n": 2}),
    "doubts": (str(METHODS / "take_over.py"), {"doubt": "c[.]"}),
}


def text_of(result: Result) -> tuple[Any, ...]:
    segments = [(segment.author, segment.phase, segment.text) for segment in result.trace.segments()]
    return result.reasoning, result.text, segments, result.finish_reason


@pytest.mark.parametrize("case", CASES)
def test_questions_prefills_idle_wrappers_and_listeners_change_no_token(case: str) -> None:
    problem, method = Problem.of("6*7?", max_tokens=300, seed=1), build(*CASES[case])
    bare = asyncio.run(run(problem, method, typing_pair()))
    assert bare.trace.ledger.kept > 10
    idle = build(method, wrappers=["early_exit(agree=99)"])
    for wrapped, listener in ((method, Recorded()), (Curious(inner=method), None), (Idle(inner=method), None), (idle, Recorded())):
        result = asyncio.run(run(problem, wrapped, typing_pair(), listener))
        assert text_of(result) == text_of(bare)


@pytest.mark.parametrize("case", quick_cases(["big_only", "chunks", "steps"]))
def test_on_the_bundled_pair_a_watched_chain_is_the_same(case: str) -> None:
    problem, method = Problem.of(EASY, max_tokens=300, seed=5), build(*CASES[case])

    async def both() -> tuple[Result, Result]:
        async with Pair(BundledEngine.open("big"), BundledEngine.open("small")) as pair:
            return await run(problem, method, pair), await run(problem, Curious(inner=method), pair)

    bare, watched = asyncio.run(both())
    assert text_of(watched) == text_of(bare)


@settings(max_examples=examples(30))
@given(st.sampled_from(["step_check", "lookahead"]), st.integers(0, 1 << 30), st.integers(0, 1 << 30), st.integers(30, 300))
def test_pipelined_tokens_do_not_depend_on_the_engines_speeds(name: str, seed: int, speed: int, tokens: int) -> None:
    problem = Problem.of("6*7?", max_tokens=tokens, seed=seed)
    method = build(str(METHODS / f"{name}.py"), {"floor": 4} if name == "step_check" else {"depth": 3})
    steady = asyncio.run(run(problem, method, typing_pair(top=digit_odds)))
    pair = typing_pair(Jittery, top=digit_odds, chance=random.Random(speed))
    result = asyncio.run(run(problem, method, pair))
    assert text_of(result) == text_of(steady)
    check_result(result, problem, pair)


def test_domains_of_a_place_do_not_touch_each_other() -> None:
    node = TreeNode(7)
    first = node.new_child("draft small").key
    node.new_child("ask big")
    node.new_child("draft big")
    assert TreeNode(7).new_child("draft small").key == first != node.new_child("draft small").key
    second = node.new_child("draft big").key
    assert second != node.moved().new_child("draft big").key  # a moved node counts on


async def test_a_question_draws_from_its_own_numbers() -> None:
    chain = Chain(Problem.of("6*7?"), Pair(ScriptedEngine(lambda seen, seed: f"{seed}<|im_end|>"), ScriptedEngine("")))
    draft = await chain.draft("big", max_tokens=2)
    asked = [(await chain.ask("big", "?")).text for _ in range(2)]
    again = Chain(Problem.of("6*7?"), Pair(ScriptedEngine(lambda seen, seed: f"{seed}<|im_end|>"), ScriptedEngine("")))
    assert [(await again.ask("big", "?")).text for _ in range(2)] == asked
    assert len(set(asked)) == 2
    assert (await again.draft("big", max_tokens=2)).text == draft.text
    check_books(chain.trace)
