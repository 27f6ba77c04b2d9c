"""Calls the watchers of a chain after each completed step."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

from speculative.chain.verb import show
from speculative.errors import ChainStateError

C = TypeVar("C")


class Watchers(Generic[C]):
    """Holds the watchers of a chain; a child begins with those of its parent."""

    def __init__(self, parent: Watchers[C] | None = None) -> None:
        self._all: list[Callable[[C], Awaitable[None]]] = parent.copied() if parent else []

    def __bool__(self) -> bool:
        return bool(self._all)

    def copied(self) -> list[Callable[[C], Awaitable[None]]]:
        """Returns the watchers in a list of their own."""
        return list(self._all)

    def add(self, watcher: Callable[[C], Awaitable[None]]) -> None:
        """Adds a watcher. Raises `ChainStateError` for one that is not asynchronous."""
        plain = inspect.isfunction(watcher) and watcher.__name__ != "<lambda>" and not hasattr(watcher, "__wrapped__")
        if not callable(watcher) or inspect.isbuiltin(watcher) or (plain and not inspect.iscoroutinefunction(watcher)):
            raise ChainStateError(f"at_step: watcher must be an async function, got {show(watcher)}")
        self._all.append(watcher)

    async def call(self, chain: C, steps: int) -> None:
        """Calls every watcher, if the commit completed any steps."""
        for watcher in self._all if steps else ():
            watching: Any = watcher(chain)
            if not inspect.isawaitable(watching):
                raise ChainStateError(f"at_step: watcher must be an async function, got {show(watcher)}")
            await watching
