"""`speculative eval`: a method on a benchmark, or a grid of them, kept sample by sample."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from cyclopts import App, Group, Parameter
from cyclopts.config import Dict
from msgspec import structs, to_builtins

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
from speculative.cli._method_flags import add_method_flags, find_method_flag
from speculative.cli._output import open_console, print_uncropped, write_json, write_line
from speculative.cli._progress import Progress, note_partial_run
from speculative.cli._signals import run_interruptible
from speculative.errors import SpeculativeError, UsageError
from speculative.evaluate import grid, tasks
from speculative.evaluate.controls import speculation
from speculative.evaluate.extractor import Extractor
from speculative.evaluate.problems import TaskProblem, spread
from speculative.evaluate.runner import ControlSchedule, EvalCell, EvalRunner, undecided_notes
from speculative.methods.base import name_of
from speculative.methods.registry import build, find
from speculative.methods.spec import Contender, spell
from speculative.pair import Pair
from speculative.redaction import redact
from speculative.report.tables import comparison
from speculative.runs.folder import RunFolder
from speculative.runs.provenance import provenance
from speculative.runs.sample import Sample
from speculative.stats.cost import View
from speculative.stats.prices import Prices
from speculative.stats.summary import summarize

DEFAULT_METHOD = "random_switch"
WHAT = f"a task ({', '.join(tasks.TASKS)}), or a grid: a file that ends in .yaml"
DATA = (
    "problems from this file (JSON lines or list, CSV, Parquet; -: standard input): the public data set's columns, or `problem`, `answer`"
)
OUT = "the folder for samples, traces and logs; the same command again goes on where it stopped [default: runs/NAME]"
EXTRACT = "MODEL@URL of a server that finds the answer where the grader sees none; it never sees the right one"
WITH = "a wrapper around the method, as NAME or NAME(field=value,…); may be repeated, the innermost first"
SKIP = "leave out the problems whose gold answer cannot be read; the run's provenance names them"
TOLERANCE = "relative difference that a rounded decimal may have from the gold answer, 0.001 for one; the default asks for the exact value"
METHOD = Group("Method", sort_key=1)
WORK = Group("Evaluation", sort_key=1)
OUTPUT = Group("Output", sort_key=5)


def prepare(app: App, argv: list[str]) -> list[str]:
    """Gives the command the flags of its method. The settings of a grid file fill the flags that the command line leaves out."""
    path = next((Path(token) for token in argv if token.endswith(grid.ENDINGS) and not token.startswith("-")), None)
    kind = find(find_method_flag(argv, DEFAULT_METHOD))
    these = f"These are the parameters of {kind.name()}; `--method NAME --help` shows those of another method."
    about = f"{inspect.cleandoc(eval.__doc__ or '')}\n\n{these}"
    del app["eval"]
    app.command(add_method_flags(eval, kind), name="eval", help=about, group_arguments=Group("Problems", sort_key=0))
    if path and not {"--help", "-h"} & set(argv):
        app.config = Dict({"eval": grid.read(path, file_settings()).settings()}, source=str(path))
    return argv


def file_settings() -> dict[str, Any]:
    """Returns the settings that a grid file may have: the fields of the command's flags, with their types, but no keys of servers."""
    own = get_type_hints(eval)
    found = {name: own[name] for name in ("epochs", "chains", "extract_with", "skip_unreadable", "tolerance", "out")}
    for flags in (PriceFlags, ControlFlags, ProblemFlags, EngineFlags):
        found |= {name: kind for name, kind in get_type_hints(flags).items() if not name.endswith("_key")}
    del found["seed"]  # a grid has `seeds`
    return found


