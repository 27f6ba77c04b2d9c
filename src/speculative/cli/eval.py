"""`speculative eval`: runs methods on benchmarks."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from cyclopts import App, Group, Parameter
from cyclopts.config import Dict
from msgspec import structs

from speculative.cli._errors import warn
from speculative.cli._evaluation import OUTPUT, JsonFlag, check_finished, run_schedule, show
from speculative.cli._flags import (
    DEFAULT_CONTROLS,
    DEFAULT_ENGINES,
    DEFAULT_PRICES,
    DEFAULT_PROBLEM,
    ControlFlags,
    EngineFlags,
    PriceFlags,
    ProblemFlags,
    parse_count,
)
from speculative.cli._method_flags import add_method_flags, find_method_flag
from speculative.cli._output import join_lines, write_line
from speculative.cli._signals import run_interruptible
from speculative.errors import UsageError
from speculative.evaluate import grid, tasks
from speculative.evaluate.extractor import Extractor
from speculative.evaluate.problems import TaskProblem, spread
from speculative.evaluate.runner import ControlSchedule, EvalCell
from speculative.methods.registry import DEFAULT_METHOD, build, find
from speculative.methods.spec import MethodSpec, label_of
from speculative.pair import Pair
from speculative.redaction import redact
from speculative.runs.folder import RunFolder

TARGET = f"a task ({', '.join(tasks.TASKS)}), or a grid: a YAML file"
DATA = (
    "file of problems (JSON lines or list, CSV, Parquet; -: standard input) with the columns of the public data set, or `problem` and "
    "`answer`"
)
OUT = "folder for samples and traces; the same command continues an interrupted run [default: runs/NAME]"
EXTRACT = "MODEL@URL of a server that looks for the answer if the grader finds none; it does not see the gold answer"
WITH = "a wrapper around the method, as NAME or NAME(field=value,…); may be repeated, the innermost first"
SKIP = "leave out problems whose gold answer cannot be read; the run's provenance names them"
TOLERANCE = "allowed relative difference of a rounded decimal from the gold answer, such as 0.001; 0 requires the exact value"
METHODS = "a name of `speculative methods`, FILE.py:CLASS, or @FILE of a preset"
METHOD = Group("Method", sort_key=1)
WORK = Group("Evaluation", sort_key=1)


def prepare(app: App, argv: list[str]) -> list[str]:
    """Gives the command the flags of its method.

    The settings of a grid file fill the flags that the command line leaves out.
    """
    path = next((Path(token) for token in argv if token.endswith(grid.ENDINGS) and not token.startswith("-")), None)
    kind = find(find_method_flag(argv, DEFAULT_METHOD))
    these = f"These are the parameters of {kind.name()}; `--method NAME --help` shows those of another method."
    about = f"{join_lines(eval)}\n\n{these}"
    del app["eval"]
    app.command(add_method_flags(eval, kind), name="eval", help=about, group_arguments=Group("Problems", sort_key=0))
    if path and not {"--help", "-h"} & set(argv):
        app.config = Dict({"eval": grid.read(path, file_settings()).settings()}, source=str(path))
    return argv


def file_settings() -> dict[str, Any]:
    """Returns the names and types of the settings that a grid file may have."""
    own = get_type_hints(eval)
    found = {name: own[name] for name in ("epochs", "chains", "extract_with", "skip_unreadable", "tolerance", "out")}
    for flags in (PriceFlags, ControlFlags, ProblemFlags, EngineFlags):
        found |= {name: kind for name, kind in get_type_hints(flags).items() if not name.endswith("_key")}
    del found["seed"]  # a grid has `seeds`
    return found


def eval(  # noqa: A001  the command's name
    target: Annotated[str, Parameter(help=TARGET)],
    /,
    *,
    method: Annotated[str, Parameter(help=METHODS, group=METHOD)] = DEFAULT_METHOD,
    with_: Annotated[tuple[str, ...], Parameter(name="--with", help=WITH, group=METHOD, negative=(), show_default=False)] = (),
    data: Annotated[Path | None, Parameter(help=DATA, group=WORK)] = None,
    limit: Annotated[int | None, Parameter(converter=parse_count, help="number of problems, spread over the levels", group=WORK)] = None,
    epochs: Annotated[
        int, Parameter(converter=parse_count, help="number of tries of each problem, each with another seed", group=WORK)
    ] = 1,
    chains: Annotated[int, Parameter(converter=parse_count, help="limit of concurrent chains; more keep engines busier", group=WORK)] = 8,
    extract_with: Annotated[str | None, Parameter(help=EXTRACT, group=WORK)] = None,
    skip_unreadable: Annotated[bool, Parameter(help=SKIP, group=WORK, negative=(), show_default=False)] = False,
    tolerance: Annotated[float, Parameter(help=TOLERANCE, group=WORK)] = 0.0,
    prices: PriceFlags = DEFAULT_PRICES,
    control: ControlFlags = DEFAULT_CONTROLS,
    settings: ProblemFlags = DEFAULT_PROBLEM,
    engines: EngineFlags = DEFAULT_ENGINES,
    show_prompt: Annotated[
        bool, Parameter(help="print the exact prompt of each model, and exit", group=OUTPUT, negative=(), show_default=False)
    ] = False,
    json: JsonFlag = False,
    out: Annotated[Path | None, Parameter(help=OUT, group=OUTPUT)] = None,
    **params: Any,
) -> int:
    """Run methods on benchmarks, and show accuracy and costs.

    Every chain is kept with its trace as it ends. After an interruption the same command continues.
    """
    if not 0 <= tolerance < 1:
        raise UsageError(f"tolerance must be at least 0 and less than 1, got {tolerance}; 0.001 allows a difference of a thousandth")
    if not target.endswith(grid.ENDINGS):
        engines = engines.for_methods([build(method, params, with_)])
    extractor, price_list = Extractor(extract_with) if extract_with else None, prices.load(engines)
    problem = settings.problem("each problem of the task")
    specs = engines.specs | ({"extract_with": extract_with} if extract_with else {})
    if target.endswith(grid.ENDINGS):
        if data or params or with_ or settings.seed or method != DEFAULT_METHOD:
            raise UsageError(f"{target} cannot be combined with data, methods or seeds on the command line; write them into the grid")
        chosen = grid.read(Path(target), file_settings()).cells(Path(target).parent)
    else:
        chosen = [(tasks.task(target), data, None, _spec_of(method, params, with_), settings.seed)]
    load = cache(tasks.load_all)

    @cache
    def problems(task: tasks.Task, file: Path | None, most: int | None) -> list[TaskProblem]:
        return _problems(load(task, file), most, skip_unreadable)

    cells = [
        EvalCell(
            task,
            spec,
            problems(task, file, limit or own),
            structs.replace(problem, seed=seed),
            epochs=epochs,
            engines=specs,
            data=file,
            skipped=load(task, file).unreadable if skip_unreadable else (),
            tolerance=tolerance,
        )
        for task, file, own, spec, seed in chosen
    ]
    if show_prompt:
        return _print_prompts(cells, engines.open())
    with RunFolder(out or Path("runs") / Path(target).stem) as folder:
        for task, file, *_ in chosen:
            folder.admit(task.name, [one.id for one in load(task, file).problems])
        plan = partial(ControlSchedule, cells, folder.samples, price_list, control.equal_cost if control.controls else None)
        before = len(folder.samples)
        origin = partial(_origin, engines=engines, extractor=extractor)
        schedule, stopped = run_schedule(plan, engines, folder, origin, chains=chains, label=lambda cell: cell.name, extractor=extractor)
    if any(cell.done for cell in schedule.cells) or not stopped:
        show(schedule, price_list, control.equal_cost, json=json, headings=True)
        none = " (all were there, none was run)" if len(folder.samples) == before and not stopped else ""
        sys.stderr.write(f"samples and traces: {folder.path}{none}\n")
    check_finished(schedule, stopped)
    return 0


def _spec_of(method: str, params: dict[str, Any], wrappers: tuple[str, ...]) -> MethodSpec:
    """Returns the method with the label that `compare` and grids give it."""
    return MethodSpec(label_of(method, params, wrappers), build(method, params, wrappers))


def _problems(loaded: tasks.Loaded, limit: int | None, skip_unreadable: bool) -> list[TaskProblem]:
    """Returns the chosen problems of a task, and warns of those that are left out."""
    if not skip_unreadable:
        loaded.check(limit)
    elif loaded.unreadable:
        warn(f"--skip-unreadable: {len(loaded.unreadable)} of {len(loaded.problems)} problems are left out, with unreadable gold answers")
    available = loaded.readable() if skip_unreadable else loaded.problems
    if not available:
        raise UsageError(f"{loaded.source} must have a problem with a readable gold answer; name another file with --data")
    if limit and limit > len(available):
        warn(f"--limit {limit}: {loaded.source} has {len(available)} problems; all of them are used")
    return spread(available, limit)


def _origin(cells: Sequence[EvalCell], pair: Pair, engines: EngineFlags, extractor: Extractor | None) -> dict[str, Any]:
    """Returns the entries of the provenance.

    `prompts` are hashes of the first problem's prompts.
    """
    flags: dict[str, Any] = {name: value for name, value in vars(engines).items() if value and not name.endswith("key")}
    return {
        "door": "eval",
        "flags": {name: _redacted(value) for name, value in flags.items()},
        "settings": {name: value for name, value in cells[0].settings.items() if name != "answer_instruction"},
        "methods": list(dict.fromkeys(cell.spec.label for cell in cells)),
        "seeds": sorted({cell.problem.seed for cell in cells}),
        "tasks": {
            cell.task.name: {
                **tasks.describe_data(cell.problems, cell.data, cell.skipped),
                "prompts": {role: tasks.digest(prompt) for role, prompt in cell.prompts(pair).items()},
                "epochs": cell.epochs,
            }
            for cell in cells
        },
        "extract_with": extractor.name if extractor else None,
    }


def _redacted(value: Any) -> Any:
    """Returns a flag's value without secrets."""
    return [redact(one) for one in value] if isinstance(value, tuple) else redact(value) if isinstance(value, str) else value  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]


def _print_prompts(cells: Sequence[EvalCell], pair: Pair) -> int:
    async def render() -> dict[str, dict[str, str]]:
        async with pair:
            return {cell.name: cell.prompts(pair) for cell in cells}

    for name, prompts in run_interruptible(render()).items():
        for role, prompt in prompts.items():
            write_line(f"---- {name}, {role} ----\n{prompt}")
    return 0
