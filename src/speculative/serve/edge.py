"""The outermost layer: request ids, the names it is called by, keys, the size of bodies, and errors that nobody else caught."""

from __future__ import annotations

import re
import secrets
import time
from typing import Any

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from speculative.serve.body import BodyMeter, body_too_large
from speculative.serve.door import Door
from speculative.serve.errors import Refusal, Unread, refusal_of
from speculative.serve.hosts import origins
from speculative.serve.logs import log
from speculative.serve.responses import encode

GOOD_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")


class Edge:
    """Wraps the application. Not built on the framework's middleware, which would cost a task for every chunk."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self.app, self.door = app, door
        self._shared: ASGIApp = self._checked
        if allowed := origins(door.settings):  # around the refusals, too, or a page that may call could not read them
            self._shared = CORSMiddleware(
                self._checked, allow_origins=allowed, allow_methods=["GET", "POST"], allow_headers=["*"], expose_headers=["*"]
            )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request, or passes the lifespan on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = _header(scope, b"x-request-id")
        request_id = given if GOOD_ID.fullmatch(given) else b"req-" + secrets.token_hex(12).encode()
        state = scope.setdefault("state", {})
        state.update(request_id=request_id.decode(), began=time.perf_counter(), write=send, status=None)

        async def identified(message: Message) -> None:
            if message["type"] == "http.response.start":
                state["status"] = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id)]
            await send(message)

        try:
            await self._shared(scope, receive, identified)
        finally:
            route, status = getattr(scope.get("route"), "path", "other"), state["status"] or 499
            self.door.metrics.requests(route, str(status)).inc()
            level = 20 if route not in QUIET else 10
            log("request", level, request=state["request_id"], method=scope["method"], route=route, status=status)

    async def _checked(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuses, or has the application answer."""
        state = scope["state"]
        try:
            self.door.hosts.check([value for name, value in scope["headers"] if name == b"host"])
            self._check_body(_header(scope, b"content-length"), _header(scope, b"content-encoding"))
            self.door.keys.check(scope["path"], _header(scope, b"authorization"))
            await self.app(scope, self._counted(receive, state), send)
        except Exception as error:  # noqa: BLE001  # whatever it is, the client gets an answer and the log has a line
            refusal = refusal_of(error, state["request_id"])
            if refusal.status == 500:
                log("bug", 40, error=error, request=state["request_id"])
            if not state["status"]:
                await _tell(refusal, scope["path"], send)

    def _check_body(self, length: bytes, encoding: bytes) -> None:
        if length.isdigit() and int(length[:20]) > self.door.settings.max_body:
            raise body_too_large(self.door.settings.max_body)
        if encoding.strip().lower() not in (b"", b"identity"):
            shown = encoding[:40].decode("latin-1")
            raise Refusal(415, f"the body must not be encoded, got Content-Encoding {shown!r}; send it plain", code="encoded_body")

    def _counted(self, receive: Receive, state: dict[str, Any]) -> Receive:
        meter = BodyMeter(self.door.settings.max_body)

        async def counted() -> Message:
            message = await receive()
            if refusal := state.get("refusal"):
                raise Unread(refusal)
            meter.add(message.get("body", b""))
            return message

        return counted


def _header(scope: Scope, name: bytes) -> bytes:
    """The first of that name."""
    return next((value for given, value in scope["headers"] if given == name), b"")


QUIET = frozenset(("/health", "/ready", "/ping", "/metrics"))
"""Asked every few seconds by machines: not worth a line each."""


async def _tell(refusal: Refusal, path: str, send: Send) -> None:
    data = encode(body_for(path, refusal))
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(data))]
    headers += [(name.encode(), value.encode()) for name, value in refusal.headers.items()]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": data})


def body_for(path: str, refusal: Refusal) -> dict[str, object]:
    """The first library's endpoints have a plain line for an error."""
    return {"error": refusal.body["error"]["message"]} if path in ("/speculative_reason", "/shutdown") else refusal.body
