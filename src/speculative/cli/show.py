"""`speculative show`: draws a saved trace."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from speculative.cli._errors import warn
from speculative.cli._output import check_writable, open_console, write_file, write_line
from speculative.errors import TraceFormatError, UsageError
from speculative.evaluate import problems
from speculative.files import STDIN
from speculative.report.chain_page import chain_page
from speculative.report.terminal import draw
from speculative.result import Result
from speculative.trace.trace import Trace


def show(
    trace: Annotated[Path, Parameter(help="a trace file of `speculative ask --trace` (-: standard input)")],
    /,
    *,
    json: Annotated[bool, Parameter(help="print the JSON object of `ask --json`", negative=(), show_default=False)] = False,
    web: Annotated[bool, Parameter(help="save it as a page for a browser", negative=(), show_default=False)] = False,
    out: Annotated[Path | None, Parameter(help="the page to write, with --web [default: beside the trace]")] = None,
) -> int:
    """Draw a saved trace, exactly as `speculative ask` drew it at the end."""
    loaded = Trace.load(trace, warn=warn)
    try:
        started = loaded.started
    except TraceFormatError as error:
        raise TraceFormatError(f"{trace}: {error}") from None
    known = problems.find(started.problem.messages[-1].content)
    expected = known.answer if known else None
    if out and not web:
        raise UsageError(f"--out {out} can only be given with --web")
    if web:
        page = out or (Path("trace.html") if str(trace) == STDIN else trace.with_suffix(".html"))
        check_writable(page)
        write_file(page, chain_page(loaded, expected), "page")
        write_line(str(page))
    elif json:
        write_line(Result.from_trace(loaded).to_json())
    else:
        draw(open_console(), loaded, expected)
    return 0
