"""`speculative eval`: a method on a benchmark, or a grid of them, kept sample by sample."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Group, Parameter
from msgspec import structs, to_builtins

from speculative.cli.engine_flags import DEFAULT_ENGINES, DEFAULT_PROBLEM, EngineFlags, ProblemFlags, whole
from speculative.cli.errors import warn
from speculative.cli.interrupt import interruptible
from speculative.cli.method_flags import method_in, with_flags
from speculative.cli.progress import Progress
from speculative.cli.screen import put, put_json, screen
from speculative.errors import SpeculativeError, UsageError
from speculative.evaluate import grid, tasks
from speculative.evaluate.cells import Cell, Desk, prompts_of
from speculative.evaluate.contenders import Contender, spell
from speculative.evaluate.extract import Extractor
from speculative.evaluate.problems import StatedProblem, spread
from speculative.methods.base import name_of
from speculative.methods.registry import build, find
from speculative.pair import Pair
from speculative.problem import Problem
from speculative.provenance import provenance
from speculative.report.tables import comparison
from speculative.runs import RunFolder
from speculative.sample import Sample
from speculative.standing import standings

DEFAULT_METHOD = "random_switch"
WHAT = f"a task ({', '.join(tasks.TASKS)}), or a grid: a file that ends in .yaml"
DATA = "take the problems from this JSON-lines file: the columns of the task's public data set, or `problem` and `answer`"
OUT = "the folder for samples, traces and logs; the same command again goes on where it stopped [default: runs/NAME]"
EXTRACT = "MODEL@URL of a server that finds the answer where the grader sees none; it never sees the right one"
WITH = "a wrapper around the method, as NAME or NAME(field=value,…); may be repeated, the innermost first"
METHOD = Group("Method", sort_key=1)
WORK = Group("Evaluation", sort_key=1)
OUTPUT = Group("Output", sort_key=5)


def prepare(app: App, argv: list[str]) -> list[str]:
    """Gives the command the flags of its method; the keys of a grid file become flags, those on the command line come first."""
    path = _grid_in(argv)
    kind = find(method_in(argv, DEFAULT_METHOD))
    these = f"These are the parameters of {kind.name()}; `--method NAME --help` shows those of another method."
    about = f"{inspect.cleandoc(eval.__doc__ or '')}\n\n{these}"
    del app["eval"]
    app.command(with_flags(eval, kind), name="eval", help=about, group_arguments=Group("Problems", sort_key=0))
    if path is None or {"--help", "-h"} & set(argv):
        return argv
    given = {token.partition("=")[0].replace("--no-", "--") for token in argv}
    flags = grid.read(path).flags()
    return [*argv, *(token for flag, tokens in flags.items() if flag.replace("--no-", "--") not in given for token in tokens or [flag])]


def eval(  # noqa: A001  the command's name
    what: Annotated[str, Parameter(help=WHAT)],
    /,
    *,
    method: Annotated[str, Parameter(help="a name of `speculative methods`, or FILE.py:CLASS", group=METHOD)] = DEFAULT_METHOD,
    with_: Annotated[tuple[str, ...], Parameter(name="--with", help=WITH, group=METHOD, negative=(), show_default=False)] = (),
    data: Annotated[Path | None, Parameter(help=DATA, group=WORK)] = None,
    limit: Annotated[int | None, Parameter(converter=whole, help="so many problems, evenly from all levels", group=WORK)] = None,
    epochs: Annotated[int, Parameter(converter=whole, help="how often each problem is tried, each time with another seed", group=WORK)] = 1,
    chains: Annotated[int, Parameter(converter=whole, help="chains at once at most; more fill the engines better", group=WORK)] = 8,
    extract_with: Annotated[str | None, Parameter(help=EXTRACT, group=WORK)] = None,
    show_prompt: Annotated[
        bool, Parameter(help="print the prompt exactly as each model gets it, and end", group=OUTPUT, negative=(), show_default=False)
    ] = False,
    settings: ProblemFlags = DEFAULT_PROBLEM,
    engines: EngineFlags = DEFAULT_ENGINES,
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
    if find_spec("inspect_ai") is None:
        raise UsageError("eval needs the extra eval: pip install 'speculative-reasoning[eval]' (`speculative compare` needs none)")
    finder = Extractor(extract_with) if extract_with else None
    asked = settings.problem("every problem of the task in turn")
    specs = {"big": " ".join(engines.big), "small": " ".join(engines.small)} | ({"extract_with": extract_with} if extract_with else {})
    if what.endswith(grid.ENDINGS):
        if data or params or with_ or settings.seed or method != DEFAULT_METHOD:
            raise UsageError(f"{what}: a grid names its own data, methods and seeds; write them into the file")
        cells = _grid_cells(Path(what), asked, limit, epochs, specs)
    else:
        contender = _contender(method, params, with_)
        cells = [_cell(tasks.task(what), data, limit, contender, asked, epochs, specs)]
    if show_prompt:
        return _show_prompts(cells, engines.open())
    with RunFolder(out or Path("runs") / Path(what).stem) as folder:
        for cell in cells:
            cell.resume(folder.samples)
        stopped = _run(cells, engines, folder, chains, finder)
    if any(cell.done for cell in cells) or not stopped:
        _show(cells, json)
        sys.stderr.write(f"samples, traces and logs: {folder.path}\n")
    if stopped:
        raise stopped
    return 0


def _grid_in(argv: Sequence[str]) -> Path | None:
    """The grid file on a command line; where it is none, the command itself says so."""
    return next((Path(token) for token in argv if token.endswith(grid.ENDINGS) and not token.startswith("-")), None)


def _contender(method: str, params: dict[str, Any], wrappers: tuple[str, ...]) -> Contender:
    """The method, labelled as `compare` and grids spell it."""
    return Contender(spell(name_of(build(method, params)), params, wrappers), build(method, params, wrappers))


def _grid_cells(path: Path, asked: Problem, limit: int | None, epochs: int, specs: dict[str, str]) -> list[Cell]:
    """Task after task, in each method after method."""
    read = grid.read(path)
    return [
        _cell(task, data, limit or own, contender, structs.replace(asked, seed=seed), epochs, specs)
        for task, data, own in read.chosen(path.parent)
        for contender in read.contenders()
        for seed in read.seeds
    ]


def _cell(
    task: tasks.Task, data: Path | None, limit: int | None, contender: Contender, asked: Problem, epochs: int, specs: dict[str, str]
) -> Cell:
    stated: list[StatedProblem] = tasks.load(task, data)
    if limit and limit > len(stated):
        warn(f"--limit {limit}: {data or task.name} has {len(stated)} problems, all of them are taken")
    return Cell(task, contender, spread(stated, limit), asked, epochs=epochs, engines=specs)


def _run(cells: list[Cell], engines: EngineFlags, folder: RunFolder, chains: int, finder: Extractor | None) -> SpeculativeError | None:
    """Runs what is left. What ended it before its time comes back, to be told after what is done is shown."""
    from speculative.evaluate.inspect_run import run

    def told(cell: Cell, sample: Sample) -> None:
        progress.advance(cell.name)

    async def all_of_it() -> None:
        async with pair:
            for cell in cells:
                pair.check(cell.contender.method)
            async with finder or nullcontext():
                folder.note(provenance(pair, **_known(cells, engines, finder)))
                await run(cells, Desk(pair, folder, told, chains=chains, finder=finder))

    if all(len(cell.done) == cell.size for cell in cells):
        return None
    pair = engines.open()
    done = [cell.name for cell in cells for _ in cell.done]
    with Progress([cell.name for cell in cells], {cell.name: cell.size for cell in cells}, done) as progress:
        try:
            interruptible(all_of_it())
        except SpeculativeError as error:
            return error
    return None


def _known(cells: list[Cell], engines: EngineFlags, finder: Extractor | None) -> dict[str, Any]:
    """What this door knows of where the samples come from."""
    flags = {name: value for name, value in vars(engines).items() if value and not name.endswith("key")}
    used = {cell.task.name: cell for cell in cells}
    return {
        "door": "eval",
        "flags": {name: list(value) if isinstance(value, tuple) else value for name, value in flags.items()},
        "settings": {name: value for name, value in cells[0].settings.items() if name != "answer_instruction"},
        "methods": list(dict.fromkeys(cell.contender.label for cell in cells)),
        "seeds": sorted({cell.problem.seed for cell in cells}),
        "tasks": {
            name: {
                "dataset": cell.task.dataset or "bundled",
                "problems": len(cell.stated),
                "epochs": cell.epochs,
                "data_hash": tasks.data_hash(cell.stated),
                "instruction": cell.problem.answer_instruction,
                "prompt_hash": tasks.prompt_hash(cell.task),
            }
            for name, cell in used.items()
        },
        "extract_with": finder.name if finder else None,
    }


def _show_prompts(cells: list[Cell], pair: Pair) -> int:
    async def shown() -> dict[str, dict[str, str]]:
        async with pair:
            return {cell.name: prompts_of(cell, pair) for cell in cells}

    for name, prompts in interruptible(shown()).items():
        for role, prompt in prompts.items():
            put(f"---- {name}, {role} ----\n{prompt}")
    return 0


def _show(cells: list[Cell], json: bool) -> None:
    labels = [cell.contender.label for cell in cells]
    samples = [sample for cell in cells for sample in cell.done.values()]
    rows: list[dict[str, Any]] = [to_builtins(standing) for standing in standings(samples, labels)]
    if json:
        put_json(rows)
        return
    console = screen()
    for task in dict.fromkeys(row["task"] for row in rows):
        console.print(task)
        for part in comparison([row for row in rows if row["task"] == task]):
            console.print(part)
