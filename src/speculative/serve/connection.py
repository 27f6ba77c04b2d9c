"""How long a request may take to come over a connection, how much may come before its body, and how long a reply waits to be taken."""

from __future__ import annotations

import asyncio
import re
from typing import ClassVar, Literal

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from speculative.serve.errors import Refusal, draining
from speculative.serve.logs import log
from speculative.serve.metrics import Metrics
from speculative.serve.responses import encode

HEAD = 1 << 16
"""Bytes of a request's line and headers, and of whatever else is no body: what other servers take at most."""
ABSOLUTE = re.compile(rb"[^:/?#]+://([^/?#]*)")
"""A target that is more than a path, and the host in it."""
OFFER = re.compile(rb"\r\nupgrade:[^\r\n]*(?=\r\n)", re.IGNORECASE)
STALLED = 60.0
"""Seconds in which a client must take something of what waits for it: its chains have their places until then."""


class Connection(HttpToolsProtocol):
    """uvicorn's protocol, which waits for ever and takes any head, with a deadline and a bound.

    A request that comes in one piece, as nearly all do, costs no timer.
    """

    seconds: ClassVar[float]
    metrics: ClassVar[Metrics]

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """One that never asks anything is idle, as one that has had its reply."""
        super().connection_made(transport)
        self._part: Literal["head", "body"] | None = None
        self._unread = 0  # bytes since the last that were body, or another request's
        self._timer: asyncio.TimerHandle | None = None
        self._full: asyncio.TimerHandle | None = None
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def connection_lost(self, exc: Exception | None) -> None:
        self._arrived()
        self._flows()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """The service stops: what is not here yet begins nothing any more."""
        super().shutdown()
        if self._part == "body" and not self.pipeline:  # what came before has its reply first
            self._refuse(draining())

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        self._flows()
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        self._unread += len(data)
        super().data_received(_as_it_is(data) if self._part is None and b"pgrade" in data else data)
        if self.transport.is_closing():
            return
        if self._part and self._unread > HEAD:
            self._refuse(_too_large())
        elif self._timer is None and (self._part or not self._answering):
            self._timer = self.loop.call_later(self.seconds, self._late)

    def on_message_begin(self) -> None:
        self._part = "head"
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        if self._unread > HEAD and len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > HEAD:
            raise _too_large()
        if self.url[:1] != b"/":
            self._named()
        super().on_headers_complete()
        self._part = "body"

    def on_body(self, body: bytes) -> None:
        self._unread = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._part, self._unread = None, 0
        self._arrived()
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """For what the parser does not take, or we did not."""
        too_large = self._part == "head" and self._unread > HEAD
        self._refuse(_too_large() if too_large else Refusal(400, "this is no HTTP request that can be read", code="invalid_http"))

    @property
    def _answering(self) -> bool:
        return bool(self.cycle) and not self.cycle.response_complete

    def _named(self) -> None:
        """A target may name its host (proxies are asked so), which then counts as a `Host` header does."""
        found = ABSOLUTE.match(self.url)
        given = [value.lower() for name, value in self.headers if name == b"host"]
        if found and found[1].lower() not in given:
            self.headers.append((b"host", found[1]))

    def _arrived(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _watch(self) -> None:
        """Hangs up if nothing of what waits now has left in time."""
        waiting = self.transport.get_write_buffer_size()

        def stalled() -> None:
            if self.transport.get_write_buffer_size() < waiting:
                self._watch()
            else:
                log("client takes nothing", waiting=waiting, seconds=STALLED)
                self.transport.abort()

        self._full = self.loop.call_later(STALLED, stalled)

    def _flows(self) -> None:
        if self._full:
            self._full.cancel()
            self._full = None

    def _late(self) -> None:
        """The rest of the request did not come."""
        self._timer = None
        if self.pipeline or (self._part != "body" and self._answering):  # what came before has its reply first
            self._timer = self.loop.call_later(self.seconds, self._late)
        elif self._part:
            self._refuse(_late(self.seconds))
        else:
            self.transport.close()

    def _refuse(self, refusal: Refusal) -> None:
        """Says so, unless another reply is under way or was given; hangs up."""
        cycle = self.cycle
        if self._part == "body" and self._answering and not (self.pipeline or cycle.response_started):
            cycle.keep_alive = False
            cycle.scope.setdefault("state", {})["refusal"] = refusal  # for whoever reads the body
            cycle.message_event.set()
            return
        if self._part != "body" and not self._answering:
            self.metrics.requests("other", str(refusal.status)).inc()
            log("request", route="other", status=refusal.status, told=refusal.message)
            data = encode(refusal.body)
            head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(data)
            self.transport.write(STATUS_LINE[refusal.status] + head + data)
        self.transport.close()


def connection(seconds: float, metrics: Metrics) -> type[Connection]:
    """The protocol that gives every request so many seconds to arrive, and counts what no application sees."""
    return type("Connection", (Connection,), {"seconds": seconds, "metrics": metrics})


def _as_it_is(data: bytes) -> bytes:
    """A request without its offer to go on in another protocol: nobody has to take it, but the parser would read no body behind one."""
    end = data.find(b"\r\n\r\n") + 2
    return OFFER.sub(b"", data[:end]) + data[end:]


def _late(seconds: float) -> Refusal:
    return Refusal(
        408,
        f"the request did not arrive whole within {seconds:g} s; the service waits longer with --request-seconds",
        code="request_timeout",
    )


def _too_large() -> Refusal:
    return Refusal(431, f"the request's line and headers are larger than the {HEAD} bytes that the service takes", code="headers_too_large")
