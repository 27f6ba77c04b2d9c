"""How far a comparison is: bars on a terminal, a line a method elsewhere; always on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from speculative.cli.errors import note


class Progress:
    """Counts finished chains by method or cell."""

    def __init__(self, labels: Sequence[str] = (), each: int | Mapping[str, int] = 0, done: Sequence[str] = ()) -> None:
        """What `expect` takes, if it is known by now."""
        self._began = time.perf_counter()
        self._counts: dict[str, int] = {}
        self._totals: dict[str, int] = {}
        self._tasks: dict[str, TaskID] = {}
        console = Console(stderr=True, highlight=False, markup=False)
        self._bars: Bars | None = None
        if console.is_terminal:
            columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bars = Bars(*columns, console=console, transient=True)
        self.expect(labels, each, done)

    def expect(self, labels: Sequence[str], each: int | Mapping[str, int], done: Sequence[str]) -> None:
        """These are next. `each`: chains of one; `done`: one label for each chain that an earlier run finished."""
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


def first_only(done: int, asked: int) -> None:
    """Tells that the figures of a run that was stopped are of a part of its problems only."""
    if 0 < done < asked:
        note(f"stopped with {done} of {asked} chains: the figures are of the first problems of each method, which may be the easier ones")
