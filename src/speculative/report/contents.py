"""The report of run folders: one page with every method, problem and chain."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from msgspec import Struct

from speculative.errors import SpeculativeError
from speculative.report.frontier import AXES, Frontier, frontier
from speculative.report.gather import Gathered
from speculative.report.html import block, head, tail
from speculative.report.pack import PackedChain, pack
from speculative.runs.folder import Run
from speculative.runs.sample import Sample
from speculative.stats.prices import Prices
from speculative.stats.summary import Standing, standings
from speculative.trace.usage import Usage
from speculative.version import VERSION

MODULE = "report.js"
INDEX = "index"
"""The block that is unpacked first; chains are `c0`, `c1`, …"""


class Row(Struct, frozen=True):
    """A sample as the page lists it. `block` holds its chain; without one `missing` says why, and `answer` is all that there is."""

    task: str
    label: str
    problem: str
    epoch: int
    correct: bool
    found: str | None
    why: str
    finish_reason: str
    seconds: float
    usage: dict[str, Usage]
    block: str | None
    missing: str = ""
    answer: str = ""
    degraded: str | None = None


class Stated(Struct, frozen=True):
    """A problem; `text` is empty where no trace tells it."""

    task: str
    id: str
    level: str
    gold: str
    text: str


class Contents(Struct, frozen=True):
    """All of a report but its chains."""

    library: str
    standings: list[Standing]
    frontiers: list[Frontier]
    problems: list[Stated]
    rows: list[Row]
    runs: list[dict[str, Any]]


class Report:
    """Reads traces one by one while its page is written. `missing` are what could not be read of them."""

    def __init__(self, gathered: Gathered, prices: Prices | None = None) -> None:
        self.standings = standings([sample for sample, _ in gathered.samples], prices=prices, folders=gathered.folders)
        self.frontiers = frontiers(self.standings)
        self.missing: list[str] = []
        standing = {(row.task, row.label) for row in self.standings}  # of the tries for a control, the best alone
        self.samples = [(sample, run) for sample, run in gathered.samples if (sample.task, sample.label) in standing]
        self._runs = gathered.runs
        self._rows: list[Row] = []
        self._problems: dict[tuple[str, str], Stated] = {}

    def parts(self, advance: Callable[[], None] = lambda: None) -> Iterator[bytes]:
        """The page, part by part. `advance` is called after each sample."""
        yield head(MODULE)
        for place, (sample, run) in enumerate(self.samples):
            yield self._chain(f"c{place}", sample, run)
            advance()
        yield block(INDEX, pack(self._contents()))
        yield tail(MODULE)

    def _chain(self, name: str, sample: Sample, run: Run) -> bytes:
        """The block of a sample's chain; a trace that is damaged costs its own chain only."""
        missing = "its trace was not kept"
        try:
            trace = run.trace(sample)
            text = trace.started.problem.messages[-1].content if trace else ""
        except SpeculativeError as error:
            trace, text, missing = None, "", str(error)
            self.missing.append(missing)
        self._state(sample, text)
        self._rows.append(_row(sample, name if trace else None, "" if trace else missing))
        return block(name, pack(PackedChain.of(trace))) if trace else b""

    def _state(self, sample: Sample, text: str) -> None:
        """The shortest text that was put to a method is the problem's: some put filler before it."""
        key = (sample.task, sample.problem)
        before = self._problems.get(key)
        if before is None or (text and (not before.text or len(text) < len(before.text))):
            self._problems[key] = Stated(sample.task, sample.problem, sample.level, sample.gold, text)

    def _contents(self) -> Contents:
        return Contents(
            library=VERSION,
            standings=self.standings,
            frontiers=self.frontiers,
            problems=list(self._problems.values()),
            rows=self._rows,
            runs=[{"folder": run.path.name, "samples": len(run.samples), "provenance": run.provenance} for run in self._runs],
        )


def frontiers(rows: Sequence[Standing]) -> list[Frontier]:
    """One for each task and axis on which its methods have values."""
    tasks = list(dict.fromkeys(row.task for row in rows))
    found = [frontier([row for row in rows if row.task == task], key) for task in tasks for key in AXES]
    return [one for one in found if one.points]


def _row(sample: Sample, name: str | None, missing: str) -> Row:
    return Row(
        task=sample.task,
        label=sample.label,
        problem=sample.problem,
        epoch=sample.epoch,
        correct=sample.correct,
        found=sample.found,
        why=sample.why,
        finish_reason=sample.finish_reason,
        seconds=sample.seconds,
        usage=sample.usage,
        block=name,
        missing=missing,
        answer="" if name else sample.answer,
        degraded=sample.degraded,
    )
