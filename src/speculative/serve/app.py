"""The application: its routes, and the errors that they reply with."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response, Security
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from speculative import __version__
from speculative.errors import SpeculativeError
from speculative.pair import Pair
from speculative.serve import replies, schemas
from speculative.serve.body import read_body
from speculative.serve.completion import ChainReply
from speculative.serve.completion_writer import CompletionWriter, encode
from speculative.serve.docs_page import docs_page
from speculative.serve.errors import ApiError, api_error, route_error
from speculative.serve.method_list import MethodList
from speculative.serve.metrics import CONTENT_TYPE
from speculative.serve.openapi import describe_json, describe_post, error_replies, service_schema
from speculative.serve.page_routes import add_page_routes
from speculative.serve.request_log import RequestLog
from speculative.serve.responses_writer import ResponsesWriter
from speculative.serve.security import RequireKey, add_host_and_origin_checks
from speculative.serve.state import PairOpener, ServiceState
from speculative.settings import Settings

PAGE_POLICY = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'"}


def create_app(settings: Settings, open_pair: PairOpener, *, on_failure: Callable[[], None] | None = None) -> FastAPI:
    """Makes the service as an ASGI application. Raises `UsageError`.
    `app.state.service` is its `ServiceState`.
    """
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
    router = protected_router(state)
    for prefix in ("/v1", ""):  # clients with an address without /v1 work too
        _add_generation_routes(router, state, prefix)
        _add_model_routes(router, state, prefix)
    _add_service_routes(app, router, state)
    app.include_router(router)
    add_page_routes(app)
    _add_error_handlers(app, state)
    add_host_and_origin_checks(app, settings)
    app.add_middleware(AnswerHead)
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
    return APIRouter(dependencies=[Security(RequireKey(state.keys))], responses=error_replies(401))


def _add_generation_routes(router: APIRouter, state: ServiceState, prefix: str) -> None:
    async def body_of(request: Request, model: type[BaseModel]) -> Any:
        return await read_body(request, model, state.settings, state.bodies)

    async def chat_completions(request: Request) -> Response:
        """Writes one chain of thought with two models, and its answer."""
        chains = state.reader.chat(await body_of(request, schemas.ChatRequest))
        return await ChainReply(state, request, CompletionWriter(chains)).respond()

    async def completions(request: Request) -> Response:
        """Continues raw text."""
        chains = state.reader.completion(await body_of(request, schemas.CompletionRequest))
        return await ChainReply(state, request, CompletionWriter(chains)).respond()

    async def responses(request: Request) -> Response:
        """Writes one chain of thought and its answer, in the form of the Responses API."""
        body = await body_of(request, schemas.ResponsesRequest)
        return await ChainReply(state, request, ResponsesWriter(state.reader.responses(body), body)).respond()

    described = (
        ("chat/completions", chat_completions, describe_post(schemas.ChatRequest, replies.ChatCompletion, replies.Chunk, last="[DONE]")),
        ("completions", completions, describe_post(schemas.CompletionRequest, replies.TextCompletion, replies.Chunk, last="[DONE]")),
        ("responses", responses, describe_post(schemas.ResponsesRequest, replies.ResponsesReply, replies.ResponsesEvent)),
    )
    for path, endpoint, description in described:
        router.add_api_route(f"{prefix}/{path}", endpoint, methods=["POST"], include_in_schema=bool(prefix), **description)


def _add_model_routes(router: APIRouter, state: ServiceState, prefix: str) -> None:
    @router.get(f"{prefix}/models", include_in_schema=bool(prefix), responses={200: describe_json(replies.ModelList)})
    async def list_models() -> Response:  # pyright: ignore[reportUnusedFunction]
        """Lists an id for each method that the pair can serve, and for each preset."""
        return Response(state.models.page, media_type="application/json")

    @router.get(f"{prefix}/methods", include_in_schema=bool(prefix), responses={200: describe_json(MethodList)})
    async def list_methods() -> Response:  # pyright: ignore[reportUnusedFunction]
        """Describes methods, wrappers and presets, with schemas for a form."""
        return Response(state.methods, media_type="application/json")

    model_replies = {200: describe_json(replies.ModelCard), **error_replies(404)}

    @router.get(f"{prefix}/models/{{model:path}}", include_in_schema=bool(prefix), responses=model_replies)
    async def get_model(model: str) -> Response:  # pyright: ignore[reportUnusedFunction]
        """Describes one model."""
        return Response(encode(state.models.one(model)), media_type="application/json")


def _add_service_routes(app: FastAPI, router: APIRouter, state: ServiceState) -> None:
    async def health() -> Response:
        """Answers while the process is alive."""
        return JSONResponse({"status": "ok"})

    async def ready() -> Response:
        """Asks both engines for a token, or the one that goes on alone (`degrade`)."""
        reason, missed = await state.readiness()
        if reason:
            return JSONResponse({"status": "not ready", "reason": reason}, 503)
        return JSONResponse({"status": "ready"} | ({"degraded": missed} if missed else {}))

    @router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}})
    async def metrics() -> Response:  # pyright: ignore[reportUnusedFunction]
        """Writes the metrics for Prometheus."""
        return Response(state.metrics.page(), media_type=CONTENT_TYPE)

    @router.get("/docs", include_in_schema=False)
    async def docs() -> Response:  # pyright: ignore[reportUnusedFunction]
        return HTMLResponse(docs_page(app.openapi()), headers=PAGE_POLICY)

    @router.get("/openapi.json", include_in_schema=False)
    async def openapi() -> Response:  # pyright: ignore[reportUnusedFunction]
        return JSONResponse(app.openapi())

    alive, answers, silent = (
        describe_json(replies.Readiness, f"{words}.")
        for words in ("The process is alive", "Both engines answer", "An engine does not answer")
    )
    app.add_api_route("/health", health, methods=["GET"], responses={200: alive})
    app.add_api_route("/ready", ready, methods=["GET"], responses={200: answers, 503: silent})


class AnswerHead:
    """Answers `HEAD` by the route of `GET`, as load balancers and link checkers ask.

    The server sends no body, since its own scope has the true method.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        inner = {**scope, "method": "GET"}
        try:
            await self._app(inner, receive, send)
        finally:
            scope["route"] = inner.get("route")  # the log names it


def _add_error_handlers(app: FastAPI, state: ServiceState) -> None:
    async def reply(request: Request, error: Exception) -> Response:
        found = api_error(error, request.state.request_id)
        found.message = state.redact(found.message)
        return found.response()

    async def http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        allowed = (error.headers or {}).get("Allow", "")
        return route_error(error.status_code, request.method, request.url.path, error.detail, allowed).response(headers=error.headers)

    async def disconnected(_: Request, __: Exception) -> Response:
        return Response(status_code=499)  # for the log: there is no client any more

    for kind in (ApiError, SpeculativeError):
        app.add_exception_handler(kind, reply)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(ClientDisconnect, disconnected)
