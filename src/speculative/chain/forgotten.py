"""Work that a method's author forgot to await: verbs, coroutines and tasks."""

from __future__ import annotations

import asyncio
import inspect
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from speculative._authors import is_authors, line_at_work
from speculative.chain.author_tasks import AuthorCoroutine
from speculative.errors import ChainStateError

Forgotten = list[ChainStateError]
"""The mistakes that were found and not told yet."""

HOOK = "_warn_unawaited_coroutine"
"""The function of `warnings` that the interpreter calls where a coroutine is freed that never ran."""

_WATCHED: ContextVar[Forgotten | None] = ContextVar("watched", default=None)


@contextmanager
def watch_coroutines(forgotten: Forgotten) -> Generator[None]:
    """Makes an error of each coroutine that is thrown away and was never awaited.

    Only the author's coroutines count, inside the block. Python itself only warns of it, once a line, and a warning cannot end a method.
    """
    _hook_warning()
    token = _WATCHED.set(forgotten)
    try:
        yield
    finally:
        _WATCHED.reset(token)


def unstarted_task(belongs: Callable[[object], bool]) -> ChainStateError | None:
    """Finds a task of the author's that has not begun, and cancels it.

    The task has an argument that belongs to the chain. Returns the error about it, or None.
    """
    for task in asyncio.all_tasks():
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
        forgotten = _WATCHED.get()
        if forgotten is None or not is_authors(coroutine.cr_code.co_filename):
            warn(coroutine)
            return
        name = coroutine.__qualname__.rpartition("<locals>.")[2]
        forgotten.append(never_awaited(coroutine, f"{name}(…) was never awaited; write `await {name}(…)`", line_at_work()))

    look.of_chain = True  # type: ignore[attr-defined]
    setattr(warnings, HOOK, look)
