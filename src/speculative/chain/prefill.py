"""Warm-ups in the background: an idle model is given what it has not seen, so that a hand-over finds its prefix computed."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


class Warming:
    """Which of the chain's tokens each role has been given, and the warm-ups under way: one for a role at a time."""

    def __init__(self, every: int) -> None:
        self.every = every
        self._seen: dict[str, int] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def saw(self, role: str, tokens: int) -> None:
        """A role has been given, or has written, so many tokens of the chain."""
        self._seen[role] = max(tokens, self._seen.get(role, 0))

    def taken_back(self, tokens: int) -> None:
        """Only so many tokens are left of what had been given."""
        self._seen = {role: min(seen, tokens) for role, seen in self._seen.items()}

    def due(self, role: str, tokens: int) -> bool:
        return bool(self.every) and tokens - self._seen.get(role, 0) >= self.every and role not in self._tasks

    def begin(self, role: str, tokens: int, work: Coroutine[Any, Any, None]) -> None:
        """Starts a warm-up with so many tokens of the chain. Nobody waits for it."""
        self.saw(role, tokens)
        self._tasks[role] = task = asyncio.create_task(work)
        task.add_done_callback(lambda _: self._tasks.pop(role))

    async def close(self) -> None:
        """Cancels what is under way and waits until its cost is taken down. Nothing begins any more, whoever still writes."""
        self.every = 0
        for task in (tasks := list(self._tasks.values())):
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
