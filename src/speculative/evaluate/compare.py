"""Methods on the same problems with the same seeds: the loop of `speculative compare`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from speculative.evaluate.work import Work, attempt
from speculative.pair import Pair
from speculative.problem import Problem
from speculative.sample import Sample
from speculative.trace import Trace

T = TypeVar("T")

OnSample = Callable[[Sample, Trace], None]


async def compare(
    work: Sequence[Work], pair: Pair, problem: Problem, settings: Mapping[str, Any], on_sample: OnSample, *, chains: int
) -> None:
    """Runs the chains, at most `chains` at once; `on_sample` is told of each as it finishes.

    `problem` carries sampling, budget and the seed that all seeds are made from; its text is replaced.
    Raises `EngineError`: nothing that failed is counted as an answer.
    """
    for contender in {id(one.contender): one.contender for one in work}.values():
        pair.check(contender.method)

    async def one_more(one: Work) -> None:
        on_sample(*await attempt(one, pair, problem, settings))

    await side_by_side(work, one_more, chains)


async def side_by_side(work: Sequence[T], do: Callable[[T], Awaitable[None]], chains: int) -> None:
    """Does it for all of the work, at most `chains` at once. The first failure ends it, and comes alone."""
    left = iter(work)
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(chains):
                group.create_task(_worker(left, do))
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None


async def _worker(left: Iterator[T], do: Callable[[T], Awaitable[None]]) -> None:
    for one in left:
        await do(one)
