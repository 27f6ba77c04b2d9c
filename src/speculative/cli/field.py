"""`speculative field`: runs pairs, limits, tasks and methods as one table."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Group, Parameter
from rich.table import Column, Table

from speculative.cli._errors import note
from speculative.cli._hardware import check_price
from speculative.cli._output import open_console, write_file, write_line
from speculative.errors import SpeculativeError
from speculative.plan.field import drawn_as, read_field
from speculative.plan.profile import load_profile

WORK = Group("Work", sort_key=1)


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
    hours = found.hours(load_profile(found.profile))
    _show(hours, found.chains_of_method() * len(found.method_names()), gpu_hour)
    if odd := sorted({name for name in found.method_names() if drawn_as(name) != name}):
        note(f"the forecast takes the calls of another method for {', '.join(odd)}; it leaves token speculation out")
    if dry_run:
        return 0
    return _run(list(found.cells(cut=cut)), out)


def _run(cells: list[tuple[str, dict[str, object]]], out: Path) -> int:
    """Runs the grids one after the other, and stops at the first that fails."""
    import yaml

    from speculative.cli import run

    for place, (name, grid) in enumerate(cells, 1):
        folder = out / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SpeculativeError(f"{folder} cannot be written: {error.strerror}; name another folder with --out") from None
        path = folder / "grid.yaml"
        write_file(path, yaml.safe_dump(grid, sort_keys=False, allow_unicode=True).encode(), "grid")
        sys.stderr.write(f"{name} ({place} of {len(cells)})\n")
        if code := run(["eval", str(path), "--out", str(folder / "run")]):
            return code
    write_line(f"speculative report {' '.join(str(out / name / 'run') for name, _ in cells)}")
    return 0


def _show(hours: dict[str, float], chains: int, price: float | None) -> None:
    money = [Column("money", justify="right")] if price is not None else []
    table = Table("cell", Column("chains", justify="right"), Column("GPU hours", justify="right"), *money, box=None, pad_edge=False)
    for name, cost in [*hours.items(), ("all", sum(hours.values()))]:
        count = chains * (len(hours) if name == "all" else 1)
        table.add_row(name, f"{count:,}", f"{cost:,.1f}", *([f"{cost * price:,.0f}"] if price is not None else []))
    open_console().print(table)
