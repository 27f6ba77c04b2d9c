"""Asynchronous work for callers without an event loop, or in the middle of one."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any, TypeVar

T = TypeVar("T")

EVERY = 0.5
"""Seconds after which whoever waits is told so, again and again."""


def apart(work: Awaitable[T], told: Callable[[float], None] | None = None) -> T:
    """Waits for work in a thread and an event loop of its own; cancels it when the wait is interrupted.

    `told` is called with the seconds so far; whatever it raises interrupts the wait, as Ctrl-C does.
    """
    begun: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any] | None]] = []
    off = threading.Event()

    async def waited() -> T:
        task = asyncio.current_task()
        begun.append((asyncio.get_running_loop(), task))
        if off.is_set() and task:
            task.cancel()
        return await work

    start = time.monotonic()
    with ThreadPoolExecutor(1, thread_name_prefix="speculative-open") as pool:
        future = pool.submit(lambda: asyncio.run(waited()))
        try:
            while not wait([future], EVERY).done:
                if told:
                    told(time.monotonic() - start)
            return future.result()
        except BaseException:
            off.set()
            for loop, task in begun:
                if task and not loop.is_closed():
                    loop.call_soon_threadsafe(task.cancel)
            raise
