"""Runs asynchronous work for synchronous callers, and cleanup to its end."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from typing import Any, Generic, TypeVar

T = TypeVar("T")

THREAD = "speculative-loop"

CANCEL_TIMEOUT_S = 5.0
"""Seconds that cancelled work may take to stop."""

REPORT_EVERY_S = 0.5
"""Seconds between two reports to a caller that waits."""


class PerProcess(Generic[T]):
    """Makes a value once for each process; a forked process makes its own.

    The parent's value stays referenced there: its end would wait for a thread, and a fork copies no threads.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._values: dict[int, T] = {}
        self._locks: dict[int, threading.Lock] = {}

    def __call__(self) -> T:
        process = os.getpid()
        if process not in self._values:
            with self._locks.setdefault(process, threading.Lock()):  # not its parent's, which a thread may hold while it forks
                if process not in self._values:
                    self._values[process] = self._make()
        return self._values[process]

    def clear(self) -> None:
        """Forgets the value: the next call makes another."""
        self._values.clear()


def run_in_background(work: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine on the process's background loop and waits for it.

    Ctrl-C cancels it, and waits until it has stopped.
    """
    if _is_on(_loop()):
        work.close()
        raise RuntimeError("solve cannot be called from the library's own event loop, it would wait for itself; use asolve")
    over = threading.Event()

    async def watched() -> T:
        try:
            return await work
        finally:
            over.set()

    future = asyncio.run_coroutine_threadsafe(watched(), _loop())
    try:
        return future.result()
    except BaseException:
        if future.cancel():
            over.wait(CANCEL_TIMEOUT_S)
        raise


def _started_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=_run_forever, args=[loop], name=THREAD, daemon=True).start()
    return loop


_loop = PerProcess(_started_loop)


def _is_on(loop: asyncio.AbstractEventLoop) -> bool:
    """Returns whether the caller runs on an event loop."""
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


def _run_forever(loop: asyncio.AbstractEventLoop) -> None:
    """Runs the loop, also after a task raised `SystemExit` or `KeyboardInterrupt`.

    Both stop a loop. The caller that awaits the task gets the error.
    """
    while not loop.is_closed():
        with suppress(SystemExit, KeyboardInterrupt):
            loop.run_forever()


def run_in_thread(work: Awaitable[T], on_wait: Callable[[float], None] | None = None) -> T:
    """Runs work in a thread and an event loop of its own and waits for it.

    An interrupted wait cancels the work.

    `on_wait` is called with the seconds so far; an error that it raises interrupts the wait, as Ctrl-C does.
    """
    begun: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any] | None]] = []
    cancelled = threading.Event()

    async def watched() -> T:
        task = asyncio.current_task()
        begun.append((asyncio.get_running_loop(), task))
        if cancelled.is_set() and task:
            task.cancel()
        return await work

    start = time.monotonic()
    with ThreadPoolExecutor(1, thread_name_prefix="speculative-open") as pool:
        future = pool.submit(lambda: asyncio.run(watched()))
        try:
            while not wait([future], REPORT_EVERY_S).done:
                if on_wait:
                    on_wait(time.monotonic() - start)
            return future.result()
        except BaseException:
            cancelled.set()
            for loop, task in begun:
                if task and not loop.is_closed():
                    loop.call_soon_threadsafe(task.cancel)
            raise


async def to_its_end(work: Awaitable[T]) -> T:
    """Awaits work to its end, also if the caller is cancelled meanwhile.

    The cancellation is raised afterwards, so that nothing that the work counts or closes is lost.
    """
    task, interrupted = asyncio.ensure_future(work), None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            interrupted = error
    if interrupted is not None:
        if not task.cancelled():
            task.exception()  # marks it as retrieved
        raise interrupted
    return task.result()


async def end_all(tasks: Iterable[asyncio.Future[Any]]) -> None:
    """Cancels tasks and waits until all of them are over."""
    running = [task for task in tasks if not task.done()]
    for task in running:
        task.cancel()
    if running:
        await to_its_end(asyncio.gather(*running, return_exceptions=True))
