"""The service's own description: every request, reply and error."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from msgspec import Struct
from msgspec.json import schema_components
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from speculative.serve.replies import ErrorReply

REFERENCE = "#/components/schemas/{name}"
ERRORS = {
    400: "A field cannot be honoured; the message names it.",
    401: "The key is missing or wrong.",
    404: "There is no such model.",
    408: "The body did not arrive in time.",
    413: "The body is too large.",
    415: "The body is encoded, or not JSON.",
    429: "Too many chains are running; `Retry-After` says when to come back.",
    500: "An error inside the service.",
    502: "A model's server failed.",
    503: "The models are loading, a model's server is busy, or the service is shutting down; `Retry-After` says when to come back.",
}
BODY_ERRORS = (400, 404, 408, 413, 415, 429, 500, 502, 503)


KNOWN: dict[str, type[Any]] = {}
"""Types that a route refers to, by name."""


def describe_json(reply: type[Any], description: str = "The reply.") -> dict[str, Any]:
    """Describes a JSON reply by the type that the service writes."""
    return {"description": description, "content": {"application/json": {"schema": _reference(reply)}}}


def error_replies(*statuses: int, reply: type[Any] = ErrorReply) -> dict[int | str, dict[str, Any]]:
    """Describes error replies."""
    return {status: describe_json(reply, ERRORS[status]) for status in statuses}


def describe_post(
    body: type[BaseModel], reply: type[Any], event: type[Any] | None = None, *, last: str = "", error: type[Any] = ErrorReply
) -> dict[str, Any]:
    """Describes a route that reads a JSON body.

    With `event` it may stream. `last` is the data of the last event, where those are other than JSON.
    """
    whole = describe_json(reply, "The whole reply, or with `stream: true` server-sent events." if event else "The reply.")
    if event:
        # OpenAPI 3.2: the schema of a stream is that of all its items; an item is a server-sent event with its fields.
        data = {"type": "array", "description": f"events whose data is a {event.__name__} each"}
        content = {"type": "string", "contentMediaType": "application/json", "contentSchema": _reference(event)}
        item = {"type": "object", "properties": {"data": {"anyOf": [{"const": last}, content]} if last else content}}
        whole["content"]["text/event-stream"] = {"schema": data, "itemSchema": item}
    return {
        "openapi_extra": {"requestBody": {"required": True, "content": {"application/json": {"schema": _reference(body)}}}},
        "responses": {200: whole, **error_replies(*BODY_ERRORS, reply=error)},
    }


def service_schema(app: FastAPI) -> dict[str, Any]:
    """Builds the schema of an application, once."""
    if not app.openapi_schema:
        schema = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        for operations in schema["paths"].values():
            for operation in operations.values():
                operation["responses"].pop("422", None)  # the framework's own reply, which is never sent
        requests: list[tuple[type[BaseModel], Any]] = [(kind, "validation") for kind in KNOWN.values() if issubclass(kind, BaseModel)]
        replies = [kind for kind in KNOWN.values() if issubclass(kind, Struct)]
        schema.setdefault("components", {})["schemas"] = {
            **models_json_schema(requests, ref_template=REFERENCE.format(name="{model}"))[1]["$defs"],
            **schema_components(replies, ref_template=REFERENCE)[1],
        }
        app.openapi_schema = schema
    return app.openapi_schema


def _reference(kind: type[Any]) -> dict[str, str]:
    KNOWN[kind.__name__] = kind
    return {"$ref": REFERENCE.format(name=kind.__name__)}
