"""The service's own description: every request, reply and error, for people and for programs that test against it."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from speculative.serve import schemas

REFERENCE = "#/components/schemas/{model}"
DOCUMENTED = (
    schemas.ChatRequest,
    schemas.CompletionRequest,
    schemas.ResponsesRequest,
    schemas.SplitReasonRequest,
    schemas.Chunk,
    schemas.ResponsesEvent,
)
"""Models that routes refer to and the framework does not collect."""
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
KEY_ERROR = (401,)


def error_replies(*statuses: int, model: type[BaseModel] = schemas.ErrorReply) -> dict[int | str, dict[str, Any]]:
    """Describes error replies."""
    return {status: {"model": model, "description": ERRORS[status]} for status in statuses}


def describe_body(model: type[BaseModel]) -> dict[str, Any]:
    """Describes a JSON body that the endpoint reads itself."""
    schema = {"$ref": REFERENCE.format(model=model.__name__)}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def describe_stream(reply: type[BaseModel], event: type[BaseModel]) -> dict[str, Any]:
    """Describes a reply that is one JSON object, or with `stream: true` server-sent events."""
    return {
        "model": reply,
        "description": "The whole reply, or with `stream: true` server-sent events.",
        "content": {
            "text/event-stream": {
                "schema": {"type": "string", "description": f"events whose data is a {event.__name__} each"},
                "itemSchema": {"$ref": REFERENCE.format(model=event.__name__)},
            }
        },
    }


def service_schema(app: FastAPI) -> dict[str, Any]:
    """Builds the schema of an application, once."""
    if not app.openapi_schema:
        schema = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        models: list[tuple[type[BaseModel], Any]] = [(model, "validation") for model in DOCUMENTED]
        definitions = models_json_schema(models, ref_template=REFERENCE)[1].get("$defs", {})
        schema.setdefault("components", {}).setdefault("schemas", {}).update(definitions)
        for name in ("HTTPValidationError", "ValidationError"):  # the framework's own, which is never sent
            schema["components"]["schemas"].pop(name, None)
        for operations in schema["paths"].values():
            for operation in operations.values():
                operation["responses"].pop("422", None)
        app.openapi_schema = schema
    return app.openapi_schema
