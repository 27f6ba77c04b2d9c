"""How far a long piece of reading or writing is: a bar on a terminal, a line now and then elsewhere; always on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

EVERY = 10.0
"""Seconds between two lines where there is no terminal."""


@contextmanager
def counting(what: str, total: int) -> Generator[Callable[[], None]]:
    """Counts to `total`, by one with each call of what it yields."""
    console = Console(stderr=True, highlight=False, markup=False)
    if console.is_terminal:
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, transient=True) as bars:
            task = bars.add_task(what, total=total)
            yield lambda: bars.advance(task)
        return
    done, told = 0, time.perf_counter()

    def advance() -> None:
        nonlocal done, told
        done += 1
        if time.perf_counter() - told > EVERY:
            told = time.perf_counter()
            sys.stderr.write(f"{done} of {total} {what}\n")

    yield advance
