"""Shows progress on standard error, as bars or occasional lines."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from shutil import get_terminal_size
from typing import TYPE_CHECKING

from speculative.cli._errors import warn

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

PAUSE = 15.0
"""Seconds between two lines about the same work, if standard error is not a terminal."""

ENGINES = logging.getLogger("speculative.engines")


class Progress:
    """Counts finished chains by method or cell."""

    def __init__(self, labels: Sequence[str] = (), each: int | Mapping[str, int] = 0, done: Sequence[str] = ()) -> None:
        """Takes the arguments of `expect`, if they are known."""
        self._began = time.perf_counter()
        self._counts: dict[str, int] = {}
        self._totals: dict[str, int] = {}
        self._tasks: dict[str, TaskID] = {}
        self._bars = _bars()
        self.expect(labels, each, done)

    def expect(self, labels: Sequence[str], each: int | Mapping[str, int], done: Sequence[str]) -> None:
        """Adds work to the count.

        Args:
            labels: the methods or cells.
            each: the number of chains of a label.
            done: the label of each chain that an earlier run finished.
        """
        for label in labels:
            self._totals[label] = each if isinstance(each, int) else each[label]
            self._counts[label] = done.count(label)
            if self._bars:
                self._tasks[label] = self._bars.add_task(label, total=self._totals[label], completed=self._counts[label])

    def __enter__(self) -> Progress:
        if self._bars:
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars:
            self._bars.stop()

    def advance(self, label: str) -> None:
        self._counts[label] += 1
        if self._bars:
            self._bars.advance(self._tasks[label])
        elif (total := self._totals[label]) == self._counts[label]:
            sys.stderr.write(f"{label}: {total} chain{'' if total == 1 else 's'} done after {time.perf_counter() - self._began:.1f} s\n")


@contextmanager
def count_progress(things: str, total: int) -> Generator[Callable[[], None]]:
    """Shows a count up to `total`. Each call of the yielded function adds one."""
    if bars := _bars():
        with bars:
            task = bars.add_task(things, total=total)
            yield lambda: bars.advance(task)
        return
    done, last = 0, time.monotonic()

    def advance() -> None:
        nonlocal done, last
        done += 1
        if time.monotonic() - last > PAUSE:
            last = time.monotonic()
            sys.stderr.write(f"{done} of {total} {things}\n")

    yield advance


class LoadingLine(logging.Handler):
    """Shows the progress of loading servers on standard error.

    It also shows warnings of the engines.
    """

    def __init__(self) -> None:
        super().__init__()
        self._shown = False
        self._last = time.monotonic()

    def __enter__(self) -> LoadingLine:
        ENGINES.addHandler(self)
        return self

    def emit(self, record: logging.LogRecord) -> None:
        self._clear()
        warn(record.getMessage())

    def __call__(self, line: str) -> None:
        if sys.stderr.isatty():
            self._shown = True
            sys.stderr.write(f"\r\033[K{line[: get_terminal_size().columns - 1]}")  # a wrapped line cannot be cleared
            sys.stderr.flush()
        elif time.monotonic() - self._last >= PAUSE:
            self._last = time.monotonic()
            sys.stderr.write(f"speculative: {line[:200]}\n")
            sys.stderr.flush()

    def __exit__(self, *_: object) -> None:
        ENGINES.removeHandler(self)
        self._clear()

    def _clear(self) -> None:
        if self._shown:
            self._shown = False
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()


def _bars() -> Bars | None:
    """Returns progress bars on a terminal, and None elsewhere."""
    if not sys.stderr.isatty():
        return None
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    console = Console(stderr=True, highlight=False, markup=False)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Bars(*columns, console=console, transient=True)
