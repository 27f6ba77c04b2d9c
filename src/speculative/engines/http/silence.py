"""A deadline that begins again whenever something comes: one timer, moved on when it rings, not one for each thing that comes."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

NEVER = math.inf


class Silence:
    """Calls `broken` when nothing came for `seconds`, and again after as long, until it is stopped.

    `since`: when it became silent, by `clock`; whoever hears something sets it, to `NEVER` while nothing is expected.
    """

    def __init__(self, seconds: float, broken: Callable[[], None]) -> None:
        self._seconds, self._broken = seconds, broken
        self._loop = asyncio.get_running_loop()
        self.clock = self._loop.time
        self.since = self.clock()
        self._timer = self._loop.call_later(seconds, self._rung)

    def stop(self) -> None:
        """Nothing is waited for any more. Who would have been called is let go: no garbage is left that only a collector finds."""
        self._timer.cancel()
        self._broken = _nobody

    def _rung(self) -> None:
        left = min(self._seconds, self.since + self._seconds - self.clock())
        if left <= 0:
            self._broken()
            self.since, left = self.clock(), self._seconds
        self._timer = self._loop.call_later(left, self._rung)


def _nobody() -> None: ...
