"""`speculative ask`: one problem, one method, one chain."""

from __future__ import annotations

import random
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Group, Parameter

from speculative.cli.engine_flags import DEFAULT_ENGINES, DEFAULT_PROBLEM, EngineFlags, ProblemFlags
from speculative.cli.errors import Interrupted, warn
from speculative.cli.files import check_writable
from speculative.cli.interrupt import interruptible
from speculative.cli.method_flags import method_in, with_flags
from speculative.cli.screen import put, screen
from speculative.errors import EngineError, SpeculativeError, UsageError
from speculative.evaluate import problems
from speculative.methods.base import Method, append_only
from speculative.methods.registry import build, find
from speculative.pair import Pair
from speculative.problem import Problem
from speculative.report.live import LivePainter
from speculative.report.outcome import Outcome
from speculative.report.recorder import Recorder
from speculative.report.terminal import draw
from speculative.runner import asolve
from speculative.trace import Trace

DEFAULT_METHOD = "random_switch"
STDIN = "\0-"
"""Stands for a lone `-`, which the parser takes for a flag; no argument can hold a NUL."""

FOREIGN = (
    "the bundled pair only knows short stories that end in a question `How many … ?` (docs/data-card.md); "
    "name real models with --big and --small"
)

WITH = "a wrapper around the method, as NAME or NAME(field=value,…); may be repeated, the innermost first"
METHOD = Group("Method", sort_key=1)
OUTPUT = Group("Output", sort_key=5)


def prepare(app: App, argv: list[str]) -> list[str]:
    """Gives the command the flags of the method that the command line names; returns the command line as the parser takes it."""
    kind = find(method_in(argv, DEFAULT_METHOD))
    about = f"{ask.__doc__}\n\nThese are the parameters of {kind.name()}; `--method NAME --help` shows those of another method."
    del app["ask"]
    app.command(with_flags(ask, kind), name="ask", help=about, group_arguments=Group("Problem", sort_key=0))
    return [STDIN if token == "-" else token for token in argv]


def ask(
    problem: Annotated[str | None, Parameter(help="the problem; - reads standard input; without one a bundled problem is taken")] = None,
    /,
    *,
    method: Annotated[str, Parameter(help="a name of `speculative methods`, or FILE.py:CLASS", group=METHOD)] = DEFAULT_METHOD,
    with_: Annotated[tuple[str, ...], Parameter(name="--with", help=WITH, group=METHOD, negative=(), show_default=False)] = (),
    settings: ProblemFlags = DEFAULT_PROBLEM,
    engines: EngineFlags = DEFAULT_ENGINES,
    json: Annotated[bool, Parameter(help="print one JSON object and nothing else", group=OUTPUT, negative=(), show_default=False)] = False,
    trace: Annotated[Path | None, Parameter(help="save the trace to this file", group=OUTPUT)] = None,
    **params: Any,
) -> int:
    """Let the pair write one chain of thought, and its answer, for a problem."""
    made = build(method, params, with_)
    text = _text(problem, settings.seed)
    asked = settings.problem(text)
    if trace:
        check_writable(trace)
    if engines.bundled and not problems.of_their_kind(text):
        warn(FOREIGN)
    known = problems.find(text)
    return _run(asked, made, engines, known.answer if known else None, json, trace)


def _text(problem: str | None, seed: int) -> str:
    if problem is None:
        return random.Random(seed).choice(problems.problems()).problem
    if problem != STDIN:
        return problem
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        wrong = error.object[error.start]
        raise UsageError(f"standard input is not valid UTF-8: byte {error.start} is 0x{wrong:02x}; convert it, e.g. with iconv") from None


def _run(asked: Problem, method: Method, engines: EngineFlags, expected: str | None, json: bool, save: Path | None) -> int:
    """Shows the chain while it is written, or when it is over; also one that was interrupted or whose engine failed."""
    console = screen()
    live = console.is_terminal and not json and not console.is_dumb_terminal
    recorder = LivePainter(console, append_only(method)) if live else Recorder()
    stopped: Exception | None = None
    pair = engines.open()
    with recorder if isinstance(recorder, LivePainter) else nullcontext():
        try:
            interruptible(_chain(asked, method, pair, recorder))
        except (Interrupted, EngineError) as error:
            stopped = error
        if len(recorder.trace.events) > 1:
            _show(recorder, json and not isinstance(stopped, EngineError), json, expected)
    if save and len(recorder.trace.events) > 1:
        _save(recorder.trace, save)
    if stopped:
        raise stopped
    return 0


def _save(trace: Trace, path: Path) -> None:
    try:
        trace.save(path)
    except OSError as error:
        raise SpeculativeError(f"{path}: {error.strerror}; the trace is not saved, nothing was written there") from None


async def _chain(asked: Problem, method: Method, pair: Pair, recorder: Recorder) -> None:
    async with pair:
        await asolve(asked, method, pair=pair, listener=recorder)


def _show(recorder: Recorder, as_json: bool, quiet: bool, expected: str | None) -> None:
    trace: Trace = recorder.trace
    if as_json:
        put(Outcome.of(trace).dump())
    elif isinstance(recorder, LivePainter):
        recorder.finish(expected)
    elif not quiet:
        draw(screen(), trace, expected, recorder.sketch)
