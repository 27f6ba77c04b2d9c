"""Handles Ctrl-C and SIGTERM from the start of the process.

The first signal cancels the work; the second ends the process at once. This module imports no heavy packages, so that signals are
handled during the imports of a command.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn, TypeVar

from speculative.errors import MethodError, SpeculativeError

T = TypeVar("T")

SIGNALS = (signal.SIGINT, signal.SIGTERM)
SHOW_CURSOR = b"\x1b[?25h"
CLEAR = b"\r\x1b[K"
"""Clears the line with the progress of a server."""


class InterruptedWorkError(SpeculativeError):
    """A signal ended the work. The finished part has been shown."""

    def __init__(self, number: int) -> None:
        super().__init__("interrupted" if number == signal.SIGINT else "terminated")
        self.exit_code = 128 + number


class Signals:
    """Holds the caught signals.

    `first` is called with the first signal; without it the first signal ends the process.
    """

    def __init__(self) -> None:
        self.caught: list[int] = []
        self.late: int | None = None
        """A signal that arrived after the work: the output is complete, and the exit code reports the signal."""
        self.first: Callable[[int], None] | None = None
        self._ending = False

    def install(self) -> None:
        for number in SIGNALS:
            signal.signal(number, self._arrived)
        atexit.register(_ignore_signals)

    def note(self, number: int) -> None:
        self.late = number

    def tell(self) -> None:
        """Raises `InterruptedWorkError` for a late signal."""
        if self.late:
            raise InterruptedWorkError(self.late)

    def _arrived(self, number: int, _: object) -> None:
        self.caught.append(number)
        if self.first is None or len(self.caught) > 1:
            self._end(number)
        self.first(number)

    def _end(self, number: int) -> NoReturn:
        """Ends the process at once, even if the interpreter hangs."""
        for server in _servers():  # without a parent they end at once
            with suppress(Exception):
                server.request_end()
        if not self._ending:  # a flush may block, so another signal skips it
            self._ending = True
            with suppress(Exception):
                if sys.stdout.isatty():
                    os.write(1, SHOW_CURSOR)
            for stream in (sys.stdout, sys.stderr):
                with suppress(Exception):
                    stream.flush()
        with suppress(OSError):
            os.write(2, f"speculative: {InterruptedWorkError(number)}\n".encode())
        os._exit(128 + number)


SIGNALLED = Signals()


def run_interruptible(work: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine, which a signal cancels.

    Raises:
        InterruptedWorkError: A signal cancelled it; the caller can show the finished part.
    """
    import asyncio

    async def watched() -> T:
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        assert task

        def cancel() -> None:
            sys.stderr.write(_ending_message())
            sys.stderr.flush()
            task.cancel()

        def stop(number: int) -> None:
            if loop.is_closed():
                SIGNALLED.note(number)
            else:
                loop.call_soon_threadsafe(cancel)  # wakes a waiting loop

        SIGNALLED.first = stop
        return await work

    try:
        done = asyncio.run(watched())
    except asyncio.CancelledError:
        if not SIGNALLED.caught:
            raise
        raise InterruptedWorkError(SIGNALLED.caught[0]) from None
    except SystemExit as raised:  # in a task that a method began: it ends the loop, past the method
        from speculative.chain.authors import line_of

        file, line = line_of(raised) or ("?", 0)
        raise MethodError(f"a task of the method raised SystemExit ({file}, line {line})") from raised
    finally:
        SIGNALLED.first = SIGNALLED.note
    if SIGNALLED.caught:
        SIGNALLED.note(SIGNALLED.caught[0])
    return done


@contextmanager
def raise_on_signal() -> Generator[None]:
    """Makes the first signal raise `KeyboardInterrupt` in the block."""
    before, SIGNALLED.first = SIGNALLED.first, _throw
    try:
        yield
    finally:
        SIGNALLED.first = before


def _ignore_signals() -> None:
    """Ignores signals during the exit, so that they cannot change the exit code."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _throw(_: int) -> None:
    with suppress(OSError):  # `sys.stderr` may be interrupted in the middle of a line
        os.write(2, (CLEAR if os.isatty(2) else b"") + _ending_message().encode())
    raise KeyboardInterrupt


def _servers() -> list[Any]:
    """Returns the servers that this process must end.

    Without any, their module is not imported.
    """
    running = sys.modules.get("speculative.engines.vllm.process")
    return running.ending() if running else []


def _ending_message() -> str:
    """Returns the message after a first signal, if servers have to end."""
    return "speculative: ending the servers of this command (a second Ctrl-C ends them at once)\n" if _servers() else ""
