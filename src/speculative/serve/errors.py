"""Errors of the API: the part that a client sees, while the rest stays in the log."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from functools import cache
from http import HTTPStatus
from typing import Any, cast

from fastapi.responses import JSONResponse
from msgspec import structs
from pydantic import BaseModel
from pydantic_core import ErrorDetails

from speculative import errors
from speculative.errors import EngineError, reduce_error
from speculative.redaction import without_address
from speculative.serve import schemas
from speculative.trace.events import AnyEvent, Cancelled, Child, Degraded, Started

MAX_MESSAGE = 1000
"""Characters of an error's message at most: it may quote the request."""
DEFAULT_WAIT_S = 5
"""`Retry-After` for a busy model server that named none."""
MAX_WAIT_S = 3600
"""The longest `Retry-After`."""
FAILURES: dict[type[EngineError], tuple[str, str]] = {
    errors.EngineUnreachableError: ("engine_unreachable", "'s server cannot be reached"),
    errors.EngineTimeoutError: ("engine_timeout", "'s server did not answer in time"),
    errors.EngineBusyError: ("engine_busy", "'s server turned the call away for now"),
    errors.EngineRefusedError: ("engine_refused", "'s server refused the call"),
    errors.EngineServerError: ("engine_server_error", "'s server broke"),
    errors.EngineClosedError: ("engine_closed", " was closed"),
    errors.ContextExceededError: ("context_length_exceeded", "'s context is too small"),
}
"""The code and the words of each failure; of any other engine's error they are `engine_error` and " failed"."""

KINDS = {401: "authentication_error", 429: "rate_limit_error", 500: "internal_error", 502: "upstream_error", 503: "service_unavailable"}
"""The `type` of an error by its status; of any other it is `invalid_request_error`."""


