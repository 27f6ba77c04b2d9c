"""`speculative field`: runs pairs, limits, tasks and methods as one table."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Group, Parameter
from rich.table import Column, Table

from speculative._plugins import parse_spec
from speculative.cli._errors import note
from speculative.cli._hardware import check_price
from speculative.cli._output import open_console, write_file, write_line
from speculative.cli.eval import file_settings
from speculative.errors import SpeculativeError, UsageError
from speculative.evaluate.grid import Grid, check_cells
from speculative.evaluate.tasks import task
from speculative.evaluate.tune.target import parse_target
from speculative.methods.registry import build, find
from speculative.methods.spec import parse_method
from speculative.plan.field import FieldCost, FieldFile, drawn_as, read_field
from speculative.plan.profile import load_profile

WORK = Group("Work", sort_key=1)
REFUSALS = (0, 1, 2)
"""Exit codes of a tuning that ran to its end. It may have found no setting, or no scores to choose by."""


def field(
    file: Annotated[Path, Parameter(help="a YAML file as examples/field.yaml")],
    /,
    *,
    out: Annotated[Path, Parameter(help="folder with a run folder for each cell; the same command continues", group=WORK)] = Path("field"),
    dry_run: Annotated[bool, Parameter(help="say what it would cost, and exit", group=WORK, negative=(), show_default=False)] = False,
    cut: Annotated[
        bool, Parameter(help="run every cell on two problems of the bundled pair", group=WORK, negative=(), show_default=False)
    ] = False,
    gpu_hour: Annotated[float | None, Parameter(help="the price of an hour of one GPU, for costs", group=WORK)] = None,
) -> int:
    """Run pairs, limits, tasks and methods as one table, after saying what it costs.

    Each pair with each limit and each kind of token speculation is a grid of `speculative eval`. The forecast of GPU hours comes from the
    planner.
    """
    check_price(gpu_hour)
    found = read_field(file)
    _check(found, file)
    _show(found.forecast(load_profile(found.profile)), gpu_hour)
    odd = {name for name, params in found.method_calls() if drawn_as(name, params).partition(",")[0] != name}
    if found.has_wrappers():
        note("the forecast leaves wrappers out: a vote of 8 costs about 8 times its method")
    if odd:
        note(f"the forecast takes the calls of another method for {', '.join(sorted(odd))}; it leaves token speculation out")
    if dry_run:
        return 0
    if cut:
        note("the forecast is that of the whole field; --cut runs two problems of each cell on the bundled pair")
    return _run(found, out, cut=cut)


def _check(found: FieldFile, file: Path) -> None:
    """Checks tasks, methods and settings before any cost is told. Raises `UsageError`."""
    for cut in (False, True):
        for _, grid in found.cells(cut=cut):
            check_cells(grid, file_settings(), f"the field {file}", Path(), "examples/field.yaml")
    if tuned := found.tuned:
        task(tuned.task)
        parse_target(tuned.target)
        for method in tuned.methods:
            name, params = parse_spec("method", method)
            if all(tunable.field in params for tunable in build(name, {**find(name).probe, **params}).tunables()):
                raise UsageError(f"the field {file}: tuned.methods must have a parameter to choose, got {method}; see docs/tuning.md")


def _run(found: FieldFile, out: Path, *, cut: bool) -> int:
    """Tunes and runs the grids one after the other, and stops at the first that fails."""
    import yaml

    from speculative.cli import run

    presets: dict[str, list[str]] = {}
    for pair, method, flags in found.tunings(cut=cut):
        if code := _tune(method, flags, _make(out / pair / "tuned" / parse_spec("method", method)[0]), presets.setdefault(pair, [])):
            return code
    cells = list(found.cells(cut=cut))
    for place, (name, grid) in enumerate(cells, 1):
        folder = _make(out / name)
        path = folder / "grid.yaml"
        grid["methods"] = with_presets(grid["methods"], presets.get(name.partition("/")[0], []))
        write_file(path, yaml.safe_dump(grid, sort_keys=False, allow_unicode=True).encode(), "grid")
        sys.stderr.write(f"{name} ({place} of {len(cells)})\n")
        if code := run(["eval", str(path), "--out", str(folder / "run")]):
            return code
    write_line(f"speculative report {' '.join(str(out / name / 'run') for name, _ in cells)}")
    return 0


def _tune(method: str, flags: dict[str, Any], folder: Path, presets: list[str]) -> int:
    """Tunes a method for a pair, unless that was done, and adds its preset.

    Without a setting within the bound the table has none, as a note says. Returns the exit code if no chain could be run.
    """
    from speculative.cli import run

    preset, samples = folder / "preset.toml", folder / "samples.jsonl"
    if not preset.exists():
        sys.stderr.write(f"tuning {method} ({folder})\n")
        words = [f"--{name.replace('_', '-')}={value}" for name, value in flags.items()]
        code = run(["tune", method, *words, "--out", str(folder), "--preset", str(preset)])
        if code not in REFUSALS or (code and not (samples.exists() and samples.stat().st_size)):
            return code
    if preset.exists():
        presets.append(f"@{preset.absolute()}")
    else:
        note(f"{method} has no tuned setting in the table: the lines above say why")
    return 0


def with_presets(methods: Sequence[Any], presets: Sequence[str]) -> list[Any]:
    """Adds presets to the methods of a grid.

    Methods that are there already with equal parameters are left out.
    """
    labels = {one.label for one in Grid.model_validate({"tasks": ["tunnel"], "methods": [*methods]}).specs()}
    return [*methods, *(preset for preset in presets if parse_method(preset).label not in labels)]


def _make(folder: Path) -> Path:
    """Makes a folder. Raises `SpeculativeError`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SpeculativeError(f"{folder} cannot be written: {error.strerror}; name another folder with --out") from None
    return folder


def _show(costs: Sequence[FieldCost], price: float | None) -> None:
    money = [Column("money", justify="right")] if price is not None else []
    table = Table("cell", Column("chains", justify="right"), Column("GPU hours", justify="right"), *money, box=None, pad_edge=False)
    every = FieldCost("all", sum(cost.chains for cost in costs), sum(cost.hours for cost in costs))
    for cost in (*costs, every):
        told = [f"{cost.hours * price:,.0f}"] if price is not None else []
        table.add_row(cost.name, f"{cost.chains:,}", f"{cost.hours:,.1f}", *told)
    open_console().print(table)
