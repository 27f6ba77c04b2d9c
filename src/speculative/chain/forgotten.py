"""Work that a method's author forgot to await: verbs, coroutines and tasks."""

from __future__ import annotations

import asyncio
import inspect
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from speculative.chain.author_tasks import STARTED, WATCHED, AuthorCoroutine, Forgotten, VerbCall
from speculative.chain.authors import is_authors, line_at_work, line_of
from speculative.errors import ChainStateError, EngineError

HOOK = "_warn_unawaited_coroutine"
"""The function of `warnings` that the interpreter calls where a coroutine is freed that never ran."""


@contextmanager
def watch_coroutines(forgotten: Forgotten) -> Generator[None]:
    """Makes an error of each coroutine or gathering that was never awaited.

    Only the author's work counts, inside the block. Python itself only warns of it, once a line, and a warning cannot end a method.
    """
    _hook_warning()
    _watch_loop(asyncio.get_running_loop())
    token = WATCHED.set(forgotten)
    try:
        yield
    finally:
        WATCHED.reset(token)


def unstarted_task(belongs: Callable[[object], bool]) -> ChainStateError | None:
    """Finds a task of the author's that has not begun, and cancels it.

    The task has an argument that belongs to the chain. Returns the error about it, or None.
    """
    for task in [task for task in STARTED if isinstance(task, asyncio.Task)]:  # all tasks of a loop would be those of all chains
        coroutine: Any = task.get_coro()
        coroutine = coroutine.inner if isinstance(coroutine, AuthorCoroutine) else coroutine
        if not inspect.iscoroutine(coroutine) or inspect.getcoroutinestate(coroutine) != inspect.CORO_CREATED:
            continue
        code, arguments = coroutine.cr_code, inspect.getcoroutinelocals(coroutine)
        if is_authors(code.co_filename) and any(map(belongs, arguments.values())):
            task.cancel()
            return never_awaited(coroutine, f"the task of {coroutine.__qualname__}(…) was never awaited; write `await task`")
    return None


def never_awaited(coroutine: Any, told: str, where: tuple[str, int] | None = None) -> ChainStateError:
    """Returns the error about a coroutine, at `where` or else at its definition."""
    error = ChainStateError(told)
    error.where = where or (coroutine.cr_code.co_filename, coroutine.cr_code.co_firstlineno)
    return error


def _hook_warning() -> None:
    """Checks the author's coroutines before Python's own warning does.

    The hook is set once for a process. It is called in the context of the code that freed the coroutine, so it finds the chain. A
    handler of warnings would miss all but the first at a line.
    """
    warn: Any = getattr(warnings, HOOK, None)
    if warn is None or getattr(warn, "of_chain", False):
        return

    def look(coroutine: Any) -> None:
        forgotten = WATCHED.get()
        if forgotten is None or not is_authors(coroutine.cr_code.co_filename):
            warn(coroutine)
            return
        name = coroutine.__qualname__.rpartition("<locals>.")[2]
        forgotten.append(never_awaited(coroutine, f"{name}(…) was never awaited; write `await {name}(…)`", line_at_work()))

    look.of_chain = True  # type: ignore[attr-defined]
    setattr(warnings, HOOK, look)


def _watch_loop(loop: asyncio.AbstractEventLoop) -> None:
    """Makes an error of a failed `asyncio.gather(…)` that was never awaited.

    Asyncio prints a traceback there. It is set once for a loop. The children were cancelled because an error was told, they failed at
    a server (which the trace has), or their error is a new one.
    """
    before: Any = loop.get_exception_handler()
    if getattr(before, "of_chain", False):
        return

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        future, failure = context.get("future"), context.get("exception")
        children: list[Any] = [child for child in getattr(future, "_children", ()) if child in STARTED]
        if not children:
            if before:
                before(loop, context)
            else:
                loop.default_exception_handler(context)
            return
        forgotten = STARTED[children[0]]
        if forgotten is not None and isinstance(failure, Exception) and not isinstance(failure, EngineError):
            said = f"{type(failure).__name__}: {failure}" if str(failure) else type(failure).__name__
            error = ChainStateError(f"asyncio.gather(…) failed and was never awaited: {said}; write `await asyncio.gather(…)`")
            calls: list[Any] = [child.get_coro() for child in children]
            called = next((call.where for call in calls if isinstance(call, VerbCall)), None)
            error.where = getattr(failure, "where", None) or called or line_of(failure) or line_at_work()
            forgotten.append(error)

    handle.of_chain = True  # type: ignore[attr-defined]
    loop.set_exception_handler(handle)
