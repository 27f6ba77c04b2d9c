"""How many chains run at once, who waits for how long, and who is sent away."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from speculative.serve.errors import Refusal, draining

FIRST_GUESS = 5.0
"""Seconds of a chain, before one was seen."""


class Admission:
    """First come, first served. `closed`: the service drains and begins nothing more."""

    def __init__(self, chains: int, waiting: int, seconds: float) -> None:
        self.chains, self.limit, self.seconds = chains, waiting, seconds
        self.running = 0
        self.closed = False
        self._queue: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._usual = FIRST_GUESS
        self._aborts: set[Callable[[], None]] = set()

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._queue)

    @asynccontextmanager
    async def enter(self, chains: int, abort: Callable[[], None]) -> AsyncGenerator[float]:
        """Holds places for so many chains; gives the seconds that were waited. `abort` ends them when the drain is over.

        Raises `Refusal`: 429 when there is no place in time, 503 when the service drains.
        """
        began = time.perf_counter()
        await self._wait(chains)
        entered = time.perf_counter()
        self._aborts.add(abort)
        try:
            yield entered - began
        finally:
            self._aborts.discard(abort)
            self._usual += 0.2 * (time.perf_counter() - entered - self._usual)
            self._leave(chains)

    def close(self) -> None:
        """Begins nothing more, and sends away who waits."""
        self.closed = True
        while self._queue:
            _, place = self._queue.popleft()
            if not place.done():
                place.set_exception(draining())

    def abort(self) -> None:
        """Ends what still runs."""
        for abort in list(self._aborts):
            abort()

    async def _wait(self, chains: int) -> None:
        if self.closed:
            raise draining()
        if chains > self.chains:
            raise Refusal(
                400, f"n, ballots: this request asks for {chains} chains, the service runs {self.chains} at once; ask for fewer", param="n"
            )
        if not self._queue and self.running + chains <= self.chains:
            self.running += chains
            return
        if len(self._queue) >= self.limit:
            raise self._busy()
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        ticket = (chains, place)
        self._queue.append(ticket)
        try:
            async with asyncio.timeout(self.seconds):
                await place
        except (TimeoutError, asyncio.CancelledError) as error:
            if place.done() and not place.cancelled() and not place.exception():  # the place came in the same moment
                self._leave(chains)
            elif ticket in self._queue:
                self._queue.remove(ticket)
                self._next()
            if isinstance(error, TimeoutError):
                raise self._busy() from None
            raise

    def _leave(self, chains: int) -> None:
        self.running -= chains
        self._next()

    def _next(self) -> None:
        while self._queue and self.running + self._queue[0][0] <= self.chains:
            chains, place = self._queue.popleft()
            if not place.done():
                self.running += chains
                place.set_result(None)

    def _busy(self) -> Refusal:
        rounds = 1 + len(self._queue) / self.chains
        wait = min(60, max(1, math.ceil(self._usual * rounds)))
        return Refusal(
            429,
            f"{self.running} chains are running, which is all that the service runs at once; try again in {wait} s",
            kind="rate_limit_error",
            code="too_many_chains",
            retry_after=wait,
        )
