"""The way of a body to its endpoint: read, validated, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any, get_type_hints

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError


class BodyRoute(APIRoute):
    """A route of `endpoint(request, asked: Model)`, described by the framework and called without its dependencies.

    They are looked for, solved and closed anew for every request, which costs as much as what the endpoint itself does.
    Raises `RequestValidationError` as the framework does.
    """

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # pyright: ignore[reportIncompatibleMethodOverride]
        endpoint = self.endpoint
        model: type[BaseModel] = get_type_hints(endpoint)["asked"]

        async def handle(request: Request) -> Response:
            return await endpoint(request, read(model, await request.body(), request.headers.get("content-type", "")))

        return handle


def read(model: type[BaseModel], body: bytes, kind: str) -> Any:
    """The body as its model. `kind`: what type it says that it has; where that is not JSON it is taken for bytes."""
    subtype = kind.partition(";")[0].strip().lower()
    try:
        found = json.loads(body) if subtype == "application/json" or subtype.endswith("+json") else body
    except (ValueError, RecursionError) as error:
        place, reason = _unread(error)
        raise RequestValidationError([{"type": "json_invalid", "loc": ("body", place), "ctx": {"error": reason}}], body=body) from None
    try:
        return model.model_validate(found)
    except ValidationError as error:
        told = [{**one, "loc": ("body", *one["loc"])} for one in error.errors(include_url=False)]
        raise RequestValidationError(told, body=body) from None


def _unread(error: ValueError | RecursionError) -> tuple[int, str]:
    """Where a body is no JSON, and why; what is too large or too deep has no place."""
    match error:
        case json.JSONDecodeError():
            return error.pos, error.msg
        case UnicodeDecodeError():
            return error.start, f"no {error.encoding}, {error.reason}"
        case RecursionError():
            return 0, "it is nested too deep"
        case _:
            return 0, "a number in it has too many digits"