def eval(  # noqa: A001  the command's name
    what: Annotated[str, Parameter(help=WHAT)],
    /,
    *,
    method: Annotated[str, Parameter(help="a name of `speculative methods`, or FILE.py:CLASS", group=METHOD)] = DEFAULT_METHOD,
    with_: Annotated[tuple[str, ...], Parameter(name="--with", help=WITH, group=METHOD, negative=(), show_default=False)] = (),
    data: Annotated[Path | None, Parameter(help=DATA, group=WORK)] = None,
    limit: Annotated[int | None, Parameter(converter=parse_int, help="so many problems, evenly from all levels", group=WORK)] = None,
    epochs: Annotated[
        int, Parameter(converter=parse_int, help="how often each problem is tried, each time with another seed", group=WORK)
    ] = 1,
    chains: Annotated[int, Parameter(converter=parse_int, help="chains at once at most; more fill the engines better", group=WORK)] = 8,
    extract_with: Annotated[str | None, Parameter(help=EXTRACT, group=WORK)] = None,
    skip_unreadable: Annotated[bool, Parameter(help=SKIP, group=WORK, negative=(), show_default=False)] = False,
    tolerance: Annotated[float, Parameter(help=TOLERANCE, group=WORK)] = 0.0,
    prices: PriceFlags = DEFAULT_PRICES,
    control: ControlFlags = DEFAULT_CONTROLS,
    settings: ProblemFlags = DEFAULT_PROBLEM,
    engines: EngineFlags = DEFAULT_ENGINES,
    show_prompt: Annotated[
        bool, Parameter(help="print the prompt exactly as each model gets it, and end", group=OUTPUT, negative=(), show_default=False)
    ] = False,
    json: Annotated[bool, Parameter(help="print JSON: a list, an object a method", group=OUTPUT, negative=(), show_default=False)] = False,
    out: Annotated[Path | None, Parameter(help=OUT, group=OUTPUT)] = None,
    **params: Any,
) -> int:
    """Run a method on a benchmark, or a grid of methods and benchmarks, and say what it reaches and costs.

    Every chain is kept as it ends, with its trace: after an interruption, or a kill, the same command goes on.
    """
    for name, value in (("limit", limit), ("epochs", epochs), ("chains", chains)):
        if value is not None and value < 1:
            raise UsageError(f"{name}: {value} is out of range, it must be at least 1")
    if not 0 <= tolerance < 1:
        raise UsageError(
            f"tolerance must be at least 0 and less than 1, got {tolerance}; 0.001 takes a value that is right to a thousandth"
        )
    finder, priced = Extractor(extract_with) if extract_with else None, prices.load(engines)
    asked = settings.problem("every problem of the task in turn")
    specs = engines.specs | ({"extract_with": extract_with} if extract_with else {})
    if what.endswith(grid.ENDINGS):
        if data or params or with_ or settings.seed or method != DEFAULT_METHOD:
            raise UsageError(f"{what}: a grid names its own data, methods and seeds; write them into the file")
        chosen = grid.read(Path(what), file_settings()).cells(Path(what).parent)
    else:
        chosen = [(tasks.task(what), data, None, _contender(method, params, with_), settings.seed)]
    load = cache(tasks.load_all)

    @cache
    def ask(task: tasks.Task, file: Path | None, most: int | None) -> list[TaskProblem]:
        return _asked(load(task, file), most, skip_unreadable)

    cells = [
        EvalCell(
            task,
            contender,
            ask(task, file, limit or own),
            structs.replace(asked, seed=seed),
            epochs=epochs,
            engines=specs,
            data=file,
            skipped=load(task, file).unreadable if skip_unreadable else (),
            tolerance=tolerance,
        )
        for task, file, own, contender, seed in chosen
    ]
    if show_prompt:
        return _show_prompts(cells, engines.open())
    with RunFolder(out or Path("runs") / Path(what).stem) as folder:
        for task, file, *_ in chosen:
            folder.admit(task.name, [one.id for one in load(task, file).stated])
        schedule = partial(ControlSchedule, cells, folder.samples, priced, control.equal_cost if control.controls else None)
        before = len(folder.samples)
        done, stopped = _run(schedule, engines, folder, chains, finder)
    if any(cell.done for cell in done.cells) or not stopped:
        _show(done, priced, control.equal_cost, json)
        none = " (all were there, none was run)" if len(folder.samples) == before and not stopped else ""
        sys.stderr.write(f"samples and traces: {folder.path}{none}\n")
    if stopped:
        note_partial_run(sum(len(cell.done) for cell in done.cells), sum(cell.size for cell in done.cells))
        raise stopped
    return 0


def _contender(method: str, params: dict[str, Any], wrappers: tuple[str, ...]) -> Contender:
    """The method, labelled as `compare` and grids spell it."""
    return Contender(spell(name_of(build(method, params)), params, wrappers), build(method, params, wrappers))


