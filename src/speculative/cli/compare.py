"""`speculative compare`: methods on the bundled problems, side by side."""

from __future__ import annotations

from collections.abc import Coroutine
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Group, Parameter
from msgspec import to_builtins

from speculative.cli._errors import note, warn
from speculative.cli._flags import (
    DEFAULT_CONTROLS,
    DEFAULT_ENGINES,
    DEFAULT_PRICES,
    DEFAULT_PROBLEM,
    ControlFlags,
    EngineFlags,
    PriceFlags,
    ProblemFlags,
    parse_int,
)
from speculative.cli._output import open_console, print_uncropped, write_json
from speculative.cli._progress import Progress, note_partial_run
from speculative.cli._signals import run_interruptible
from speculative.errors import SpeculativeError, UsageError
from speculative.evaluate import problems
from speculative.evaluate.controls import speculation
from speculative.evaluate.runner import ControlSchedule, EvalCell, EvalRunner, MemoryStore
from speculative.evaluate.tasks import TASKS, told_of
from speculative.methods.spec import contenders
from speculative.report.tables import comparison
from speculative.runs.folder import RunFolder
from speculative.runs.provenance import provenance
from speculative.stats.cost import View
from speculative.stats.summary import summarize

METHODS = "big_only,small_only,placeholder,random_switch,logprob_subselect,spec_rewrite"
OUT = "a folder for samples and traces, each kept as it finishes; the same command again goes on where it stopped"
WORK = Group("Comparison", sort_key=1)
OUTPUT = Group("Output", sort_key=5)


def compare(
    *,
    methods: Annotated[
        str,
        Parameter(
            help="methods with commas between them; parameters in brackets, wrappers before a star: "
            "`random_switch(big_share=0.2),vote(ballots=3)*small_only`",
            group=WORK,
        ),
    ] = METHODS,
    limit: Annotated[int, Parameter(converter=parse_int, help="so many problems, evenly from all levels; 500 are all", group=WORK)] = 50,
    epochs: Annotated[
        int, Parameter(converter=parse_int, help="how often each problem is tried; 2, 4, 8 to 64 give pass@k and maj@k", group=WORK)
    ] = 1,
    chains: Annotated[
        int, Parameter(converter=parse_int, help="chains at once at most; 1 for the seconds of a chain alone", group=WORK)
    ] = 4,
    set: Annotated[problems.Set, Parameter(help="benchmark, or tuning: those to choose settings on", group=WORK)] = "benchmark",
    prices: PriceFlags = DEFAULT_PRICES,
    control: ControlFlags = DEFAULT_CONTROLS,
    settings: ProblemFlags = DEFAULT_PROBLEM,
    engines: EngineFlags = DEFAULT_ENGINES,
    json: Annotated[bool, Parameter(help="print JSON: a list, an object a method", group=OUTPUT, negative=(), show_default=False)] = False,
    out: Annotated[Path | None, Parameter(help=OUT, group=OUTPUT)] = None,
) -> int:
    """Run methods on the bundled problems, and compare accuracy, tokens and seconds.

    All methods get the same problems with the same seeds, and differences are tested on these.
    An answer is right if its last box holds the right number. docs/statistics.md says what each number is.
    """
    for name, value in (("epochs", epochs), ("chains", chains)):
        if value < 1:
            raise UsageError(f"{name}: {value} is out of range, it must be at least 1")
    rivals = contenders(methods)
    asked = settings.problem("every bundled problem in turn")
    stated = problems.problems(set)
    if limit > len(stated):
        warn(f"--limit {limit}: the set {set} has {len(stated)} problems, all of them are taken")
    spread, prices_of = problems.spread(stated, limit), prices.load(engines)
    described = engines.specs
    cells = [EvalCell(TASKS["stories"], rival, spread, asked, epochs=epochs, engines=described) for rival in rivals]
    with RunFolder(out) if out else nullcontext() as folder:
        if folder:
            folder.admit("stories", [one.id for one in stated])
        store = folder or MemoryStore()
        schedule = ControlSchedule(cells, store.samples, prices_of, control.equal_cost if control.controls else None)
        known: dict[str, Any] = {
            "door": "compare",
            "methods": [rival.label for rival in rivals],
            "settings": cells[0].settings,
            "seeds": [settings.seed],
            "tasks": {"stories": told_of(spread) | {"epochs": epochs}},
        }
        pair = engines.open()
        progress = Progress()

        async def work() -> None:
            async with pair:
                if folder:
                    folder.note(provenance(pair, **known))
                runner = EvalRunner.on(pair, store, chains=chains)
                while round_of := schedule.next():
                    done = [cell.contender.label for cell in round_of for _ in cell.done]
                    progress.expect([cell.contender.label for cell in round_of], len(spread) * epochs, done)
                    await runner.run_cells(round_of, lambda cell, _: progress.advance(cell.contender.label))
                if schedule.controlled:
                    schedule.notes.append(speculation(pair["big"]))

        stopped = _run(work(), progress)
    samples = [sample for cell in schedule.cells for sample in cell.done.values()]
    _show([to_builtins(one) for one in summarize(samples, [rival.label for rival in rivals], prices_of)], json, control.equal_cost)
    for line in [] if stopped else schedule.notes:
        note(line)
    if stopped:
        note_partial_run(sum(len(cell.done) for cell in cells), len(rivals) * len(spread) * epochs)
        raise stopped
    return 0


def _run(work: Coroutine[Any, Any, None], progress: Progress) -> SpeculativeError | None:
    """Runs the work. Returns the error that ended it early, which is raised after the finished part is shown."""
    with progress:
        try:
            run_interruptible(work)
        except SpeculativeError as error:
            return error
    return None


def _show(rows: list[dict[str, Any]], json: bool, view: View) -> None:
    if json:
        write_json(rows)
    elif rows:
        console = open_console()
        for part in comparison(rows, view):
            print_uncropped(console, part)
