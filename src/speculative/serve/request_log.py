"""The outermost layer: request ids, a log line for each request, uncaught errors."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from speculative.serve.errors import api_error
from speculative.serve.logs import log
from speculative.serve.metrics import Metrics

GOOD_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
QUIET_ROUTES = frozenset(("/health", "/ready", "/ping", "/metrics"))
"""Routes that machines ask every few seconds: not worth a line each."""
SEND_TIMEOUT_S = 60.0
"""Seconds in which a client must take a part of its reply: its chains keep their places until then."""


class RequestLog:
    """Gives each request an id, measures it and logs it.

    `request.state.send_directly` sends a part of a stream past the layers inside this one (`EventStream`).
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
        request_id = given if GOOD_ID.fullmatch(given) else b"req-" + secrets.token_hex(12).encode()
        status, watch = 0, SendWatch()

        async def identified(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id)]
            watch.began()
            try:
                await send(message)
            finally:
                watch.sending = False

        state: dict[str, Any] = scope.setdefault("state", {})
        state.update(request_id=request_id.decode(), began=time.perf_counter(), failed=False, send_directly=identified)
        try:
            async with watch.deadline:
                await self._app(scope, receive, identified)
        except TimeoutError:
            log("client reads nothing", request=state["request_id"], seconds=SEND_TIMEOUT_S)
        except Exception as error:  # noqa: BLE001  the client gets an answer, and the log has a line
            log("bug", 40, error=error, request=state["request_id"])
            if not status:
                await api_error(error, state["request_id"]).response()(scope, receive, identified)
        finally:
            watch.close()
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.requests(route, str(status or 499)).inc()
            level = 10 if route in QUIET_ROUTES else 20
            log("request", level, request=state["request_id"], method=scope["method"], route=route, status=status or 499)


class SendWatch:
    """Ends a request whose client reads nothing for `SEND_TIMEOUT_S`.

    One timer serves the whole reply: a timer for each token would cost as much as the token. `sending`: a part is on its way.
    """

    def __init__(self) -> None:
        self.deadline = asyncio.timeout(None)
        self.sending = self._was_sending = False
        self._check()

    def close(self) -> None:
        """Ends the timer."""
        self._timer.cancel()

    def began(self) -> None:
        """Notes that a part of the reply is being sent."""
        self.sending, self._was_sending = True, False

    def _check(self) -> None:
        loop = asyncio.get_running_loop()
        if self.sending and self._was_sending:
            self.deadline.reschedule(loop.time())
        self._was_sending = self.sending
        self._timer = loop.call_later(SEND_TIMEOUT_S / 2, self._check)
