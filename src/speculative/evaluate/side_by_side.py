"""Several chains at once, and no more than that."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


async def side_by_side(work: Sequence[T], do: Callable[[T], Awaitable[None]], chains: int) -> None:
    """Does it for all of the work in its order, at most `chains` at once. The first failure ends it, and comes alone."""
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
