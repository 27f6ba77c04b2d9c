"""The application: its routes, and what they are made of."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.exceptions import HTTPException

from speculative import version
from speculative.errors import SpeculativeError
from speculative.pair import Pair
from speculative.serve.docs_page import docs_page
from speculative.serve.door import Door, Opener
from speculative.serve.edge import Edge, body_for
from speculative.serve.errors import Refusal, Unread, refusal_of
from speculative.serve.metrics import CONTENT_TYPE
from speculative.serve.reply import Reply
from speculative.serve.route import BodyRoute
from speculative.serve.schemas import ChatRequest, CompletionRequest
from speculative.settings import Settings
from speculative.splitreason.service import FirstService

ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"description": about, "content": {"application/json": {"schema": {"type": "object"}}}}
    for status, about in {
        400: "something that cannot be honoured, by name",
        401: "no key, or a wrong one",
        403: "no name that the service is called by",
        404: "no such model",
        408: "the request did not arrive whole in time",
        413: "the body is too large",
        415: "the body is not JSON",
        429: "too many chains are running; Retry-After says when to come back",
        502: "a model's server failed",
        503: "loading, or shutting down",
    }.items()
}

OBJECT = frozenset(("model_type", "model_attributes_type"))
"""Errors whose own words name a class of ours, or what the framework makes of an object."""


def create_app(
    settings: Settings,
    opener: Opener,
    *,
    on_failure: Callable[[], None] | None = None,
    first: FirstService | None = None,
    shutdown: Callable[[], None] | None = None,
) -> Edge:
    """The service as an ASGI application. `shutdown` opens `POST /shutdown` to this machine. Raises `UsageError`."""
    door = Door(settings, opener, on_failure)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        async with door.open():
            yield

    app = FastAPI(
        title="Speculative Reasoning",
        version=version.VERSION,
        description="Two models, one chain of thought.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    _openai(app, door)
    (first or FirstService()).mount(app, door, shutdown)
    _watching(app, door)
    _errors(app, door)
    return Edge(app, door)


def given(pair: Pair) -> Opener:
    """For a pair that is open already: tests, and programs that serve their own engines."""

    async def opened() -> Pair:
        return pair

    return opened


def _openai(app: FastAPI, door: Door) -> None:
    async def chat_completions(request: Request, asked: ChatRequest) -> Response:
        """One chain of thought of two models, and its answer."""
        return Reply(door, door.jobs.chat(asked), request.state.began)

    async def completions(request: Request, asked: CompletionRequest) -> Response:
        """The same for raw text."""
        return Reply(door, door.jobs.completion(asked), request.state.began)

    described: dict[str, Any] = {
        "methods": ["POST"],
        "responses": ERRORS,
        "response_class": JSONResponse,
        "route_class_override": BodyRoute,
    }

    async def list_models() -> Response:
        """One id for each method that the pair can serve, and for each preset."""
        return Response(door.models.page, media_type="application/json")

    async def get_model(model: str) -> dict[str, Any]:
        """One of them."""
        return door.models.one(model)

    for prefix, shown in (("/v1", True), ("", False)):  # clients that are given the address without /v1 work too
        app.router.add_api_route(f"{prefix}/chat/completions", chat_completions, include_in_schema=shown, **described)
        app.router.add_api_route(f"{prefix}/completions", completions, include_in_schema=shown, **described)
        app.add_api_route(f"{prefix}/models", list_models, include_in_schema=shown, response_class=JSONResponse)
        app.add_api_route(f"{prefix}/models/{{model:path}}", get_model, include_in_schema=shown, responses={404: ERRORS[404]})


def _watching(app: FastAPI, door: Door) -> None:
    async def health() -> dict[str, str]:
        """The process is alive."""
        return {"status": "ok"}

    async def ready() -> JSONResponse:
        """Both engines answer, or the one that `degrade` has go on alone."""
        reason, missing = await door.unready()
        told = {"status": "not ready", "reason": reason} if reason else {"status": "ready"} | ({"degraded": missing} if missing else {})
        return JSONResponse(told, 503 if reason else 200)

    add_health_route(app, "/health", health)
    add_health_route(app, "/ready", ready, responses={503: ERRORS[503]})

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:  # pyright: ignore[reportUnusedFunction]
        return HTMLResponse(docs_page(app.openapi()), headers={"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'"})

    @app.get("/metrics", response_class=Response)
    async def metrics() -> Response:  # pyright: ignore[reportUnusedFunction]
        """For Prometheus."""
        return Response(door.metrics.page(), media_type=CONTENT_TYPE)


def add_health_route(app: FastAPI, path: str, endpoint: Callable[..., Any], **described: Any) -> None:
    """Adds a route that also answers `HEAD`, as load balancers ask."""
    app.add_api_route(path, endpoint, methods=["GET"], **described)
    app.add_api_route(path, endpoint, methods=["HEAD"], include_in_schema=False, **described)


def _errors(app: FastAPI, door: Door) -> None:
    def told(request: Request, refusal: Refusal) -> JSONResponse:
        refusal.message = door.scrub(refusal.message)
        return JSONResponse(body_for(request.url.path, refusal), refusal.status, refusal.headers)

    async def refused(request: Request, error: Exception) -> Response:
        return told(request, refusal_of(error, door.request_id(request.scope)))

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return told(request, _invalid(error, request.headers.get("content-type", "")))

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        plain = Refusal(error.status_code, f"{request.method} {request.url.path}: {error.detail}"[:300], code=str(error.status_code))
        response = told(request, error.refusal if isinstance(error, Unread) else plain)
        response.headers.update(error.headers or {})
        return response

    for kind in (Refusal, SpeculativeError, Exception):
        app.add_exception_handler(kind, refused)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)


def _invalid(error: RequestValidationError, kind: str) -> Refusal:
    """What is wrong deepest in the body, by its place; a field of several types has an error for each of them. `kind`: of the body."""
    first: dict[str, Any] = max(error.errors(), key=lambda found: (len(_place(found)), not found["type"].endswith("_type")))
    place = ".".join(_place(first))
    if not place and error.body and "json" not in kind:
        return Refusal(415, f"the body is taken for {kind[:80] or 'no known type'}: send it with `Content-Type: application/json`")
    if first["type"] == "json_invalid":
        return Refusal(
            400, f"the body is not JSON: {first.get('ctx', {}).get('error', 'it cannot be read')} at character {place}", code="invalid_json"
        )
    reason = "Input should be an object" if first["type"] in OBJECT else str(first["msg"]).removeprefix("Value error, ")
    return Refusal(400, f"{place or 'body'}: {reason[:1].lower()}{reason[1:]}"[:400], param=place[:80] or None)


def _place(error: dict[str, Any]) -> list[str]:
    """Fields and positions down to what is wrong; without the names of types, which have brackets."""
    return [str(part) for part in error["loc"][1:] if isinstance(part, int) or str(part).isidentifier()]