class ApiError(Exception):
    """An error reply: status, code and one line. `retry_after` is in seconds."""

    def __reduce__(self) -> tuple[Any, ...]:
        return reduce_error(self)

    def __init__(
        self, status: int, message: str, *, code: str | None = None, param: str | None = None, retry_after: int | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.param, self.retry_after = status, code, param and param[:80], retry_after
        self.kind = KINDS.get(status, "invalid_request_error")
        self.message = message if len(message) <= MAX_MESSAGE else f"{message[: MAX_MESSAGE - 1]}…"

    @property
    def body(self) -> dict[str, Any]:
        """The reply's body in the form of the OpenAI API."""
        message = self.message.encode("utf-8", "replace").decode()
        return {"error": {"message": message, "type": self.kind, "param": self.param, "code": self.code}}

    def response(self, *, body: Any = None, headers: Mapping[str, str] | None = None) -> JSONResponse:
        """Makes the reply."""
        more = {"retry-after": str(self.retry_after)} if self.retry_after is not None else {}
        more |= {"www-authenticate": "Bearer"} if self.status == 401 else {}
        return JSONResponse(body or self.body, self.status, {**more, **(headers or {})})


def unsupported_value(param: str, reason: str) -> ApiError:
    """Makes the error for a field that is known but cannot be honoured."""
    return ApiError(400, f"{param}: {reason}", code="unsupported_value", param=param)


def shutting_down(message: str = "the service is shutting down and begins no more chains") -> ApiError:
    """Makes the error for requests during the shutdown."""
    return ApiError(503, message, code="draining", retry_after=5)


def first_error(error: BaseException) -> BaseException:
    """Finds the first single error inside a group of errors."""
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    return error


def api_error(error: BaseException, request_id: str) -> ApiError:
    """Converts an exception into an error reply.

    The message of a bug is left out, since it could hold a prompt.
    """
    more = f"the service's log has details of the request {request_id}"
    match error := first_error(error):
        case ApiError():
            return error
        case errors.UnknownNameError(kind="model"):
            return ApiError(404, str(error), code="model_not_found", param="model")
        case errors.UnsupportedMethodError():
            return ApiError(400, without_address(str(error)))
        case errors.UsageError():
            return ApiError(400, str(error))
        case errors.ContextExceededError():
            return ApiError(400, describe_failure(error), code=failure_code(error))
        case errors.EngineBusyError(retry_after=after, status=429 | 503 as status):
            wait = max(1, math.ceil(min(DEFAULT_WAIT_S if after is None else after, MAX_WAIT_S)))
            return ApiError(status, f"{describe_failure(error)}; {more}", code=failure_code(error), retry_after=wait)
        case errors.EngineClosedError():
            return ApiError(503, f"{describe_failure(error)}; {more}", code=failure_code(error), retry_after=1)
        case EngineError():
            return ApiError(502, f"{describe_failure(error)}; {more}", code=failure_code(error))
        case _:
            return ApiError(500, f"an error inside the service; {more}", code="internal_error")


def validation_error(mistakes: Sequence[ErrorDetails], place: str = "") -> ApiError:
    """Names the most deeply nested mistake in a body, its value and what it must be.

    A field of several types has a mistake for each type. `place`: the place of the validated object in the body.
    """
    paths = [_path(found, place) for found in mistakes]
    deepest = max(paths, key=len)
    field = "".join(deepest).removeprefix(".")
    found = [found for found, path in zip(mistakes, paths, strict=True) if path == deepest]
    return ApiError(400, errors.describe_mistake(field or "the body", found)[:400], param=field or None)


def _path(mistake: ErrorDetails, place: str) -> list[str]:
    """Returns the fields and positions that lead to a mistake, without types."""
    first, *inner = mistake["loc"] or ("",)
    known = _field_names(schemas.RequestBase)
    path = [f"[{step}]" if isinstance(step, int) else f".{step}" for step in inner if isinstance(step, int) or step in known]
    return [part for part in (place, f".{first}" if first else "") if part] + path


@cache
def _field_names(kind: type[BaseModel]) -> set[str]:
    """Collects the fields of a class and its subclasses, as clients name them."""
    own = {field.alias or name for name, field in kind.model_fields.items()}
    return own.union(*map(_field_names, kind.__subclasses__()))


def failure_code(error: EngineError) -> str:
    """Returns the code of an engine's failure, in replies and metrics."""
    return FAILURES.get(type(error), ("engine_error", ""))[0]


def route_error(status: int, method: str, path: str, detail: str, allowed: str = "") -> ApiError:
    """Makes the error for a route or a method that the service does not have."""
    place = f"{method} {path[:200]}"
    match status:
        case 404:
            return ApiError(404, f"{place}: the service has no such route; GET /openapi.json lists its routes", code="not_found")
        case 405:
            return ApiError(405, f"{place}: the route must be called with {allowed}, got {method}", code="method_not_allowed")
        case _:
            code = re.sub(r"[^a-z0-9]+", "_", HTTPStatus(status).phrase.lower())
            return ApiError(status, f"{place}: {detail}", code=code)


def describe_failure(error: EngineError) -> str:
    """Names the role of the engine that failed, and the kind of failure.

    Clients see neither a server's address nor its own words.
    """
    model = f"the {error.role} model" if error.role else "a model"
    if isinstance(error, errors.ContextExceededError):
        return f"{model}: {error.what}; {error.advice}"
    return model + FAILURES.get(type(error), ("", " failed"))[1]


def redact_event(event: AnyEvent) -> AnyEvent:
    """Removes addresses and servers' own words from an event and its child events."""
    match event:
        case Started(engines=engines):
            cards = {role: structs.replace(card, name=without_address(card.name)) for role, card in engines.items()}
            return structs.replace(event, engines=cards)
        case Degraded(role=role):
            return structs.replace(event, error=f"the {role} model's server was lost")
        case Cancelled(call=call, error=error, lost=lost) if error:
            return structs.replace(event, error=f"the {call.role} model" + ("'s server was lost" if lost else " failed"))
        case Child(events=events):
            return structs.replace(event, events=[redact_event(inner) for inner in events])
        case _:
            return event
