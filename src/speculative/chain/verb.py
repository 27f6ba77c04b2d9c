"""A call of one of the chain's verbs: it has to be awaited, and its arguments have to be what they are called."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine, Generator, Iterable, Sequence
from functools import partial, wraps
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, cast

from speculative.chain.drafts import Draft
from speculative.errors import ChainStateError

P = ParamSpec("P")
T_co = TypeVar("T_co", covariant=True)

READS = 10_000
"""So often `thinking` may be read while the event loop stands still, twice over."""

IDLE = 1000
"""So many verbs in a row may do nothing, and so many texts be inserted where no model writes any."""

GIVE_UP = 100
"""After so many verbs in a row without room the thinking is over."""


class NotAwaited(Coroutine[Any, Any, T_co]):
    """What a verb gives: a coroutine that tells its chain when it is thrown away without having been awaited.

    The verb's own coroutine is made when this one is awaited: one that never runs would have Python warn of it, too.
    """

    __slots__ = ("_begin", "_coroutine", "_forgotten", "_verb", "_where")

    def __init__(
        self, verb: str, begin: Callable[[], Coroutine[Any, Any, T_co]], forgotten: list[ChainStateError], where: tuple[str, int]
    ) -> None:
        self._verb, self._begin, self._forgotten, self._where = verb, begin, forgotten, where
        self._coroutine: Coroutine[Any, Any, T_co] | None = None

    def _begun(self) -> Coroutine[Any, Any, T_co]:
        if self._coroutine is None:
            self._coroutine = self._begin()
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
        if self._coroutine is None:
            error = ChainStateError(f"chain.{self._verb}(…) was never awaited; write `await chain.{self._verb}(…)`")
            error.where = self._where
            self._forgotten.append(error)


class HasVerbs(Protocol):
    """Whatever has verbs: `forgotten` are the mistakes that were found and not told yet."""

    forgotten: list[ChainStateError]

    def check_awaited(self) -> None:
        """Raises the first mistake."""
        ...


C = TypeVar("C", bound=HasVerbs)


def verb(method: Callable[Concatenate[C, P], Coroutine[Any, Any, T_co]]) -> Callable[Concatenate[C, P], Coroutine[Any, Any, T_co]]:
    """Makes a verb of an asynchronous method: a call of it that nobody awaits is found."""
    name = method.__name__

    @wraps(method)
    def call(self: C, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, T_co]:
        self.check_awaited()
        return NotAwaited(name, partial(method, self, *args, **kwargs), self.forgotten, _line_of_caller())

    return call


def _line_of_caller() -> tuple[str, int]:
    """File and line from which the function that asks was called. It keeps no frame: a frame would keep all that its function holds."""
    frame = inspect.currentframe()
    caller = frame and frame.f_back and frame.f_back.f_back
    where = (caller.f_code.co_filename, caller.f_lineno) if caller else ("?", 0)
    del frame, caller
    return where


class LoopGuard:
    """Finds a method that looks at its chain again and again and never lets anything happen."""

    def __init__(self) -> None:
        self._reads = 0

    def read(self) -> None:
        """Counts one look. Raises `ChainStateError` when there were too many since the event loop last turned."""
        self._reads += 1
        if self._reads == READS:
            try:
                asyncio.get_running_loop().call_soon(self._turned)
            except RuntimeError:
                self._reads = 0
        elif self._reads >= 2 * READS:
            self._reads = 0
            raise ChainStateError(
                f"`chain.thinking` was read {2 * READS} times and nothing was awaited; is an `await` missing in the loop?"
            )

    def _turned(self) -> None:
        self._reads = 0


# ---- arguments ------------------------------------------------------------------------------------------------------


def check_whole(verb: str, least: int | None = 1, **counts: object) -> None:
    """Raises `ChainStateError` for what is given and is no whole number, or one below the least."""
    for name, count in counts.items():
        if count is None:
            continue
        if isinstance(count, bool) or not isinstance(count, int):
            raise ChainStateError(f"{verb}: {name} must be a whole number, got {show(count)}")
        if least is not None and count < least:
            raise ChainStateError(f"{verb}: {name} must be at least {least}, got {count}")


def check_number(verb: str, **numbers: object) -> None:
    """Raises `ChainStateError` for what is given and is no number."""
    for name, value in numbers.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise ChainStateError(f"{verb}: {name} must be a number, got {show(value)}")


def check_type(verb: str, kind: type | tuple[type, ...], called: str, **values: object) -> None:
    """Raises `ChainStateError` for what is given and is of another type."""
    for name, value in values.items():
        if value is not None and not isinstance(value, kind):
            raise ChainStateError(f"{verb}: {name} must be {called}, got {show(value)}")


def check_predicate(verb: str, **values: object) -> None:
    """Raises `ChainStateError` for what is given and cannot be called with a text, or is asynchronous."""
    for name, value in values.items():
        if value is not None and (not callable(value) or inspect.iscoroutinefunction(value)):
            raise ChainStateError(f"{verb}: {name} must be a plain function of a text, got {show(value)}")


def texts_of(verb: str, name: str, given: object) -> tuple[str, ...]:
    """Returns several texts; those of one text are its characters. Raises `ChainStateError` for anything else."""
    found = tuple(cast("Sequence[object]", given)) if isinstance(given, Sequence) else (given,)
    for text in found:
        if not isinstance(text, str):
            raise ChainStateError(f"{verb}: {name} must be texts, got {show(text)}")
    return cast("tuple[str, ...]", found)


def stop_strings(verb: str, stop: object) -> tuple[str, ...]:
    """Returns the strings that end a text: one, or several. Raises `ChainStateError` for anything else."""
    if isinstance(stop, str) or stop is None:
        return (stop,) if stop else ()
    if not isinstance(stop, list | tuple):
        raise ChainStateError(f"{verb}: stop must be a text, got {show(stop)}")
    return tuple(text for text in texts_of(verb, "stop", cast("object", stop)) if text)


def drafts_of(verb: str, name: str, given: object) -> list[Draft]:
    """The drafts that are given: one, or several. Raises `ChainStateError` for anything else."""
    several = isinstance(given, Iterable) and not isinstance(given, str)
    found: list[Any] = list(cast("Iterable[object]", given)) if several else [given]
    for one in found:
        if not isinstance(one, Draft):
            raise ChainStateError(f"{verb}: {name} must be a draft, got {show(one)}")
    return found


def show(value: object) -> str:
    """A value as an error names it, in one short line."""
    if isinstance(value, list | tuple | dict | set):
        return f"a {type(cast('object', value)).__name__}"
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:80]}…"
