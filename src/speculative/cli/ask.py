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
from speculative.cli.files import check_writable, write
from speculative.cli.interrupt import interruptible
from speculative.cli.method_flags import method_in, switches, with_flags
from speculative.cli.screen import put, screen
from speculative.errors import SpeculativeError, UsageError
from speculative.evaluate import problems
from speculative.methods.base import Method, append_only
from speculative.methods.registry import build, find
from speculative.pair import Pair
from speculative.problem import Problem
from speculative.report.live import LivePainter
from speculative.report.recorder import Recorder
from speculative.report.terminal import draw
from speculative.result import Result
from speculative.runner import asolve
from speculative.trace.trace import Trace

DEFAULT_METHOD = "random_switch"
STDIN = "\0-"
"""Stands for a lone `-`, which the parser takes for a flag; no argument can hold a NUL."""

FOREIGN = (
    "the bundled pair only knows short stories that end in a question `How many … ?` (docs/data-card.md); "
    "name real models with --big and --small"
)

EASY = (2, 3)
"""The levels that a problem is taken from when none is given: the pair solves most of them, and their chains are short."""
PROBLEM = (
    "the problem; - reads standard input; without one the seed picks a bundled problem of the levels "
    f"{EASY[0]} and {EASY[1]} of 10, most of which the bundled pair can solve"
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
    return _dashed(argv, {"--json", "--help", "-h", *switches(kind)})


def _dashed(argv: list[str], switches: set[str]) -> list[str]:
    """The lone `-` that is the problem is marked; one that is a flag's value is joined to its flag, so that the parser takes it."""
    told: list[str] = []
    positional = False
    for token in argv:
        last = told[-1] if told else ""
        if token != "-":
            told.append(token)
        elif not positional and last.startswith("--") and "=" not in last and last not in switches:
            told[-1] = f"{last}=-"
        else:
            told.append(STDIN)
        positional = positional or token == "--"
    return told


def ask(
    problem: Annotated[str | None, Parameter(help=PROBLEM)] = None,
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
        return random.Random(seed).choice([stated for stated in problems.problems() if stated.level in EASY]).problem
    if problem != STDIN:
        return problem
    if sys.stdin is None:
        raise UsageError("standard input is closed, there is no problem to read from it")
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        wrong = error.object[error.start]
        raise UsageError(f"standard input is not valid UTF-8: byte {error.start} is 0x{wrong:02x}; convert it, e.g. with iconv") from None


def _run(asked: Problem, method: Method, engines: EngineFlags, expected: str | None, json: bool, save: Path | None) -> int:
    """Shows the chain while it is written, or when it is over; also one that was interrupted, or whose engine or method failed."""
    console = screen()
    live = console.is_terminal and not json and not console.is_dumb_terminal
    recorder = LivePainter(console, append_only(method)) if live else Recorder()
    stopped: SpeculativeError | None = None
    pair = engines.open()
    with recorder if isinstance(recorder, LivePainter) else nullcontext():
        try:
            interruptible(_chain(asked, method, pair, recorder))
        except SpeculativeError as error:
            stopped = error
        if len(recorder.trace.events) > 1:
            _show(recorder, json and (stopped is None or isinstance(stopped, Interrupted)), json, expected)
    if save and len(recorder.trace.events) > 1:
        write(save, recorder.trace.dump(), "trace")
    if stopped:
        raise stopped
    return 0


async def _chain(asked: Problem, method: Method, pair: Pair, recorder: Recorder) -> None:
    async with pair:
        await asolve(asked, method, pair=pair, listener=recorder)


def _show(recorder: Recorder, as_json: bool, quiet: bool, expected: str | None) -> None:
    trace: Trace = recorder.trace
    if as_json:
        put(Result.from_trace(trace).to_json())
    elif isinstance(recorder, LivePainter):
        recorder.finish(expected)
    elif not quiet:
        draw(screen(), trace, expected, recorder.sketch)
