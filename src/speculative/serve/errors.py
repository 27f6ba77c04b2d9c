"""What a client is told when its request cannot be served: status, type and one line."""

from __future__ import annotations

import math
from typing import Any, cast

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from speculative.errors import (
    ContextExceededError,
    EngineBusyError,
    EngineClosedError,
    EngineError,
    UnknownNameError,
    UnsupportedMethodError,
    UsageError,
)
from speculative.serve import shown

BUSY = 5
"""Seconds after which to try again, where a busy model server did not say."""


class Refusal(Exception):
    """A request that is not served. `retry_after` in seconds."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.kind, self.code, self.param, self.retry_after = status, message, kind, code, param, retry_after

    @property
    def body(self) -> dict[str, Any]:
        """As the OpenAI API words it."""
        message = self.message.encode("utf-8", "replace").decode()
        return {"error": {"message": message, "type": self.kind, "param": self.param, "code": self.code}}

    @property
    def headers(self) -> dict[str, str]:
        made = {"retry-after": str(self.retry_after)} if self.retry_after is not None else {}
        return made | ({"www-authenticate": "Bearer"} if self.status == 401 else {})


class Unread(HTTPException):
    """A refusal while a body is read: there the framework lets no exceptions through but its own."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.status, refusal.message)
        self.refusal = refusal


def unsupported(param: str, why: str) -> Refusal:
    """A field that is known but cannot be honoured."""
    return Refusal(400, f"{param}: {why}", code="unsupported_value", param=param)


def draining() -> Refusal:
    """For what comes too late."""
    return Refusal(
        503, "the service is shutting down and begins no more chains", kind="service_unavailable", code="draining", retry_after=5
    )


def cause(error: BaseException) -> BaseException:
    """The first error itself, also out of a group of tasks."""
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    return error


def refusal_of(error: BaseException, request: str) -> Refusal:
    """What a client is told of an exception. What is a bug of ours is not told, only that it happened.

    `request`: the id under which the log has more.
    """
    more = f"the service's log says more of the request {request}"
    match error := cause(error):
        case Refusal():
            return error
        case ClientDisconnect():
            return Refusal(400, "the client went away before its request was whole")
        case UnknownNameError(kind="model"):
            return Refusal(404, str(error), code="model_not_found", param="model")
        case UnsupportedMethodError():
            return Refusal(400, shown.named(str(error)))
        case UsageError():
            return Refusal(400, str(error))
        case ContextExceededError():
            return Refusal(400, shown.failed(error), code="context_length_exceeded")
        case EngineClosedError():
            return Refusal(503, f"{shown.failed(error)}; {more}", kind="service_unavailable", code="engine_closed", retry_after=1)
        case EngineBusyError(status=429):
            return _busy(error, 429, f"{shown.failed(error)}; {more}", "rate_limit_error")
        case EngineBusyError(status=503):
            return _busy(error, 503, f"{shown.failed(error)}; {more}", "service_unavailable")
        case EngineError():
            return Refusal(502, f"{shown.failed(error)}; {more}", kind="upstream_error", code=type(error).__name__)
        case _:
            return Refusal(500, f"an error inside the service; {more}", kind="internal_error")


def _busy(error: EngineBusyError, status: int, message: str, kind: str) -> Refusal:
    """A model server that turned the call away for now: the client is told when to come back."""
    wait = BUSY if error.retry_after is None else max(1, math.ceil(error.retry_after))
    return Refusal(status, message, kind=kind, code=type(error).__name__, retry_after=wait)
