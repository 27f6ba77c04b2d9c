"""Handles Ctrl-C and SIGTERM, from the entry point on.

The first signal ends the work in good order. The second ends the process at once, whatever the main thread is busy with.
This module imports nothing heavy: the first second of a command is spent on imports.
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
"""Takes the line away that tells how far a server is."""


class InterruptedWorkError(SpeculativeError):
    """A signal ended the work. The finished part has been shown."""

    def __init__(self, number: int) -> None:
        super().__init__("interrupted" if number == signal.SIGINT else "terminated")
        self.exit_code = 128 + number


class Signals:
    """Holds the signals that have arrived.

    `first` is called with the first one. Without it the first one ends the process too.
    """

    def __init__(self) -> None:
        self.caught: list[int] = []
        self.late: int | None = None
        """A signal that came when the work was done already: all of it is shown, and then the process says that it was signalled."""
        self.first: Callable[[int], None] | None = None
        self._ending = False

    def install(self) -> None:
        for number in SIGNALS:
            signal.signal(number, self._arrived)
        atexit.register(_deafen)

    def note(self, number: int) -> None:
        self.late = number

    def tell(self) -> None:
        """Raises `InterruptedWorkError` for the signal that came late."""
        if self.late:
            raise InterruptedWorkError(self.late)

    def _arrived(self, number: int, _: object) -> None:
        self.caught.append(number)
        if self.first is None or len(self.caught) > 1:
            self._end(number)
        self.first(number)

    def _end(self, number: int) -> NoReturn:
        """Ends the process without the interpreter's own steps.

        The interpreter may hang in an import, or in a method that never waits.
        """
        for server in _servers():  # asked to end, and then left alone, they end at once
            with suppress(Exception):
                server.ask_to_end()
        if not self._ending:  # a flush may wait for a reader: another signal does not
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
    """Runs the coroutine; a signal cancels it.

    Raises `InterruptedWorkError` after a signal: the caller can still show the work so far.
    """
    import asyncio

    async def watched() -> T:
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        assert task

        def called_off() -> None:
            sys.stderr.write(_told())
            sys.stderr.flush()
            task.cancel()

        def stop(number: int) -> None:
            if loop.is_closed():
                SIGNALLED.note(number)
            else:
                loop.call_soon_threadsafe(called_off)  # which wakes a loop that waits

        SIGNALLED.first = stop
        return await work

    try:
        done = asyncio.run(watched())
    except asyncio.CancelledError:
        if not SIGNALLED.caught:
            raise
        raise InterruptedWorkError(SIGNALLED.caught[0]) from None
    except SystemExit as raised:  # in a task that a method began: it ends the loop, past the method
        from speculative._authors import line_of

        file, line = line_of(raised) or ("?", 0)
        raise MethodError(f"a task of the method raised SystemExit ({file}, line {line})") from raised
    finally:
        SIGNALLED.first = SIGNALLED.note
    if SIGNALLED.caught:
        SIGNALLED.note(SIGNALLED.caught[0])
    return done


@contextmanager
def raise_on_signal() -> Generator[None]:
    """Makes the first signal raise `KeyboardInterrupt` inside the block.

    It stands around code that has servers to stop on the way out.
    """
    before, SIGNALLED.first = SIGNALLED.first, _throw
    try:
        yield
    finally:
        SIGNALLED.first = before


def _deafen() -> None:
    """Ignores signals from here on.

    The interpreter is ending: a signal would change the exit code of a command that has done its work.
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _throw(_: int) -> None:
    with suppress(OSError):  # (not by `sys.stderr`: it may have been interrupted in the middle of a line)
        os.write(2, (CLEAR if os.isatty(2) else b"") + _told().encode())
    raise KeyboardInterrupt


def _servers() -> list[Any]:
    """Returns the servers that this process has started and must end.

    Without any, their module is not imported for this.
    """
    running = sys.modules.get("speculative.engines.vllm.process")
    return running.ending() if running else []


def _told() -> str:
    """Returns the answer to a first signal, where the end takes a while."""
    return "speculative: ending the servers that were started here (a second Ctrl-C ends them at once)\n" if _servers() else ""
