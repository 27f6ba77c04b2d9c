"""Calls for drafts that are under way: `accept` and `reject` can cancel them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from speculative.chain.drafts import Draft

T = TypeVar("T")


class PendingCall:
    """Runs one call in a task of its own.

    `parents` are the drafts that the call's own drafts will follow, None for the chain's end.
    """

    def __init__(self, parents: Sequence[Draft | None]) -> None:
        self.parents = parents
        self.cancelled = False
        self._task: asyncio.Task[Any] | None = None

    async def run(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Returns the result of the work, or None if `cancel` cancelled it.

        A failed call may be followed by another one.
        """
        if self.cancelled:
            work.close()
            return None
        self._task = task = asyncio.ensure_future(work)
        try:
            return await task
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if current and current.cancelling() and task.done() and not task.cancelled():
                current.uncancel()
                current.cancel()  # at its next await; until then the cost of the finished call can be recorded
                return task.result()
            if not self.cancelled or (current and current.cancelling()):
                raise
            return None

    def cancel(self) -> asyncio.Task[Any] | None:
        """Cancels the call. Returns its task, to be waited for."""
        self.cancelled = True
        if self._task:
            self._task.cancel()
        return self._task


class PendingCalls:
    """All calls for drafts of one chain."""

    def __init__(self) -> None:
        self._all: dict[PendingCall, None] = {}

    def begin(self, parents: Sequence[Draft | None]) -> PendingCall:
        """Registers a call before it is made."""
        call = PendingCall(parents)
        self._all[call] = None
        return call

    def end(self, call: PendingCall) -> None:
        """Forgets a call that is over."""
        self._all.pop(call, None)

    def cancel(self, is_lost: Callable[[Draft | None], bool]) -> list[asyncio.Task[Any]]:
        """Cancels the calls whose parents are all lost.

        Returns their tasks, to be waited for.
        """
        hit = [call for call in self._all if not call.cancelled and all(is_lost(parent) for parent in call.parents)]
        return [task for call in hit if (task := call.cancel())]


async def wait_cancelled(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Waits until cancelled calls are over and their cost is recorded."""
    if tasks:
        await asyncio.wait(tasks)
