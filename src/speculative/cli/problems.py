"""`speculative problems`: lists the bundled problems."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter
from rich import box
from rich.table import Table

from speculative.cli._flags import parse_count, parse_int
from speculative.cli._output import open_console, write_json
from speculative.evaluate.problems import DEFAULT_TASK, BundledTask, Set, chosen


def problems(
    *,
    level: Annotated[int | None, Parameter(converter=parse_int, help="only problems of this level, from 1 (about one step) to 10")] = None,
    limit: Annotated[int | None, Parameter(name=("--limit", "--n"), converter=parse_count, help="limit of their number")] = None,
    seed: Annotated[int | None, Parameter(converter=parse_int, help="seed of a random order")] = None,
    set: Annotated[Set, Parameter(help="benchmark for comparing methods, tuning for choosing settings")] = "benchmark",
    task: Annotated[BundledTask, Parameter(help="tunnel, or stories, which the bundled pair does not know")] = DEFAULT_TASK,
    json: Annotated[bool, Parameter(help="print a JSON list of objects", negative=(), show_default=False)] = False,
) -> int:
    """List the bundled problems: id, problem, answer, level."""
    found = chosen(set, level=level, n=limit, seed=seed, task=task)
    if json:
        write_json(found)
        return 0
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("id", no_wrap=True)
    table.add_column("level", justify="right")
    table.add_column("problem")
    table.add_column("answer", justify="right")
    for problem in found:
        table.add_row(problem.id, str(problem.level), problem.problem, problem.answer)
    open_console().print(table)
    return 0
