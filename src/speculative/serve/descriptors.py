"""Limits connections so that file descriptors are left for models and the log."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

from speculative.serve.logs import log

try:
    import resource
except ImportError:  # Windows has no such limit
    resource = None

UNLIMITED = 1 << 20
LOG_INTERVAL_S = 60.0
"""Seconds between two equal lines in the log."""
BUSY = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nretry-after: 1\r\nconnection: close\r\n\r\n"


def raise_descriptor_limit() -> int:
    """Raises the limit of open files to the system's own, and returns it."""
    if resource is None:
        return UNLIMITED
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # macOS calls its limit infinite, and takes less
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    return UNLIMITED if soft == resource.RLIM_INFINITY else min(soft, UNLIMITED)


def connection_backlog() -> int:
    """Returns how many connections may wait: they hold descriptors too."""
    return min(2048, max(8, raise_descriptor_limit() // 4))


class ConnectionLimit:
    """Makes the protocol of each new connection, and closes connections above a limit.

    Half of the descriptors are for connections, and a quarter for those that the system has accepted and not handed over yet. The
    rest is for the models: loading them opens files, and each chain needs a connection to their servers.
    """

    def __init__(self, make: Callable[..., asyncio.Protocol]) -> None:
        self._make = make
        self._descriptors = raise_descriptor_limit()
        self._most = max(8, self._descriptors // 2)
        self._log_after = 0.0

    def __call__(self, *, server_state: Any, **rest: Any) -> asyncio.Protocol:
        """Makes the protocol of one connection."""
        if len(server_state.connections) < self._most:
            return self._make(server_state=server_state, **rest)
        if time.monotonic() >= self._log_after:
            self._log_after = time.monotonic() + LOG_INTERVAL_S
            log("too many connections", 30, open=self._most, descriptors=self._descriptors)
        return TurnedAway()


class TurnedAway(asyncio.Protocol):
    """A connection that is closed at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        stream = cast("asyncio.WriteTransport", transport)
        stream.write(BUSY)
        stream.close()
