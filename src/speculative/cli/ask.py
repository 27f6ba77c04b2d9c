"""`speculative ask`: one problem, one method, one chain."""

from __future__ import annotations

import random
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Group, Parameter
from rich.console import Console

from speculative.cli._errors import warn
from speculative.cli._flags import DEFAULT_ENGINES, DEFAULT_PROBLEM, EngineFlags, ProblemFlags
from speculative.cli._method_flags import add_method_flags, boolean_flags, find_method_flag
from speculative.cli._output import check_writable, open_console, write_file, write_line
from speculative.cli._progress import LoadingLine
from speculative.cli._signals import InterruptedWorkError, run_interruptible
from speculative.errors import SpeculativeError
from speculative.evaluate import problems
from speculative.files import read_stdin
from speculative.methods.base import Method
from speculative.methods.registry import DEFAULT_METHOD, build, find
from speculative.pair import Pair
from speculative.problem import Problem
from speculative.report.terminal import FRAME_S, LivePainter, draw
from speculative.report.timeline import TraceRecorder
from speculative.result import Result
from speculative.runner import asolve
from speculative.trace.events import AnyEvent, TextDelta
from speculative.trace.trace import Trace

STDIN = "\0-"
"""The replacement of a lone `-`, which the parser would take for a flag; no argument can hold a NUL."""

FOREIGN = (
    "the bundled pair solves only problems in the form and the words of its own (docs/data-card.md; `speculative problems` lists them), "
    "so this answer means nothing; name real models with --big and --small"
)

EASY = (2, 3)
"""The levels of the problem that is chosen without an argument. The pair solves most of them, with short chains."""
PROBLEM = (
    "the problem; - reads standard input; by default the seed chooses a bundled problem of the levels "
    f"{EASY[0]} and {EASY[1]} of 10, most of which the bundled pair can solve"
)
WITH = "a wrapper around the method, as NAME or NAME(field=value,…); may be repeated, the innermost first"
METHODS = "a method of `speculative methods`, FILE.py:CLASS, or @FILE of a preset"
METHOD = Group("Method", sort_key=1)
OUTPUT = Group("Output", sort_key=5)


def prepare(app: App, argv: list[str]) -> list[str]:
    """Adds the flags of the chosen method. Returns the command line for the parser."""
    kind = find(find_method_flag(argv, DEFAULT_METHOD))
    about = f"{ask.__doc__}\n\nThese are the parameters of {kind.name()}; `--method NAME --help` shows those of another method."
    del app["ask"]
    app.command(add_method_flags(ask, kind), name="ask", help=about, group_arguments=Group("Problem", sort_key=0))
    return _replace_dash(argv, {"--json", "--help", "-h", *boolean_flags(kind)})


def _replace_dash(argv: list[str], switches: set[str]) -> list[str]:
    """Replaces a lone `-`, which the parser would take for a flag."""
    tokens: list[str] = []
    positional = False
    for token in argv:
        last = tokens[-1] if tokens else ""
        if token != "-":
            tokens.append(token)
        elif not positional and last.startswith("--") and "=" not in last and last not in switches:
            tokens[-1] = f"{last}=-"
        else:
            tokens.append(STDIN)
        positional = positional or token == "--"
    return tokens


def ask(
    problem: Annotated[str | None, Parameter(help=PROBLEM)] = None,
    /,
    *,
    method: Annotated[str, Parameter(help=METHODS, group=METHOD)] = DEFAULT_METHOD,
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
    prepared = settings.problem(text)
    if trace:
        check_writable(trace)
    known = problems.find(text)
    if engines.bundled and not problems.is_similar(text):
        warn(FOREIGN)
    return _run(prepared, made, engines.for_methods([made]), known.answer if known else None, json, trace)


def _text(problem: str | None, seed: int) -> str:
    if problem is None:
        return random.Random(seed).choice([one for one in problems.problems() if one.level in EASY]).problem
    if problem != STDIN:
        return problem
    return read_stdin()


def _run(problem: Problem, method: Method, engines: EngineFlags, expected: str | None, json: bool, save: Path | None) -> int:
    """Runs the chain and shows it, also if it was interrupted or failed."""
    console = open_console()
    recorder = _open_recorder(console, json, method.text_is_final)
    stopped: SpeculativeError | None = None
    pair = engines.open()
    with recorder if isinstance(recorder, LivePainter | CountingRecorder) else nullcontext():
        try:
            run_interruptible(_chain(problem, method, pair, recorder))
        except SpeculativeError as error:
            stopped = error
        if len(recorder.trace.events) > 1:
            _show(recorder, json and (stopped is None or isinstance(stopped, InterruptedWorkError)), json, expected)
    if save and len(recorder.trace.events) > 1:
        write_file(save, recorder.trace.dump(), "trace")
    if stopped:
        raise stopped
    return 0


async def _chain(problem: Problem, method: Method, pair: Pair, recorder: TraceRecorder) -> None:
    async with pair:
        await asolve(problem, method, pair=pair, listener=recorder)


def _open_recorder(console: Console, json: bool, append_only: bool) -> TraceRecorder:
    """Returns a recorder that shows progress as the terminal allows."""
    if console.is_terminal and not json and not console.is_dumb_terminal:
        return LivePainter(console, append_only)
    return CountingRecorder() if sys.stderr.isatty() and not console.is_terminal else TraceRecorder()


class CountingRecorder(TraceRecorder):
    """A recorder that counts the parts of text on standard error."""

    def __init__(self) -> None:
        super().__init__()
        self._line = LoadingLine()
        self._parts = 0
        self._shown = 0.0

    def __enter__(self) -> CountingRecorder:
        self._line.__enter__()
        self._line("waiting for the first text")
        return self

    def __exit__(self, *exit_arguments: object) -> None:
        self._line.__exit__(*exit_arguments)

    def __call__(self, happened: AnyEvent | TextDelta) -> None:
        super().__call__(happened)
        self._parts += isinstance(happened, TextDelta)
        if time.monotonic() - self._shown > FRAME_S:
            self._shown = time.monotonic()
            self._line(f"writing: {self._parts} parts of text so far")


def _show(recorder: TraceRecorder, as_json: bool, quiet: bool, expected: str | None) -> None:
    trace: Trace = recorder.trace
    if as_json:
        write_line(Result.from_trace(trace).to_json())
    elif isinstance(recorder, LivePainter):
        recorder.finish(expected)
    elif not quiet:
        draw(open_console(), trace, expected, recorder.timeline)
