"""How far a comparison is: bars on a terminal, a line a method elsewhere; always on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars


class Progress:
    """Counts finished chains by method. `each`: chains of a method; `done`: those that an earlier run finished."""

    def __init__(self, labels: Sequence[str], each: int, done: Sequence[str]) -> None:
        self._each, self._began = each, time.perf_counter()
        self._counts = {label: done.count(label) for label in labels}
        console = Console(stderr=True, highlight=False, markup=False)
        self._bars: Bars | None = None
        if console.is_terminal:
            columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bars = Bars(*columns, console=console, transient=True)
            self._tasks = {label: self._bars.add_task(label, total=each, completed=count) for label, count in self._counts.items()}

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
        elif self._counts[label] == self._each:
            sys.stderr.write(
                f"{label}: {self._each} chain{'' if self._each == 1 else 's'} done after {time.perf_counter() - self._began:.1f} s\n"
            )
