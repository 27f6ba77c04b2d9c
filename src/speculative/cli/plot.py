"""`speculative plot`: draws the output of `compare --json`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import Parameter

from speculative.cli._errors import note
from speculative.cli._output import check_writable
from speculative.errors import SpeculativeError, UsageError
from speculative.files import read_text
from speculative.report.chart import draw
from speculative.report.frontier import AxisKey, frontier, usual_axis
from speculative.stats.summary import MethodSummary


def plot(
    results: Annotated[Path, Parameter(help="a file with the output of `speculative compare --json`")],
    /,
    *,
    axis: Annotated[AxisKey | None, Parameter(help="the axis of cost [default: flops, or big_tokens if a method has no flops]")] = None,
    out: Annotated[Path, Parameter(help="the picture to write, as svg, png or pdf by its ending")] = Path("frontier.svg"),
) -> int:
    """Draw accuracy against cost, the frontier, and the line to beat.

    Needs the extra `plots`.
    """
    check_writable(out)
    try:
        rows = msgspec.json.decode(read_text(results), type=list[MethodSummary])
    except (msgspec.MsgspecError, RecursionError) as error:
        raise UsageError(f"{results} must be the output of `speculative compare --json`: {error}") from None
    tasks = list(dict.fromkeys(row.task for row in rows))
    if len(tasks) != 1:
        raise UsageError(f"{results} must be of one task, got {', '.join(tasks) or 'none'}; `speculative report` draws several")
    axis = axis or usual_axis(rows)
    drawn = frontier(rows, axis)
    if not drawn.points:
        raise UsageError(f"{results}: no method has a value on the axis {axis}; `compare --prices FILE` gives prices")
    try:
        draw(drawn, out)
    except OSError as error:
        raise SpeculativeError(f"{out}: {error.strerror or error}; the picture is not saved") from None
    if drawn.left_out:
        note(drawn.left_out)
    return 0
