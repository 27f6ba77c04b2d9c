"""A tower whose work is cancelled counts all that its models wrote, and leaves nothing running."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any

import pytest
from profiles import quick_cases
from strategies import Verbs

from speculative import STEP, Chain, Method, Pair, Problem, Trace
from speculative.methods.registry import build
from speculative.runner import run
from speculative.testing import ScriptedEngine
from speculative.tower import TowerEngine

SCRIPT = "Six is 6.\n\nSeven is 7.\n\nSo 42.\n\n" * 5 + "</think>\n\nThe answer is \\boxed{42}."


class Slow(ScriptedEngine):
    """Needs some turns to end a call that is cancelled, as a real engine does."""

    turns = 4

    async def _pace(self, tokens: int, stats: Any) -> None:
        try:
            await super()._pace(tokens, stats)
        except asyncio.CancelledError:
            for _ in range(self.turns):
                await asyncio.sleep(0)
            raise


def slow_pair(nested: bool) -> tuple[Pair, list[Slow]]:
    engines = [Slow(SCRIPT, name=name, delay=1e-6) for name in ("big", "inner big", "inner small")]
    for engine, turns in zip(engines, (4, 2, 7), strict=True):
        engine.turns = turns
    small = TowerEngine(build("random_switch", {"switch_chunk": 3}), Pair(*engines[1:]))
    if nested:
        engines.append(Slow(SCRIPT, name="outer", delay=1e-6))
        small = TowerEngine(build("random_switch", {"switch_chunk": 5}), Pair(engines[3], small))
    return Pair(engines[0], small), engines


async def one_write(chain: Chain) -> None:
    while chain.thinking:
        await chain.write("small", stop=STEP)


async def several_drafts(chain: Chain) -> None:
    while chain.thinking:
        await chain.accept((await chain.draft("small", 3, stop=STEP))[0])


async def drafts_at_once(chain: Chain) -> None:
    while chain.thinking:
        first, _ = await asyncio.gather(chain.draft("small", stop=STEP), chain.draft("small", max_tokens=9))
        await chain.accept(first)


async def several_parents(chain: Chain) -> None:
    while chain.thinking:
        parents = await chain.draft("small", 2, stop=STEP)
        await chain.draft("small", max_tokens=8, after=list(parents))
        await chain.accept(parents[0])


async def children(chain: Chain) -> None:
    async def think(child: Chain) -> None:
        while child.thinking:
            await child.write("small", until=lambda text: text.endswith("."))

    await asyncio.gather(*(think(chain.child()) for _ in range(2)))


async def prefills(chain: Chain) -> None:
    while chain.thinking:
        await asyncio.gather(chain.prefill("small"), chain.prefill("small"), chain.write("big", max_tokens=5))


SHAPES = (one_write, several_drafts, drafts_at_once, several_parents, children, prefills)
METHODS = [*(Verbs(script=work) for work in SHAPES), build("random_switch", {}, ["vote(ballots=3)"]), build("best_step")]
NAMES = [*(work.__name__ for work in SHAPES), "vote", "best_step"]


def check_counted(trace: Trace, engines: list[Slow]) -> None:
    assert all(engine.running == 0 for engine in engines)
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []
    usage = trace.usage()
    assert sum(cost.produced_tokens for role, cost in usage.items() if "/" not in role) == sum(engine.produced for engine in engines)


@pytest.mark.parametrize("method", quick_cases(METHODS, 3), ids=NAMES)
@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("again", [(), (1,), (0, 2, 3)])
async def test_all_tokens_of_a_cancelled_tower_are_counted(method: Method, nested: bool, again: tuple[int, ...]) -> None:
    for turns in (3, 11, 24, 50, 90, 130):
        pair, engines = slow_pair(nested)
        task = asyncio.create_task(run(Problem.of("6*7?"), method, pair, trace=(trace := Trace([]))))
        await turn(turns)
        task.cancel()
        for pause in again:  # the same caller loses patience
            await turn(pause)
            task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        check_counted(trace, engines)


@pytest.mark.parametrize("nested", [False, True])
async def test_drafts_of_a_tower_that_another_draft_cancels_are_counted(nested: bool) -> None:
    async def race(chain: Chain) -> None:
        while chain.thinking:
            beams = asyncio.create_task(wait_for(chain.draft("small", 3, stop=STEP)))
            step = await chain.draft("big", max_tokens=4)
            await chain.accept(step)
            await beams

    pair, engines = slow_pair(nested)
    result = await run(Problem.of("6*7?", max_tokens=120), Verbs(script=race), pair)
    assert any(type(event).__name__ == "Cancelled" for event in result.trace.events)
    check_counted(result.trace, engines)


async def wait_for(work: Awaitable[Any]) -> Any:
    return await work


async def turn(times: int) -> None:
    for _ in range(times):
        await asyncio.sleep(0)
