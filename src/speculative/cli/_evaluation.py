"""Runs and shows evaluations for `compare` and `eval`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Annotated, Any

from cyclopts import Group, Parameter
from msgspec import to_builtins

from speculative.cli._errors import note
from speculative.cli._flags import EngineFlags
from speculative.cli._hardware import Key, with_prices
from speculative.cli._output import open_console, print_uncropped, write_json
from speculative.cli._progress import Progress
from speculative.cli._signals import run_interruptible
from speculative.errors import SpeculativeError
from speculative.evaluate.controls import speculation
from speculative.evaluate.extractor import Extractor
from speculative.evaluate.runner import ControlSchedule, EvalCell, EvalRunner, SampleStore, undecided_notes
from speculative.pair import Pair
from speculative.plan.forecast import Forecast
from speculative.report.hardware import HardwareCard
from speculative.report.tables import comparison
from speculative.runs.folder import RunFolder
from speculative.runs.provenance import provenance
from speculative.stats.cost import View
from speculative.stats.prices import Prices
from speculative.stats.summary import summarize

OUTPUT = Group("Output", sort_key=5)
JsonFlag = Annotated[
    bool, Parameter(help="print a JSON list with an object for each method", group=OUTPUT, negative=(), show_default=False)
]

Origin = Callable[[Sequence[EvalCell], Pair], dict[str, Any]]
"""Returns the entries that a command adds to the provenance of its run."""


def run_schedule(
    plan: Callable[[], ControlSchedule],
    engines: EngineFlags,
    store: SampleStore,
    origin: Origin,
    *,
    chains: int,
    label: Callable[[EvalCell], str],
    extractor: Extractor | None = None,
) -> tuple[ControlSchedule, SpeculativeError | None]:
    """Runs the chains that the store lacks, round after round.

    Without any, no engine is opened.

    Returns the schedule, and the error that ended it early: the caller shows the finished part and raises the error then.
    """
    done = plan()
    while cells := done.next():
        if any(cell.left for cell in cells):
            break
    else:
        return done, None
    schedule, pair = plan(), engines.open()

    async def run_rounds() -> None:
        async with pair, extractor or nullcontext():
            runner = EvalRunner.on(pair, store, chains=chains, extract=extractor)
            while cells := schedule.next():
                if isinstance(store, RunFolder) and len(schedule.cells) == len(cells):
                    store.note(provenance(pair, **origin(cells, pair)))
                finished = [label(cell) for cell in cells for _ in cell.done]
                progress.expect([label(cell) for cell in cells], {label(cell): cell.size for cell in cells}, finished)
                await runner.run_cells(cells, lambda cell, _: progress.advance(label(cell)))
            if schedule.controlled:
                schedule.notes.append(speculation(pair["big"]))

    with Progress() as progress:
        try:
            run_interruptible(run_rounds())
        except SpeculativeError as error:
            return schedule, error
    return schedule, None


def show(
    schedule: ControlSchedule,
    prices: Prices | None,
    view: View,
    *,
    json: bool,
    headings: bool,
    priced: Mapping[Key, Sequence[Forecast]] | None = None,
    card: HardwareCard | None = None,
) -> None:
    """Shows the finished part of a schedule as tables or JSON, and its notes.

    `headings` name the tasks. `priced`: forecasts of the chains on the hardware of `card`, for the JSON.
    """
    samples = [sample for cell in schedule.cells for sample in cell.done.values()]
    rows: list[dict[str, Any]] = [to_builtins(row) for row in summarize(samples, [cell.spec.label for cell in schedule.cells], prices)]
    if json:
        write_json(with_prices(rows, priced or {}, card))
    else:
        console = open_console()
        for task in dict.fromkeys(row["task"] for row in rows):
            if headings:
                console.print(task)
            for part in comparison([row for row in rows if row["task"] == task], view):
                print_uncropped(console, part)
    for line in [*schedule.notes, *undecided_notes(samples)]:
        note(line)


def check_finished(schedule: ControlSchedule, stopped: SpeculativeError | None) -> None:
    """Raises the error that ended a schedule early, and notes the finished part."""
    if stopped:
        done, total = sum(len(cell.done) for cell in schedule.cells), sum(cell.size for cell in schedule.cells)
        if 0 < done < total:
            note(f"stopped after {done} of {total} chains: the figures cover the first problems of each method, which may be easier")
        raise stopped
