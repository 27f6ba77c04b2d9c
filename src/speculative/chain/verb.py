"""Checks calls of the chain's verbs.

A call must be awaited, and its arguments must have the declared types.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine, Generator, Iterable, Sequence
from functools import partial, wraps
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, cast, get_args
from weakref import ref

from speculative.chain.drafts import Draft
from speculative.chain.forgotten import unstarted_task
from speculative.errors import ChainStateError
from speculative.problem import FinishReason

P = ParamSpec("P")
T_co = TypeVar("T_co", covariant=True)

READS = 10_000
"""The most times that `thinking` and `finish` may be read while the event loop stands still, twice over."""

COMMITTING = frozenset(("write", "answer", "accept", "insert", "resume", "rewind", "become"))
"""Verbs that change the chain."""


class NotAwaited(Coroutine[Any, Any, T_co]):
    """Wraps a verb's coroutine, and finds a call that was never awaited.

    It tells its chain when it is thrown away without an await. The verb's own coroutine is made when this one is awaited: one that
    never runs would have Python warn of it, too.
    """

    __slots__ = ("__weakref__", "_begin", "_calls", "_coroutine", "_task", "_told", "_verb", "_where")

    def __init__(self, verb: str, begin: Callable[[], Coroutine[Any, Any, T_co]], calls: VerbCalls, where: tuple[str, int]) -> None:
        self._verb, self._begin, self._calls, self._where = verb, begin, calls, where
        calls.add(self)
        self._coroutine: Coroutine[Any, Any, T_co] | None = None
        self._task: asyncio.Task[Any] | None = None
        self._told = False

    @property
    def verb(self) -> str:
        """The verb's name."""
        return self._verb

    @property
    def where(self) -> tuple[str, int]:
        """The file and the line that called the verb."""
        return self._where

    def unfinished(self) -> ChainStateError | None:
        """Returns the error about a verb without an await, and cancels the verb.

        Returns None for a verb that is over or was cancelled, and for one that has begun and commits nothing: its cost is counted when the
        chain ends.
        """
        if self._told:
            return None
        if self._coroutine is not None:
            state = inspect.getcoroutinestate(cast("Any", self._coroutine))
            if state == inspect.CORO_CLOSED or self._verb not in COMMITTING:
                return None
        task = self._task or next((task for task in asyncio.all_tasks() if cast("object", task.get_coro()) is self), None)
        if task and task.cancelling():
            return None
        if task and task is not asyncio.current_task():
            task.cancel()
        return self._error()

    def _error(self) -> ChainStateError:
        error = ChainStateError(f"chain.{self._verb}(…) was never awaited; write `await chain.{self._verb}(…)`")
        error.where = self._where
        return error

    def refused(self) -> ChainStateError:
        """Returns the error about a call in place of its result.

        It is told once.
        """
        self._told = True
        return self._error()

    def _begun(self) -> Coroutine[Any, Any, T_co]:
        if self._coroutine is None:
            self._task = asyncio.current_task()
            try:
                self._coroutine = self._begin()
            except BaseException:  # a verb that is not `async` checks its arguments here
                self._told = True
                raise
        return self._coroutine

    def __await__(self) -> Generator[Any, Any, T_co]:
        return self._begun().__await__()

    def send(self, value: Any) -> Any:
        return self._begun().send(value)

    def throw(self, kind: Any, value: Any = None, traceback: TracebackType | None = None) -> Any:
        return self._begun().throw(kind if value is None else value)

    def close(self) -> None:
        self._begun().close()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("cr_"):
            return getattr(self._begun(), name)
        raise AttributeError(f"{name!r} is read before the verb is done; write `await chain.{self._verb}(…)`")

    def __del__(self) -> None:
        self._calls.free(self)
        if self._coroutine is None and not self._told:
            self._calls.forgotten.append(self._error())


class VerbCalls:
    """Keeps the calls of a chain's verbs, and the mistakes that were found in them.

    A child tells its mistakes where its parent does: `forgotten` are those that were not raised yet.
    """

    def __init__(self, parent: VerbCalls | None = None) -> None:
        self.forgotten: list[ChainStateError] = parent.forgotten if parent else []
        self._all: dict[int, ref[NotAwaited[Any]]] = {}

    def add(self, called: NotAwaited[Any]) -> None:
        """Keeps a call until it is freed."""
        self._all[id(called)] = ref(called)

    def free(self, called: NotAwaited[Any]) -> None:
        """Forgets a call."""
        self._all.pop(id(called), None)

    def check_awaited(self) -> None:
        """Raises `ChainStateError` if a verb was called and never awaited."""
        if self.forgotten:
            raise self.forgotten.pop()

    def check_finished(self, chain: object) -> None:
        """Raises `ChainStateError` if a verb or a task of the chain is not done."""
        self.check_awaited()
        calls = list(self._all.values())  # a garbage collection may free some meanwhile
        for called in [called for known in calls if (called := known())]:
            if error := called.unfinished():
                raise error
        if error := unstarted_task(lambda value: value is chain):
            raise error


