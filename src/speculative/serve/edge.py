"""The outermost layer: request ids, the names it is called by, keys, the size of bodies, and errors that nobody else caught."""

from __future__ import annotations

import re
import secrets
import time
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from speculative.serve.bodies import encode
from speculative.serve.door import Door
from speculative.serve.errors import Refusal, Unread, refusal_of
from speculative.serve.logs import log

GOOD_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")


class Edge:
    """Wraps the application. Not built on the framework's middleware, which would cost a task for every chunk."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self.app, self.door = app, door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request, or passes the lifespan on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers: dict[bytes, bytes] = dict(reversed(scope["headers"]))
        given = headers.get(b"x-request-id", b"")
        request_id = given if GOOD_ID.fullmatch(given) else b"req-" + secrets.token_hex(12).encode()
        scope.setdefault("state", {}).update(request_id=request_id.decode(), began=time.perf_counter(), write=send)
        status = 0

        async def identified(message: Message) -> None:
            nonlocal status
            if not status and message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id)]
            await send(message)

        try:
            self.door.hosts.check([value for name, value in scope["headers"] if name == b"host"])
            self._check_size(headers.get(b"content-length"))
            if scope["method"] != "OPTIONS":  # a browser asks for permission without a key, and gets nothing else
                self.door.keys.check(scope["path"], headers.get(b"authorization"))
            await self.app(scope, self._counted(receive, scope["state"]), identified)
        except Exception as error:  # noqa: BLE001  # whatever it is, the client gets an answer and the log has a line
            refusal = refusal_of(error, request_id.decode())
            if refusal.status == 500:
                log("bug", 40, error=error, request=request_id.decode())
            if not status:
                await _tell(refusal, scope["path"], identified)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self.door.metrics.requests(route, str(status or 499)).inc()
            log(
                "request",
                20 if route not in QUIET else 10,
                request=request_id.decode(),
                method=scope["method"],
                route=route,
                status=status or 499,
            )

    def _check_size(self, length: bytes | None) -> None:
        if length and length.isdigit() and int(length[:20]) > self.door.settings.max_body:
            raise self._too_large()

    def _counted(self, receive: Receive, state: dict[str, Any]) -> Receive:
        size = 0

        async def counted() -> Message:
            nonlocal size
            message = await receive()
            if refusal := state.get("refusal"):
                raise Unread(refusal)
            size += len(message.get("body", b""))
            if size > self.door.settings.max_body:
                raise Unread(self._too_large())
            return message

        return counted

    def _too_large(self) -> Refusal:
        return Refusal(
            413, f"the body is larger than the {self.door.settings.max_body} bytes that the service takes", code="body_too_large"
        )


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
