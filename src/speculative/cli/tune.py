"""`speculative tune`: chooses the parameters of a method on problems."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Group, Parameter

from speculative._plugins import is_path, parse_spec
from speculative.cli._errors import warn
from speculative.cli._evaluation import OUTPUT
from speculative.cli._flags import DEFAULT_ENGINES, DEFAULT_PRICES, DEFAULT_PROBLEM, EngineFlags, PriceFlags, ProblemFlags, parse_count
from speculative.cli._output import check_writable
from speculative.cli._tuning import run_plan, save_preset, show_choice
from speculative.errors import SpeculativeError, UsageError
from speculative.evaluate import tasks
from speculative.evaluate.problems import DEFAULT_TASK, TaskProblem, spread
from speculative.evaluate.runner import EvalCell
from speculative.evaluate.tasks import Task
from speculative.evaluate.tune.candidates import parse_sweeps
from speculative.evaluate.tune.plan import TunePlan, split_problems
from speculative.evaluate.tune.target import DEFAULT, EXAMPLES, parse_target
from speculative.methods.preset import is_file, read_preset
from speculative.methods.registry import build, find
from speculative.methods.spec import MethodSpec
from speculative.methods.wrapper import Wrapper
from speculative.runs.folder import RunFolder
from speculative.stats.cost import View, view_unit

WORK = Group("Tuning", sort_key=1)
METHOD = "a method with the parameters that stay, as METHOD, METHOD(field=value,…), FILE.py:CLASS or @FILE of a preset"
TARGET = (
    f"the bound to keep: {', '.join(map(repr, EXAMPLES))} [default: {DEFAULT}]. Within a bound on accuracy the smallest share of "
    "big's tokens is looked for, else the highest accuracy"
)
SWEEP = (
    "FIELD=VALUE,VALUE,…: only these values of a parameter, a number or a percentile of the recorded scores as p5; may be repeated. "
    "Without --target they are compared on all problems, and none is chosen"
)
TASK = "the task of the data: its columns and grading [default: the bundled tuning problems, or gsm8k (whole numbers) with --data]"
DATA = "file of your own problems, as in `speculative eval`"
LIMIT = "number of problems, tuning and held-out ones together, spread over the levels"
HELD_OUT = "share of the problems that only the choice is run on"
CANDIDATES = "settings that are run on all tuning problems, at most"
WRAPPED = "{!r} cannot be tuned, since it has a wrapper; tune the method alone, and put the wrapper around its preset"
OUT = "folder for samples and traces; the same command continues an interrupted run [default: runs/tune-METHOD]"
PRESET = "file of the preset [default: METHOD.toml in the folder of the samples]"


def tune(
    method: Annotated[str, Parameter(help=METHOD)],
    /,
    *,
    target: Annotated[str | None, Parameter(help=TARGET, group=WORK, show_default=False)] = None,
    sweep: Annotated[tuple[str, ...], Parameter(help=SWEEP, group=WORK, negative=(), show_default=False)] = (),
    task: Annotated[str | None, Parameter(help=TASK, group=WORK, show_default=False)] = None,
    data: Annotated[Path | None, Parameter(help=DATA, group=WORK)] = None,
    limit: Annotated[int, Parameter(converter=parse_count, help=LIMIT, group=WORK)] = 100,
    held_out: Annotated[float, Parameter(help=HELD_OUT, group=WORK)] = 0.5,
    epochs: Annotated[int, Parameter(converter=parse_count, help="number of tries of each problem", group=WORK)] = 1,
    candidates: Annotated[int, Parameter(converter=parse_count, help=CANDIDATES, group=WORK)] = 24,
    chains: Annotated[int, Parameter(converter=parse_count, help="limit of concurrent chains", group=WORK)] = 8,
    cost: Annotated[View, Parameter(help="price view of costs", group=WORK)] = "flops",
    prices: PriceFlags = DEFAULT_PRICES,
    settings: ProblemFlags = DEFAULT_PROBLEM,
    engines: EngineFlags = DEFAULT_ENGINES,
    json: Annotated[bool, Parameter(help="print one JSON object", group=OUTPUT, negative=(), show_default=False)] = False,
    out: Annotated[Path | None, Parameter(help=OUT, group=OUTPUT)] = None,
    preset: Annotated[Path | None, Parameter(help=PRESET, group=OUTPUT, show_default=False)] = None,
) -> int:
    """Choose the parameters of a method on problems, and write them into a preset.

    The problems are split. The method runs on the tuning problems with values between the scores that it recorded, and the best
    setting within the bound is run on the held-out ones, beside big_only. A chain is not run again for a value that changes no decision.
    `ask`, `eval`, `compare` and `serve` take the preset as `--method @FILE`. The default problems and pair are the bundled ones.

    For example: speculative tune likelihood_verify --target "at most 20% big tokens"
    """
    if not 0 < held_out < 1:
        raise UsageError(f"held-out must be above 0 and below 1, got {held_out}; 0.5 holds out half of the problems")
    spec, sweeps = _read_method(method), parse_sweeps(sweep)
    wanted = parse_target(target or DEFAULT) if target or not sweep else None
    chosen_task, loaded = _load(task, data, limit)
    engines = engines.for_methods([build(*spec)])
    loaded_prices = prices.load(engines)
    if wanted:
        wanted.check_unit(view_unit(cost, loaded_prices), cost)
    tuning, rest = split_problems(loaded, held_out, settings.seed) if wanted else (loaded, list[TaskProblem]())
    problem = settings.problem("each problem of the task")

    def cell(one: MethodSpec, some: Sequence[TaskProblem]) -> EvalCell:
        return EvalCell(chosen_task, one, some, problem, epochs=epochs, engines=engines.specs, data=data)

    plan = TunePlan(*spec, sweeps, wanted, tuning, rest, cell, cost, loaded_prices, candidates)
    name = find(plan.method).name()
    if preset and is_path(plan.method):
        raise UsageError(f"a preset cannot name the file of a method, got {plan.method!r}; leave out --preset")
    if preset:
        check_writable(preset)
    with RunFolder(out or Path("runs") / f"tune-{name}") as folder:
        folder.admit(chosen_task.name, [one.id for one in loaded])
        choice = run_plan(plan, folder, engines, chains)
        saved = preset or folder.path / f"{name}.toml" if choice.held_out and not is_path(plan.method) else None
        if saved:
            save_preset(choice, plan, saved, folder)
    show_choice(choice, plan, saved, folder.path, json=json)
    if not choice.met and wanted and choice.best:
        label = choice.best.candidate.label
        raise SpeculativeError(f"no setting that was run keeps the bound {wanted.text!r} on the tuning problems; {label} comes closest")
    return 0


def _read_method(spec: str) -> tuple[str, dict[str, Any]]:
    """Returns the name of a method and the parameters that stay.

    Raises `UsageError`.
    """
    if "*" in spec:
        raise UsageError(WRAPPED.format(spec))
    if is_file(spec):
        preset = read_preset(spec)
        name, params, method = preset.method, preset.params, build(spec)
    else:
        name, params = parse_spec("method", spec)
        method = build(name, {**find(name).probe, **params})
    if isinstance(method, Wrapper):
        raise UsageError(WRAPPED.format(spec))
    values = method.model_dump(mode="json")
    return name, {field: values[field] for field in params}


def _load(name: str | None, data: Path | None, limit: int) -> tuple[Task, list[TaskProblem]]:
    """Returns the task and its chosen problems.

    These are the bundled tuning problems unless the user named others.
    """
    task = tasks.task(name or ("gsm8k" if data else DEFAULT_TASK))
    if task.dataset is None and data is None:
        available = tasks.bundled_problems(task, "tuning")
    else:
        loaded = tasks.load_all(task, data)
        loaded.check(limit)
        available = loaded.problems
    if limit > len(available):
        warn(f"--limit {limit}: there are {len(available)} problems; all of them are used")
    return task, spread(available, limit)