class HasVerbs(Protocol):
    """Has verbs, and keeps their calls."""

    called: VerbCalls

    def check_verb(self, verb: str) -> None:
        """Raises the first mistake, or the error about a method that gets nowhere."""
        ...


class ExclusiveVerbs:
    """Lets one exclusive verb of a chain work at a time.

    `current` is the verb at work. `interrupted` tells whether the last one was cancelled at its work.
    """

    def __init__(self) -> None:
        self.current: str | None = None
        self.interrupted = False

    def __call__(self, verb: str) -> ExclusiveVerbs:
        """Begins a verb, which ends with the `with` block.

        Raises `ChainStateError` while another one is at work.
        """
        if self.current:
            raise ChainStateError(f"{verb}: {self.current} is still at work on this chain; await it first")
        self.current = verb
        return self

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> None:
        self.current = None
        if kind is None or issubclass(kind, asyncio.CancelledError):
            self.interrupted = kind is not None


C = TypeVar("C", bound=HasVerbs)


def verb(method: Callable[Concatenate[C, P], Coroutine[Any, Any, T_co]]) -> Callable[Concatenate[C, P], Coroutine[Any, Any, T_co]]:
    """Makes a verb of an asynchronous method: a call without an await is found."""
    name = method.__name__

    @wraps(method)
    def call(self: C, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, T_co]:
        self.check_verb(name)
        return NotAwaited(name, partial(method, self, *args, **kwargs), self.called, _line_of_caller())

    return call


def _line_of_caller() -> tuple[str, int]:
    """Returns the file and line from which the calling function was called.

    It keeps no frame: a frame would keep all that its function holds.
    """
    frame = inspect.currentframe()
    caller = frame and frame.f_back and frame.f_back.f_back
    where = (caller.f_code.co_filename, caller.f_lineno) if caller else ("?", 0)
    del frame, caller
    return where


class LoopGuard:
    """Finds a method that reads its chain in a loop and awaits nothing."""

    def __init__(self) -> None:
        self._reads = 0

    def read(self, name: str) -> None:
        """Counts one read of a property.

        Raises `ChainStateError` after too many reads since the event loop last turned.
        """
        self._reads += 1
        if self._reads == READS:
            try:
                asyncio.get_running_loop().call_soon(self._turned)
            except RuntimeError:
                self._reads = 0
        elif self._reads >= 2 * READS:
            self._reads = 0
            raise ChainStateError(f"`chain.{name}` was read {2 * READS} times and nothing was awaited; is an `await` missing in the loop?")

    def _turned(self) -> None:
        self._reads = 0


# ---- arguments ------------------------------------------------------------------------------------------------------


def check_whole(verb: str, least: int | None = 1, **counts: object) -> None:
    """Raises `ChainStateError` unless each count is an integer, at least `least`.

    None is allowed.
    """
    for name, count in counts.items():
        if count is None:
            continue
        if isinstance(count, bool) or not isinstance(count, int):
            raise mistyped(verb, name, "an integer", count)
        if least is not None and count < least:
            raise ChainStateError(f"{verb}: {name} must be at least {least}, got {count}")


def check_logprobs(verb: str, value: object) -> None:
    """Raises `ChainStateError` unless the value is a bool or a number of tokens."""
    if not isinstance(value, bool):
        check_type(verb, int, "true, false or an integer", needed=True, logprobs=value)
        check_whole(verb, logprobs=value)


def check_number(verb: str, **numbers: object) -> None:
    """Raises `ChainStateError` unless each value is a number from 0 to 100.

    None is allowed.
    """
    for name, value in numbers.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise mistyped(verb, name, "a number", value)
        if value is not None and not 0 <= value <= 100:  # NaN is neither
            raise ChainStateError(f"{verb}: {name} must be at least 0 and at most 100, got {show(value)}")


