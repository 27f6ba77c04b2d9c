"""The process: a socket, uvicorn around the application, and an orderly end."""

from __future__ import annotations

import asyncio
import math
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import Any, cast

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from speculative.engines.options import EngineOptions
from speculative.errors import EngineClosedError, UsageError
from speculative.pair import Pair
from speculative.redaction import Redactor
from speculative.serve.app import create_app
from speculative.serve.descriptors import ConnectionLimit, connection_backlog
from speculative.serve.logs import log, set_up, take_down
from speculative.serve.state import PairOpener, ServiceState
from speculative.settings import Settings

KEEP_ALIVE_S = 75
"""Seconds that an idle connection stays open. Clients close theirs earlier, so no request meets a closed connection."""
GRACE_S = 2
"""Seconds after the drain in which cancelled chains may send their error."""

Extension = Callable[[FastAPI, Callable[[], None]], None]
"""Adds routes to an application; the second argument stops the service."""


class DrainingServer(uvicorn.Server):
    """Drains at a signal: running chains have `drain` seconds to finish.

    No new chain begins. A second signal ends those that run.
    """

    def __init__(self, config: uvicorn.Config, state: ServiceState) -> None:
        super().__init__(config)
        self.state = state
        self.loop: asyncio.AbstractEventLoop | None = None

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serves until the process gets a signal."""
        self.loop = asyncio.get_running_loop()
        await super().serve(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Lets running chains finish in time, then closes the engines."""
        log("draining", chains=self.state.queue.running, seconds=self.state.settings.drain)
        self.state.close()
        asyncio.get_running_loop().call_later(self.state.settings.drain, self.state.queue.abort)
        await super().shutdown(sockets)
        log("stopped")

    def stop(self) -> None:
        """Begins the drain."""
        self.should_exit = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Handles a signal. After the drain the process ends without an error."""
        if self.should_exit and self.loop:
            self.loop.call_soon_threadsafe(self.state.queue.abort)
        self.should_exit = True


def serve(settings: Settings, open_pair: PairOpener | None = None, *, extensions: Sequence[Extension] = ()) -> None:
    """Runs the service until SIGTERM or Ctrl-C.

    Raises:
        UsageError: a setting is wrong, or the port is taken.
        SpeculativeError: the pair cannot be opened.
    """
    server = make_server(settings, open_pair, extensions=extensions)
    bound = bind(settings)
    host, port = bound.getsockname()[:2]
    handler = set_up(settings.log_level, Redactor(settings.keys()))
    try:
        log("listening", url=f"http://{f'[{host}]' if ':' in host else host}:{port}/v1", authentication=bool(server.state.keys))
        server.run(sockets=[bound])
    finally:
        take_down(handler)
        bound.close()
    if server.state.failure:
        raise server.state.failure


def make_server(settings: Settings, open_pair: PairOpener | None = None, *, extensions: Sequence[Extension] = ()) -> DrainingServer:
    """Makes the server, not yet running. Raises `UsageError`.

    Without `open_pair` it opens the engines of the settings.
    """

    def stop() -> None:
        server.stop()

    app = create_app(settings, open_pair or pair_opener(settings), on_failure=stop)
    for extend in extensions:
        extend(app, stop)
    config = uvicorn.Config(
        app,
        http=cast("Any", ConnectionLimit(HttpToolsProtocol)),
        log_config=None,
        access_log=False,
        backlog=connection_backlog(),
        lifespan="on",
        ws="none",
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=math.ceil(settings.drain) + GRACE_S,
    )
    server = DrainingServer(config, app.state.service)
    return server


def pair_opener(settings: Settings, flags: Mapping[str, EngineOptions] | None = None) -> PairOpener:
    """Makes the opener of the settings' engines.

    It works in a thread, since weights and servers take their time. When it is cancelled, the thread ends the servers that it has
    started, the next time that it reports its progress.
    """
    ended = threading.Event()

    def report(line: str) -> None:
        if ended.is_set():
            raise EngineClosedError("the service was stopped while its models were loading")
        log("loading", 10, progress=line)

    async def open_pair() -> Pair:
        try:
            return await asyncio.to_thread(settings.pair, flags, report)
        except asyncio.CancelledError:
            ended.set()
            raise

    return open_pair


def bind(settings: Settings) -> socket.socket:
    """Makes the socket to listen on. Raises `UsageError` for a bad host or port.

    From now on connections wait for the application.
    """
    try:
        known = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise UsageError(f"host {settings.host!r}: {error.strerror or error}") from None
    family, address = known[0][0], known[0][4]
    try:
        both = family == socket.AF_INET6 and socket.has_dualstack_ipv6()
        return socket.create_server(cast("Any", address[:2]), family=family, backlog=connection_backlog(), dualstack_ipv6=both)
    except OSError as error:
        raise UsageError(f"port {settings.port} of {settings.host}: {error.strerror or error}; choose another with --port") from None
