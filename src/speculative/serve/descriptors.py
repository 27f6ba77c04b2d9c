"""Limits connections so that file descriptors are left for models and the log."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sized
from contextlib import suppress
from typing import Any, Protocol, cast

from speculative.serve.logs import log

try:
    import resource
except ImportError:  # Windows has no such limit
    resource = None

UNLIMITED = 1 << 20
QUIET = 60.0
"""Seconds between two lines in the log that say the same."""
BUSY = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nretry-after: 1\r\nconnection: close\r\n\r\n"


def descriptor_limit() -> int:
    """Returns how many file descriptors this process may have open."""
    if resource is None:
        return UNLIMITED
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return UNLIMITED if soft == resource.RLIM_INFINITY else min(soft, UNLIMITED)


def raise_descriptor_limit() -> None:
    """Raises the limit to the most that the system allows without further rights."""
    if resource is not None:
        with suppress(OSError, ValueError):  # macOS calls its limit infinite, and takes less
            hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class ServerState(Protocol):
    """The connections that the server has open."""

    @property
    def connections(self) -> Sized: ...


class ConnectionLimit:
    """Makes the protocol of each new connection, and closes connections above a limit.

    Half of the descriptors are for connections, and a quarter for those that the system has accepted and not handed over yet. The
    rest is for the models: loading them opens files, and each chain needs a connection to their servers.
    """

    def __init__(self, make: Callable[..., asyncio.Protocol]) -> None:
        self._make = make
        self._most = max(8, descriptor_limit() // 2)
        self.backlog = max(8, descriptor_limit() // 4)
        self._told = -QUIET

    def __call__(self, *, server_state: ServerState, **rest: Any) -> asyncio.Protocol:
        """Makes the protocol of one connection."""
        if len(server_state.connections) < self._most:
            return self._make(server_state=server_state, **rest)
        if time.monotonic() - self._told >= QUIET:
            self._told = time.monotonic()
            log("too many connections", 30, open=self._most, descriptors=descriptor_limit())
        return TurnedAway()


class TurnedAway(asyncio.Protocol):
    """A connection that is closed at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        stream = cast("asyncio.WriteTransport", transport)
        stream.write(BUSY)
        stream.close()