def check_stop(reason: object, finish: object) -> None:
    """Raises `ChainStateError` for arguments that cannot end the thinking."""
    check_type("stop", str, "a text", reason=reason)
    reasons = [one for one in get_args(FinishReason) if one != "cancelled"]
    if finish not in reasons:
        raise ChainStateError(f"stop: finish must be one of {', '.join(reasons)}, got {show(finish)}")


def check_type(verb: str, kind: type | tuple[type, ...], called: str, *, needed: bool = False, **values: object) -> None:
    """Raises `ChainStateError` for a value of another type.

    None is allowed, unless a value is needed.
    """
    for name, value in values.items():
        if value is None and needed:
            raise ChainStateError(f"{verb}: {name} must be given, got None")
        if value is not None and not isinstance(value, kind):
            raise mistyped(verb, name, called, value)
        if isinstance(value, str):
            check_unicode(verb, name, value)


def check_unicode(verb: str, name: str, text: str) -> None:
    """Raises `ChainStateError` for a lone surrogate, which no tokenizer can take."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ChainStateError(f"{verb}: {name} must be valid Unicode, got half a character at {error.start}") from None


def check_predicate(verb: str, **values: object) -> None:
    """Raises `ChainStateError` unless each value is a plain function of a text.

    None is allowed, an asynchronous function is not.
    """
    for name, value in values.items():
        if value is not None and (not callable(value) or inspect.iscoroutinefunction(value)):
            raise mistyped(verb, name, "a plain function of a text", value)


def texts_of(verb: str, name: str, given: object) -> tuple[str, ...]:
    """Returns several texts; those of one text are its characters.

    Raises `ChainStateError` for anything else.
    """
    found = tuple(cast("Sequence[object]", given)) if isinstance(given, Sequence) else (given,)
    for text in found:
        if not isinstance(text, str):
            raise mistyped(verb, name, "texts", text)
        check_unicode(verb, name, text)
    return cast("tuple[str, ...]", found)


def check_differ(verb: str, name: str, texts: Sequence[str]) -> None:
    """Raises `ChainStateError` for a text that is given twice."""
    if twice := next((text for place, text in enumerate(texts) if text in texts[:place]), None):
        raise ChainStateError(f"{verb}: {name} must differ, got {show(twice)} twice")


def stop_strings(verb: str, stop: object) -> tuple[str, ...]:
    """Returns the strings that end a text: one, or several.

    Raises `ChainStateError` for anything else.
    """
    if stop is None:
        return ()
    if not isinstance(stop, str | list | tuple):
        raise mistyped(verb, "stop", "a text or a list of texts", stop)
    stops = texts_of(verb, "stop", [stop] if isinstance(stop, str) else cast("object", stop))
    if "" in stops:
        raise ChainStateError(f"{verb}: stop must not be empty, got ''; leave it out")
    return stops


def drafts_of(verb: str, name: str, given: object, *, only_several: bool = False) -> list[Draft]:
    """Returns the given drafts as a list: one, or several.

    Raises `ChainStateError` for anything else.
    """
    if only_several and (isinstance(given, str) or not isinstance(given, Sequence)):
        raise mistyped(verb, name, "drafts", given)
    several = isinstance(given, Iterable) and not isinstance(given, str)
    found: list[Any] = list(cast("Iterable[object]", given)) if several else [given]
    for one in found:
        if not isinstance(one, Draft):
            raise mistyped(verb, name, "a draft", one)
    return found


def mistyped(verb: str, name: str, must: str, value: object) -> ChainStateError:
    """Returns the error about an argument of another type.

    It names the `await` that is missing, if the argument is work that was not awaited.
    """
    if isinstance(value, NotAwaited):
        return cast("NotAwaited[Any]", value).refused()
    if inspect.iscoroutine(value):
        called = value.__qualname__.rpartition("<locals>.")[2]
        value.close()
        return ChainStateError(f"{verb}: {name} must be {must}, and {called}(…) was never awaited; write `await {called}(…)`")
    if isinstance(value, asyncio.Future):
        cast("asyncio.Future[Any]", value).cancel()
        return ChainStateError(f"{verb}: {name} must be {must}, and the task was never awaited; write `await task`")
    return ChainStateError(f"{verb}: {name} must be {must}, got {show(value)}")


def show(value: object) -> str:
    """Returns a value as an error names it, in one short line."""
    if isinstance(value, list | tuple | dict | set):
        return f"a {type(cast('object', value)).__name__}"
    try:
        text = " ".join(repr(value).split())
    except ValueError:  # Python spells no number of thousands of digits
        return f"a very long {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:80]}…"
