"""The process: a socket, uvicorn around the application, and an end in good order."""

from __future__ import annotations

import asyncio
import gc
import math
import socket
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from types import FrameType

import uvicorn

from speculative.engines.options import EngineOptions
from speculative.errors import EngineClosedError, UsageError
from speculative.pair import Pair
from speculative.serve.app import create_app
from speculative.serve.connection import connection
from speculative.serve.door import Door, Opener
from speculative.serve.logs import Scrubber, log, set_up, take_down
from speculative.settings import Settings
from speculative.splitreason.service import FirstService

BACKLOG = 2048
KEEP_ALIVE = 75
"""Seconds that an idle connection stays open: longer than clients keep theirs, or one would be closed under their next request."""
YOUNG = 20_000
"""New objects after which the collector of garbage looks for rings; a request makes hundreds, and leaves no ring."""
GRACE = 2
"""Seconds after the drain in which cancelled chains may say so to their clients."""


class Server(uvicorn.Server):
    """Drains when it is told to stop: running chains have `drain` seconds, nothing new begins. A second signal ends them now."""

    def __init__(self, config: uvicorn.Config, door: Door) -> None:
        super().__init__(config)
        self.door = door
        self._loop: asyncio.AbstractEventLoop | None = None

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Until it is told to stop."""
        self._loop = asyncio.get_running_loop()
        await super().serve(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Lets running chains finish, ends those that take too long, then closes the engines."""
        log("draining", chains=self.door.admission.running, seconds=self.door.settings.drain)
        self.door.admission.close()
        asyncio.get_running_loop().call_later(self.door.settings.drain, self.door.admission.abort)
        await super().shutdown(sockets)
        log("stopped")

    def stop(self) -> None:
        """Begins the drain."""
        self.should_exit = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal. It is not raised again at the end: a drained service has done what it was asked to."""
        if self.should_exit and self._loop:
            self._loop.call_soon_threadsafe(self.door.admission.abort)
        self.should_exit = True


def serve(settings: Settings, opener: Opener | None = None, *, first: FirstService | None = None, shutdown: bool = False) -> None:
    """Runs the service until SIGTERM or Ctrl-C. Raises `UsageError` (settings, port), and what opening the pair raised."""
    server = make(settings, opener, first=first, shutdown=shutdown)
    bound = bind(settings)
    host, port = bound.getsockname()[:2]
    handler = set_up(settings.log_level, Scrubber(settings.keys()))
    try:
        log("listening", url=f"http://{f'[{host}]' if ':' in host else host}:{port}/v1", authentication=bool(server.door.keys))
        with _seldom_collected():
            server.run(sockets=[bound])
    finally:
        take_down(handler)
        bound.close()
    if server.door.failed:
        raise server.door.failed


@contextmanager
def _seldom_collected() -> Generator[None]:
    """What was imported stays, and need not be looked through again and again; a request leaves next to nothing to find."""
    usual = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)
        gc.unfreeze()


def make(settings: Settings, opener: Opener | None = None, *, first: FirstService | None = None, shutdown: bool = False) -> Server:
    """The server, not yet running. Without an opener the engines of the settings are opened. Raises `UsageError`."""
    made: list[Server] = []

    def stop() -> None:
        made[0].stop()

    app = create_app(settings, opener or opening(settings), on_failure=stop, first=first, shutdown=stop if shutdown else None)
    config = uvicorn.Config(
        app,
        http=connection(settings.request_seconds, app.door.metrics),
        log_config=None,
        access_log=False,
        lifespan="on",
        ws="none",
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=math.ceil(settings.drain) + GRACE,
    )
    made.append(Server(config, app.door))
    return made[0]


def opening(settings: Settings, flags: Mapping[str, EngineOptions] | None = None) -> Opener:
    """Opens the engines that the settings name; in a thread, since weights and servers take their time.

    When it is cancelled, the thread ends with what it has started the next time that it tells how far it is.
    """
    ended = threading.Event()

    def tell(line: str) -> None:
        if ended.is_set():
            raise EngineClosedError("the service was told to stop while its models were loading")
        log("loading", 10, told=line)

    async def opened() -> Pair:
        try:
            return await asyncio.to_thread(settings.pair, flags, tell)
        except asyncio.CancelledError:
            ended.set()
            raise

    return opened


def bind(settings: Settings) -> socket.socket:
    """The socket to listen on. Raises `UsageError` where it cannot be had."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
    except OSError as error:
        raise UsageError(f"host {settings.host!r}: {error.strerror or error}") from None
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(BACKLOG)  # who connects from now on waits for the application, and is not refused
    except OSError as error:
        bound.close()
        raise UsageError(f"port {settings.port} of {settings.host}: {error.strerror or error}; choose another with --port") from None
    return bound
