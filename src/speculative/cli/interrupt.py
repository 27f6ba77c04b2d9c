"""Ctrl-C and SIGTERM end the work in good order: the task is cancelled, so are its engine calls, and what was done can be shown."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

from speculative.cli.errors import Interrupted

T = TypeVar("T")

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def interruptible(work: Coroutine[Any, Any, T]) -> T:
    """Runs the coroutine. Raises `Interrupted` when a signal came; a second signal does not wait for the engines."""
    caught: list[int] = []

    async def watched() -> T:
        task, loop = asyncio.current_task(), asyncio.get_running_loop()

        def stop(number: int) -> None:
            caught.append(number)
            if len(caught) > 1:
                raise KeyboardInterrupt
            if task:
                task.cancel()

        for number in SIGNALS:
            try:
                loop.add_signal_handler(number, stop, number)
            except NotImplementedError:  # a platform without them: the loop's own Ctrl-C is there
                signal.signal(number, lambda number, _: loop.call_soon_threadsafe(stop, number))
        return await work

    try:
        return asyncio.run(watched())
    except asyncio.CancelledError:
        if not caught:
            raise
        raise Interrupted(caught[0]) from None
