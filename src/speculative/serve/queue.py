"""The queue in front of the chains, with its limits."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from speculative.serve.errors import ApiError, shutting_down

FIRST_ESTIMATE_S = 5.0
"""Seconds of a chain, before the first one has ended."""


class ChainQueue:
    """Gives places to requests, first come, first served.

    `closed`: the service shuts down and starts no more chains.
    """

    def __init__(self, chains: int, waiting: int, seconds: float) -> None:
        self.max_chains, self.max_waiting, self.seconds = chains, waiting, seconds
        self.running = 0
        self.closed = False
        self._waiters: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._usual_s = FIRST_ESTIMATE_S
        self._aborts: set[Callable[[], None]] = set()

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._waiters)

    @asynccontextmanager
    async def places(self, chains: int, abort: Callable[[], None]) -> AsyncGenerator[float]:
        """Holds places for chains and yields the seconds waited.

        Args:
            abort: ends the chains when the drain is over.

        Raises:
            ApiError: 429 when no place comes free in time, 503 when the service shuts down.
        """
        began = time.perf_counter()
        await self._wait(chains)
        entered = time.perf_counter()
        self._aborts.add(abort)
        try:
            yield entered - began
        finally:
            self._aborts.discard(abort)
            self._usual_s += 0.2 * (time.perf_counter() - entered - self._usual_s)
            self._release(chains)

    def close(self) -> None:
        """Begins nothing more, and turns waiting requests away."""
        self.closed = True
        while self._waiters:
            _, place = self._waiters.popleft()
            if not place.done():
                place.set_exception(shutting_down())

    def abort(self) -> None:
        """Ends the chains that still run."""
        for abort in list(self._aborts):
            abort()

    async def _wait(self, chains: int) -> None:
        if self.closed:
            raise shutting_down()
        if not self._waiters and self.running + chains <= self.max_chains:
            self.running += chains
            return
        if len(self._waiters) >= self.max_waiting:
            raise self._too_many()
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        ticket = (chains, place)
        self._waiters.append(ticket)
        try:
            async with asyncio.timeout(self.seconds):
                await place
        except (TimeoutError, asyncio.CancelledError) as error:
            if place.done() and not place.cancelled() and not place.exception():  # the place came in the same moment
                self._release(chains)
            elif ticket in self._waiters:
                self._waiters.remove(ticket)
                self._wake_next()
            if isinstance(error, TimeoutError):
                raise self._too_many() from None
            raise

    def _release(self, chains: int) -> None:
        self.running -= chains
        self._wake_next()

    def _wake_next(self) -> None:
        while self._waiters and self.running + self._waiters[0][0] <= self.max_chains:
            chains, place = self._waiters.popleft()
            if not place.done():
                self.running += chains
                place.set_result(None)

    def _too_many(self) -> ApiError:
        rounds = 1 + len(self._waiters) / self.max_chains
        wait = min(60, max(1, math.ceil(self._usual_s * rounds)))
        return ApiError(
            429,
            f"all {self.running} places for chains are taken; try again in {wait} s",
            code="too_many_chains",
            retry_after=wait,
        )
