"""A deadline that begins again whenever something comes: one timer, moved on when it rings, not one for each thing that comes."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable


class Silence:
    """Calls `broken` when nothing came for `seconds`, and again after as long, until it is stopped. It listens from the start."""

    def __init__(self, seconds: float, broken: Callable[[], None]) -> None:
        self._seconds, self._broken = seconds, broken
        self._loop = asyncio.get_running_loop()
        self._since = self._loop.time()
        self._timer = self._loop.call_later(seconds, self._rung)

    def listen(self) -> None:
        """From now on it is silent."""
        self._since = self._loop.time()

    def pause(self) -> None:
        """Nothing is expected until `listen` is called."""
        self._since = math.inf

    def stop(self) -> None:
        self._timer.cancel()

    def _rung(self) -> None:
        left = min(self._seconds, self._since + self._seconds - self._loop.time())
        if left <= 0:
            self._broken()
            self.listen()
            left = self._seconds
        self._timer = self._loop.call_later(left, self._rung)
