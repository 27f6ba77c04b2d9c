"""Runs one method on one problem with one pair."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from inspect import iscoroutinefunction
from typing import Any, TypedDict, Unpack, cast, overload

from speculative import __version__
from speculative._sync import PerProcess, end_all, run_in_background, to_its_end
from speculative.chain.author_tasks import failed_task, watch_tasks
from speculative.chain.chain import Chain
from speculative.chain.context import Prompts
from speculative.chain.forgotten import watch_coroutines
from speculative.chain.requests import Listener
from speculative.errors import UnknownNameError, UsageError, engine_error, quote
from speculative.methods.base import Method
from speculative.methods.errors import is_own, method_error, prepare
from speculative.methods.registry import DEFAULT_METHOD, build
from speculative.pair import Pair
from speculative.problem import Degrade, Problem, Sampling, Turn, messages_of
from speculative.result import Result
from speculative.trace.events import AnyEvent, EngineCard, Started, TextDelta
from speculative.trace.trace import Trace

SETTINGS = frozenset(field for field in Problem.__struct_fields__ if field not in ("messages", "sampling"))
SAMPLING = frozenset(Sampling.__struct_fields__)


class ProblemSettings(TypedDict, total=False):
    """The settings of a problem that is given as text or messages."""

    max_tokens: int
    max_produced: int | None
    max_seconds: float | None
    seed: int
    answer_instruction: str | None
    stop: str | Sequence[str]
    raw: bool
    degrade: Degrade
    prefill_every: int
    answer_tokens: int | None
    max_thinking: int | None
    temperature: float
    top_p: float
    top_k: int


class SolveSettings(ProblemSettings, total=False):
    """Settings of a problem, with the pair, the wrappers and the listener."""

    pair: Pair | None
    wrappers: str | Sequence[str]
    listener: Listener | None


@overload
async def asolve(problem: Problem | str | Sequence[Turn], method: Method, **settings: Unpack[SolveSettings]) -> Result: ...
@overload
async def asolve(problem: Problem | str | Sequence[Turn], method: str = DEFAULT_METHOD, **settings: Any) -> Result: ...
async def asolve(
    problem: Problem | str | Sequence[Turn],
    method: str | Method = DEFAULT_METHOD,
    *,
    pair: Pair | None = None,
    wrappers: str | Sequence[str] = (),
    listener: Listener | None = None,
    **settings: Any,
) -> Result:
    """Lets the pair write one chain by one method.

    After `max_seconds` the text so far is the result. It includes the call in progress, unless the method may take text back.

    Args:
        problem: the problem as text, chat messages (`Message`, or dicts with `role` and `content`), or a `Problem`.
        method: a method, or its name.
        pair: the engines; the bundled pair unless given.
        wrappers: wrappers around the method, the innermost first.
        listener: is called with every event and text delta, on the event loop. The trace is the same without it.
        settings: the method's parameters (`switch_ratio=4`). For a problem given as text also its settings (`seed`,
            `max_tokens`, `temperature`, …).

    Raises:
        UsageError: The problem, the method or a setting is not valid.
        EngineError: An engine failed; `trace` is the chain until then.
        MethodError: The method failed; `trace` is the chain until then.
    """
    problem, params = _problem(problem, settings)
    _check_types(method, pair, wrappers, listener)
    made = _build(method, params, [wrappers] if isinstance(wrappers, str) else wrappers)
    pair = pair or bundled_pair()
    pair.check(made)
    return await run(prepare(made, problem), made, pair, listener)


async def run(
    problem: Problem,
    method: Method,
    pair: Pair,
    listener: Listener | None = None,
    *,
    trace: Trace | None = None,
    prompts: Prompts | None = None,
    max_drafts: int | None = None,
    displays: bool = False,
) -> Result:
    """Runs a method on a problem that has been checked.

    Args:
        trace: takes the chain's events; they remain there after a cancellation.
        prompts: the problem's prompt in tokens, from `tokenize_prompts`; without it the chain tokenizes on the event loop.
        max_drafts: the most drafts that one call of the method may ask for; more raise `UsageError`.
        displays: asks the engines for log-probabilities to be shown, where they have them. Text, seeds and usage stay the same.
    """
    pair.check_survivor(method, problem.degrade)
    chain = Chain(problem, pair, listener=listener, append_only=method.text_is_final, max_drafts=max_drafts, trace=trace, prompts=prompts)
    chain.parts.requests.displays = displays
    cards = {role: EngineCard(e.name, e.dialect, e.tokenizer.fingerprint, e.context) for role, e in pair.items()}
    params = method.params
    chain.record(Started(problem=problem, method=method.full_name, params=params, engines=cards, library=__version__))
    deadline = asyncio.timeout(problem.max_seconds)
    try:
        chain.parts.contexts.check_fits()
        async with deadline:
            await _run_method(method, chain)
    except BaseException as raised:
        if not (isinstance(raised, TimeoutError) and deadline.expired()):
            await to_its_end(chain.abandon())
            if error := engine_error(raised):
                error.trace = chain.trace
                raise error from error.__cause__
            if is_own(raised):
                raise method_error(method, raised, chain.trace) from raised
            raise
        chain.finish = "time"
    await to_its_end(chain.close())
    return Result.from_trace(chain.trace)


async def _run_method(method: Method, chain: Chain) -> None:
    """Runs a method, and checks that all that it began has ended.

    Only the runner may close the chain.
    """
    with watch_coroutines(chain.called.forgotten), watch_tasks() as tasks:
        chain.in_method = True
        try:
            await method.run(chain)
            chain.check_finished()
            if error := failed_task(tasks):
                raise error
        finally:
            chain.in_method = False


@overload
def stream(
    problem: Problem | str | Sequence[Turn], method: Method, **settings: Unpack[SolveSettings]
) -> AsyncIterator[AnyEvent | TextDelta]: ...
@overload
def stream(
    problem: Problem | str | Sequence[Turn], method: str = DEFAULT_METHOD, **settings: Any
) -> AsyncIterator[AnyEvent | TextDelta]: ...
async def stream(
    problem: Problem | str | Sequence[Turn], method: str | Method = DEFAULT_METHOD, **settings: Any
) -> AsyncIterator[AnyEvent | TextDelta]:
    """Yields every event and text delta of one chain as it happens.

    The last event is `Ended`.

    The arguments are those of `asolve`. Leaving the loop cancels the chain.
    """
    queue: asyncio.Queue[AnyEvent | TextDelta | None] = asyncio.Queue()
    listener: Listener | None = settings.pop("listener", None)
    _check_listener(listener)

    def put(item: AnyEvent | TextDelta) -> None:
        if listener:
            listener(item)
        queue.put_nowait(item)

    task = asyncio.create_task(asolve(problem, cast("Any", method), listener=put, **settings))
    task.add_done_callback(lambda _: queue.put_nowait(None))
    try:
        while (item := await queue.get()) is not None:
            yield item
        await task
    finally:
        await end_all([task])


@overload
def solve(problem: Problem | str | Sequence[Turn], method: Method, **settings: Unpack[SolveSettings]) -> Result: ...
@overload
def solve(problem: Problem | str | Sequence[Turn], method: str = DEFAULT_METHOD, **settings: Any) -> Result: ...
def solve(problem: Problem | str | Sequence[Turn], method: str | Method = DEFAULT_METHOD, **settings: Any) -> Result:
    """Runs `asolve` on the library's own event loop."""
    return run_in_background(asolve(problem, cast("Any", method), **settings))


