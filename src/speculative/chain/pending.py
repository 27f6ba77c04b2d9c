"""Calls of drafts that are under way: `accept` and `reject` can end them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from speculative.chain.drafts import Draft

T = TypeVar("T")


class Flight:
    """One call, in a task of its own. `parents` are what its drafts will hang off, None for the chain's end."""

    def __init__(self, parents: Sequence[Draft | None]) -> None:
        self.parents = parents
        self.grounded = False
        self._task: asyncio.Task[Any] | None = None

    async def run(self, work: Coroutine[Any, Any, T]) -> T | None:
        """What the call gives; None if it was grounded before it gave anything. A call that failed may be followed by another one."""
        if self.grounded:
            work.close()
            return None
        self._task = task = asyncio.ensure_future(work)
        try:
            return await task
        except asyncio.CancelledError:
            mine = asyncio.current_task()
            if not self.grounded or (mine and mine.cancelling()):
                raise
            return None

    def ground(self) -> asyncio.Task[Any] | None:
        """Cancels the call; its task, to be waited for."""
        self.grounded = True
        if self._task:
            self._task.cancel()
        return self._task


class Flights:
    """All flights of one chain."""

    def __init__(self) -> None:
        self._all: dict[Flight, None] = {}

    def begin(self, parents: Sequence[Draft | None]) -> Flight:
        flight = Flight(parents)
        self._all[flight] = None
        return flight

    def end(self, flight: Flight) -> None:
        self._all.pop(flight, None)

    def ground(self, doomed: Callable[[Draft | None], bool]) -> list[asyncio.Task[Any]]:
        """Cancels the calls all of whose drafts would hang off something doomed."""
        hit = [flight for flight in self._all if not flight.grounded and all(doomed(parent) for parent in flight.parents)]
        return [task for flight in hit if (task := flight.ground())]
