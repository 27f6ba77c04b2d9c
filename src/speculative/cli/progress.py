"""How far a comparison is: bars on a terminal, a line a method elsewhere; always on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from speculative.sample import Sample


class Progress:
    """Counts finished chains by method."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._counts: dict[str, int] = {}
        self._totals: dict[str, int] = {}
        self._tasks: dict[str, TaskID] = {}
        console = Console(stderr=True, highlight=False, markup=False)
        self._bars: Bars | None = None
        if console.is_terminal:
            columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bars = Bars(*columns, console=console, transient=True)

    def expect(self, labels: Sequence[str], each: int, done: Sequence[Sample]) -> None:
        """These methods are next. `each`: chains of a method; `done`: those that an earlier run finished."""
        for label in labels:
            self._totals[label], self._counts[label] = each, sum(sample.label == label for sample in done)
            if self._bars:
                self._tasks[label] = self._bars.add_task(label, total=each, completed=self._counts[label])

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
        elif (each := self._totals[label]) == self._counts[label]:
            sys.stderr.write(f"{label}: {each} chain{'' if each == 1 else 's'} done after {time.perf_counter() - self._began:.1f} s\n")