bundled_pair: PerProcess[Pair] = PerProcess(lambda: Pair.open())
"""Opens the pair that ships, once for a process."""


def _build(method: str | Method, params: dict[str, Any], wrappers: Sequence[str]) -> Method:
    """Builds the method. The error about an unknown argument also names the settings."""
    try:
        return build(method, params, wrappers)
    except UnknownNameError as error:
        if error.name not in params:
            raise
        known = [*error.known, *SETTINGS, *SAMPLING, "pair", "wrappers", "listener"]
        raise UnknownNameError(f"setting or {error.kind}", error.name, known) from None


def _check_types(method: object, pair: object, wrappers: object, listener: object) -> None:
    """Raises `UsageError` for an argument of the wrong type."""
    if not isinstance(method, str | Method):
        raise UsageError(f"the method must be a name or a Method, got {quote(method)}")
    if pair is not None and not isinstance(pair, Pair):
        raise UsageError(f"the pair must be a Pair, got {quote(pair)}")
    _check_listener(listener)
    names = cast("Sequence[object]", wrappers) if isinstance(wrappers, Sequence) else [wrappers]
    if not all(isinstance(name, str) for name in names):
        raise UsageError(f"wrappers must be names, got {quote(cast('object', wrappers))}")


def _check_listener(listener: object) -> None:
    """Raises `UsageError` unless a listener can be called without `await`."""
    if listener is None:
        return
    if not callable(listener):
        raise UsageError(f"the listener must be callable, got {quote(listener)}")
    if iscoroutinefunction(listener) or iscoroutinefunction(type(listener).__call__):
        raise UsageError(f"the listener must be a plain function, got {quote(listener)}; write `def` without `async`")


def _problem(problem: Problem | str | Sequence[Turn], settings: dict[str, Any]) -> tuple[Problem, dict[str, Any]]:
    """Returns the problem, and the settings that are left for the method."""
    own = {name: value for name, value in settings.items() if name in SETTINGS}
    sampling = {name: value for name, value in settings.items() if name in SAMPLING}
    params = {name: value for name, value in settings.items() if name not in SETTINGS | SAMPLING}
    if isinstance(problem, Problem):
        if own or sampling:
            raise UsageError(f"{', '.join([*own, *sampling])} cannot be given beside a Problem; set them in the Problem")
        return _with_user_last(problem), params
    if not isinstance(problem, str | list | tuple):
        raise UsageError(f"the problem must be a text, chat messages or a Problem, got {quote(problem)}")
    return _with_user_last(Problem(messages_of(problem), sampling=Sampling(**sampling), **own)), params


def _with_user_last(problem: Problem) -> Problem:
    """Returns a problem. Raises `UsageError` if it ends with a reply."""
    if problem.messages[-1].role == "assistant" and not problem.raw:
        raise UsageError("the last message must be of the role user, got assistant")
    return problem
