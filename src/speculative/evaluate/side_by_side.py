"""Several chains at once, and no more than that; and what each of them has of the time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


class Sharing:
    """The time in which chains run, divided among those that run at once: the parts of all make the whole."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock, self._running = clock, 0
        self._each, self._since = 0.0, clock()

    @contextmanager
    def one(self, parts: int = 1) -> Generator[Callable[[], float]]:
        """A chain of so many parts runs within. Afterwards the function says how many as large as it shared its time, in the mean."""
        self._pass()
        began, had, shared = self._since, self._each, 1.0
        self._running += parts
        try:
            yield lambda: shared
        finally:
            self._pass()
            self._running -= parts
            own = parts * (self._each - had)
            shared = max(1.0, round((self._since - began) / own, 3)) if own else 1.0

    def _pass(self) -> None:
        now = self._clock()
        if self._running:
            self._each += (now - self._since) / self._running
        self._since = now


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
