"""The application: its routes, and the errors that they reply with."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response, Security
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from speculative import __version__
from speculative.errors import SpeculativeError
from speculative.pair import Pair
from speculative.serve import schemas
from speculative.serve.body import read_body
from speculative.serve.completion import ChainReply
from speculative.serve.docs_page import docs_page
from speculative.serve.errors import ApiError, api_error
from speculative.serve.metrics import CONTENT_TYPE
from speculative.serve.openapi import BODY_ERRORS, KEY_ERROR, describe_body, describe_stream, error_replies, service_schema
from speculative.serve.request_log import RequestLog
from speculative.serve.responses import CompletionWriter
from speculative.serve.responses_api import ResponsesWriter
from speculative.serve.security import RequireKey, add_host_and_origin_checks
from speculative.serve.state import PairOpener, ServiceState
from speculative.settings import Settings

PAGE_POLICY = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'"}


def create_app(settings: Settings, open_pair: PairOpener, *, on_failure: Callable[[], None] | None = None) -> FastAPI:
    """Makes the service as an ASGI application; `app.state.service` is its `ServiceState`. Raises `UsageError`."""
    state = ServiceState(settings, open_pair, on_failure)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        async with state.open():
            yield

    app = FastAPI(
        title="Speculative Reasoning",
        version=__version__,
        description="Two models write one chain of thought.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    app.state.service = state
    app.openapi = lambda: service_schema(app)
    _add_generation_routes(app, state)
    _add_health_routes(app, state)
    _add_error_handlers(app, state)
    add_host_and_origin_checks(app, settings)
    app.add_middleware(RequestLog, metrics=state.metrics)
    return app


def opened(pair: Pair) -> PairOpener:
    """Wraps a pair that is open already, for programs that serve engines of their own."""

    async def open_pair() -> Pair:
        return pair

    return open_pair


def protected_router(state: ServiceState) -> APIRouter:
    """Makes a router whose routes need a key, if the service has keys."""
    if not state.keys:
        return APIRouter()
    return APIRouter(dependencies=[Security(RequireKey(state.keys))], responses=error_replies(*KEY_ERROR))


def _add_generation_routes(app: FastAPI, state: ServiceState) -> None:
    router = protected_router(state)

    async def chat_completions(request: Request) -> Response:
        """Write one chain of thought with two models, and its answer."""
        body = await read_body(request, schemas.ChatRequest, state.settings, state.closing)
        chains = state.reader.chat(body)
        return await ChainReply(state, request, chains, CompletionWriter(chains)).respond()

    async def completions(request: Request) -> Response:
        """Continue raw text."""
        body = await read_body(request, schemas.CompletionRequest, state.settings, state.closing)
        chains = state.reader.completion(body)
        return await ChainReply(state, request, chains, CompletionWriter(chains)).respond()

    async def responses(request: Request) -> Response:
        """Write one chain of thought and its answer, in the form of the Responses API."""
        body = await read_body(request, schemas.ResponsesRequest, state.settings, state.closing)
        chains = state.reader.responses(body)
        return await ChainReply(state, request, chains, ResponsesWriter(chains, body)).respond()

    async def list_models() -> Response:
        """List an id for each method that the pair can serve, and for each preset."""
        return Response(state.models.page, media_type="application/json")

    async def get_model(model: str) -> dict[str, Any]:
        """Describe one model."""
        return state.models.one(model)

    posts = (
        ("chat/completions", chat_completions, schemas.ChatRequest, schemas.ChatCompletion, schemas.Chunk),
        ("completions", completions, schemas.CompletionRequest, schemas.TextCompletion, schemas.Chunk),
        ("responses", responses, schemas.ResponsesRequest, schemas.ResponsesReply, schemas.ResponsesEvent),
    )
    for prefix, shown in (("/v1", True), ("", False)):  # clients with an address without /v1 work too
        for path, endpoint, body, reply, event in posts:
            router.add_api_route(
                f"{prefix}/{path}",
                endpoint,
                methods=["POST"],
                include_in_schema=shown,
                openapi_extra=describe_body(body),
                responses={200: describe_stream(reply, event), **error_replies(*BODY_ERRORS)},
            )
        router.add_api_route(f"{prefix}/models", list_models, include_in_schema=shown, responses={200: {"model": schemas.ModelList}})
        router.add_api_route(
            f"{prefix}/models/{{model:path}}",
            get_model,
            include_in_schema=shown,
            response_model=None,
            responses={200: {"model": schemas.ModelCard}, **error_replies(404)},
        )
    app.include_router(router)


def _add_health_routes(app: FastAPI, state: ServiceState) -> None:
    router = protected_router(state)

    async def health() -> dict[str, str]:
        """Answer while the process is alive."""
        return {"status": "ok"}

    async def ready() -> JSONResponse:
        """Answer whether both engines do, or the one that goes on alone (`degrade`)."""
        reason, missed = await state.readiness()
        if reason:
            return JSONResponse({"status": "not ready", "reason": reason}, 503)
        return JSONResponse({"status": "ready"} | ({"degraded": missed} if missed else {}))

    @router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}})
    async def metrics() -> Response:  # pyright: ignore[reportUnusedFunction]
        """Write the metrics for Prometheus."""
        return Response(state.metrics.page(), media_type=CONTENT_TYPE)

    @router.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:  # pyright: ignore[reportUnusedFunction]
        return HTMLResponse(docs_page(app.openapi()), headers=PAGE_POLICY)

    @router.get("/openapi.json", include_in_schema=False)
    async def openapi() -> JSONResponse:  # pyright: ignore[reportUnusedFunction]
        return JSONResponse(app.openapi())

    add_health_route(app, "/health", health, responses={200: {"model": schemas.Health}})
    add_health_route(app, "/ready", ready, responses={status: {"model": schemas.Readiness} for status in (200, 503)})
    app.include_router(router)


def add_health_route(app: FastAPI, path: str, endpoint: Callable[..., Any], **description: Any) -> None:
    """Adds an open route that answers `HEAD` too, as load balancers ask."""
    app.add_api_route(path, endpoint, methods=["GET"], response_model=None, **description)
    app.add_api_route(path, endpoint, methods=["HEAD"], include_in_schema=False, response_model=None)


def _add_error_handlers(app: FastAPI, state: ServiceState) -> None:
    async def reply(request: Request, error: Exception) -> Response:
        found = api_error(error, request.state.request_id)
        found.message = state.redact(found.message)
        return JSONResponse(found.body, found.status, found.headers)

    async def http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        found = ApiError(error.status_code, f"{request.method} {request.url.path}: {error.detail}", code=str(error.status_code))
        return JSONResponse(found.body, found.status, {**found.headers, **(error.headers or {})})

    async def disconnected(_: Request, __: Exception) -> Response:
        return Response(status_code=499)  # for the log: there is no client any more

    for kind in (ApiError, SpeculativeError):
        app.add_exception_handler(kind, reply)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(ClientDisconnect, disconnected)
