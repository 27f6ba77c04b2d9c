"""Tasks that a method's author starts.

None of them ends the program, and none fails in silence.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from types import CodeType, TracebackType
from typing import Any, Protocol, runtime_checkable
from weakref import WeakKeyDictionary

from speculative.chain.authors import is_authors, line_of
from speculative.errors import ChainStateError, EngineError

Tasks = list[asyncio.Task[Any]]

Forgotten = list[ChainStateError]
"""The mistakes that were found and not raised yet."""

WATCHED: ContextVar[Forgotten | None] = ContextVar("watched", default=None)
"""The place of the mistakes of the method at work."""

STARTED: WeakKeyDictionary[asyncio.Future[Any], Forgotten | None] = WeakKeyDictionary()
"""All tasks that authors started and that are not freed, and the places of their mistakes."""

_STARTED: ContextVar[Tasks | None] = ContextVar("started", default=None)


@runtime_checkable
class VerbCall(Protocol):
    """A call of a chain's verb, as a task's work."""

    @property
    def verb(self) -> str:
        """The verb's name."""
        ...

    @property
    def where(self) -> tuple[str, int]:
        """The file and the line that called the verb."""
        ...


class AuthorCoroutine(Coroutine[Any, Any, Any]):
    """Runs an author's coroutine, and makes an error of its `SystemExit`.

    In a task that exception stops the event loop, past everybody who awaits the task.
    """

    def __init__(self, inner: Coroutine[Any, Any, Any]) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def __await__(self) -> Generator[Any, Any, Any]:
        return self.inner.__await__()

    def send(self, value: Any) -> Any:
        try:
            return self.inner.send(value)
        except SystemExit as raised:
            raise _exit(raised) from raised

    def throw(self, typ: Any, val: Any = None, tb: TracebackType | None = None) -> Any:
        try:
            return self.inner.throw(typ if val is None else val)
        except SystemExit as raised:
            raise _exit(raised) from raised

    def close(self) -> None:
        self.inner.close()


@contextmanager
def watch_tasks() -> Generator[Tasks]:
    """Collects the tasks that the author's code starts inside the block."""
    _watch_loop(asyncio.get_running_loop())
    tasks: Tasks = []
    token = _STARTED.set(tasks)
    try:
        yield tasks
    finally:
        _STARTED.reset(token)


def failed_task(tasks: Tasks) -> ChainStateError | None:
    """Returns the error about the first task that failed and was never awaited."""
    for task in tasks:
        if not task.done() or task.cancelled() or not getattr(task, "_log_traceback", False):  # cleared where its error was received
            continue
        failure = task.exception()
        if failure is None or isinstance(failure, EngineError):  # the trace has the failed call
            continue
        work: Any = task.get_coro()
        name = work.__qualname__.rpartition("<locals>.")[2] if isinstance(work, AuthorCoroutine) else f"chain.{work.verb}"
        said = f"{type(failure).__name__}: {failure}" if str(failure) else type(failure).__name__
        error = ChainStateError(f"the task of {name}(…) failed and was never awaited: {said}; write `await task`")
        error.where = getattr(failure, "where", None) or line_of(failure) or getattr(work, "where", None)
        error.__cause__ = failure
        return error
    return None


def _exit(raised: SystemExit) -> ChainStateError:
    code = "" if raised.code is None else f": {raised.code}"
    error = ChainStateError(f"SystemExit{code}")
    error.where = line_of(raised)
    return error


def _watch_loop(loop: asyncio.AbstractEventLoop) -> None:
    """Makes a loop pass the author's coroutines through `AuthorCoroutine`.

    It is set once for a loop. Tasks that no watched method starts are made as before.
    """
    before: Any = loop.get_task_factory()
    if getattr(before, "of_chain", False):
        return
    make: Callable[..., Any] = before or _plain_task

    def factory(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> Any:
        tasks = _STARTED.get()
        if tasks is None:
            return make(loop, work, **options)
        if inspect.iscoroutine(work):
            if not _in_authors_file(work.cr_code):  # as the library's own, one for each call to an engine
                return make(loop, work, **options)
            work = AuthorCoroutine(work)
        elif not isinstance(work, VerbCall):
            return make(loop, work, **options)
        tasks.append(task := make(loop, work, **options))
        STARTED[task] = WATCHED.get()
        return task

    factory.of_chain = True  # type: ignore[attr-defined]
    loop.set_task_factory(factory)


@lru_cache(1024)
def _in_authors_file(code: CodeType) -> bool:
    return is_authors(code.co_filename)


def _plain_task(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Task[Any]:
    return asyncio.Task(work, loop=loop, **options)