def _asked(loaded: tasks.Loaded, limit: int | None, skip_unreadable: bool) -> list[TaskProblem]:
    """Returns the problems of a task that are asked for."""
    if not skip_unreadable:
        loaded.check(limit)
    elif loaded.unreadable:
        warn(
            f"--skip-unreadable: {len(loaded.unreadable)} of {len(loaded.stated)} problems are left out, their gold answers cannot be read"
        )
    stated = loaded.readable() if skip_unreadable else loaded.stated
    if not stated:
        raise UsageError(f"{loaded.source} has no problem whose gold answer can be read; name another file with --data")
    if limit and limit > len(stated):
        warn(f"--limit {limit}: {loaded.source} has {len(stated)} problems, all of them are taken")
    return spread(stated, limit)


def _run(
    schedule: Callable[[], ControlSchedule], engines: EngineFlags, folder: RunFolder, chains: int, finder: Extractor | None
) -> tuple[ControlSchedule, SpeculativeError | None]:
    """Runs what is left. Returns the error that ended it early too, which is raised after the finished part is shown."""
    done = schedule()
    while cells := done.next():
        if any(cell.left for cell in cells):
            break
    else:
        return done, None
    rounds, pair = schedule(), engines.open()

    async def all_rounds() -> None:
        async with pair, finder or nullcontext():
            runner = EvalRunner.on(pair, folder, chains=chains, extract=finder)
            while cells := rounds.next():
                if len(rounds.cells) == len(cells):
                    folder.note(provenance(pair, **_known(cells, pair, engines, finder)))
                done = [cell.name for cell in cells for _ in cell.done]
                progress.expect([cell.name for cell in cells], {cell.name: cell.size for cell in cells}, done)
                await runner.run_cells(cells, lambda cell, _: progress.advance(cell.name))
            if rounds.controlled:
                rounds.notes.append(speculation(pair["big"]))

    with Progress() as progress:
        try:
            run_interruptible(all_rounds())
        except SpeculativeError as error:
            return rounds, error
    return rounds, None


def _known(cells: Sequence[EvalCell], pair: Pair, engines: EngineFlags, finder: Extractor | None) -> dict[str, Any]:
    """What this door knows of where the samples come from. `prompts` are hashes of the first problem's, as each model gets it."""
    flags: dict[str, Any] = {name: value for name, value in vars(engines).items() if value and not name.endswith("key")}
    return {
        "door": "eval",
        "flags": {name: _shown(value) for name, value in flags.items()},
        "settings": {name: value for name, value in cells[0].settings.items() if name != "answer_instruction"},
        "methods": list(dict.fromkeys(cell.contender.label for cell in cells)),
        "seeds": sorted({cell.problem.seed for cell in cells}),
        "tasks": {
            cell.task.name: {
                **tasks.told_of(cell.problems, cell.data, cell.skipped),
                "prompts": {role: tasks.digest(prompt) for role, prompt in cell.prompts(pair).items()},
                "epochs": cell.epochs,
            }
            for cell in cells
        },
        "extract_with": finder.name if finder else None,
    }


def _shown(value: Any) -> Any:
    """A flag's value without secrets."""
    return [redact(one) for one in value] if isinstance(value, tuple) else redact(value) if isinstance(value, str) else value  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]


def _show_prompts(cells: Sequence[EvalCell], pair: Pair) -> int:
    async def shown() -> dict[str, dict[str, str]]:
        async with pair:
            return {cell.name: cell.prompts(pair) for cell in cells}

    for name, prompts in run_interruptible(shown()).items():
        for role, prompt in prompts.items():
            write_line(f"---- {name}, {role} ----\n{prompt}")
    return 0


def _show(schedule: ControlSchedule, prices: Prices | None, view: View, json: bool) -> None:
    cells = schedule.cells
    samples: list[Sample] = [sample for cell in cells for sample in cell.done.values()]
    rows: list[dict[str, Any]] = [to_builtins(one) for one in summarize(samples, [cell.contender.label for cell in cells], prices)]
    if json:
        write_json(rows)
    else:
        console = open_console()
        for task in dict.fromkeys(row["task"] for row in rows):
            console.print(task)
            for part in comparison([row for row in rows if row["task"] == task], view):
                print_uncropped(console, part)
    for line in [*schedule.notes, *undecided_notes(samples)]:
        note(line)
