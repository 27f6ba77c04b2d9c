"""SplitReason's service: `/ping`, `/speculative_reason` and `/shutdown`.

Its fields, defaults and replies, so that its own client and harness class work unchanged. Mistakes of its replies (a prompt inside
`final_answer`, an HTML page for an error) are not kept.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from msgspec import Struct, structs
from pydantic import BaseModel, ConfigDict

from speculative import prompts
from speculative.errors import SpeculativeError, UsageError
from speculative.methods.registry import build
from speculative.pair import Pair
from speculative.problem import Message, Problem, Sampling
from speculative.redaction import without_address
from speculative.serve.app import protected_router
from speculative.serve.body import read_body
from speculative.serve.completion import ChainReply
from speculative.serve.completion_writer import CompletionWriter, encode
from speculative.serve.errors import ApiError, api_error
from speculative.serve.openapi import describe_post
from speculative.serve.outcome import ChainOutcome
from speculative.serve.replies import ChainReport
from speculative.serve.request import ChainRequest
from speculative.serve.schemas import Text
from speculative.serve.security import is_loopback
from speculative.serve.state import ServiceState
from speculative.splitreason.modes import MODES, instruction_from, params_of_mode
from speculative.trace.events import Answered, Asked, Drafted, Wrote
from speculative.trace.trace import Trace

SHARED_FIELDS = ("Model", "PromptTokens", "CompletionTokens", "Latency")
"""Fields that the record of `placeholder` has for the small model too."""


class SplitReasonRequest(BaseModel):
    """Request of `POST /speculative_reason`. Unknown keys are ignored."""

    model_config = ConfigDict(extra="allow")

    question: Text | None = None


class SplitReasonReply(Struct):
    """Reply of `POST /speculative_reason`."""

    final_answer: str
    usage_records: list[dict[str, Any]]
    speculative: ChainReport


class PlainError(Struct):
    """An error in the form of SplitReason."""

    error: str


class SplitReasonService(Struct, frozen=True):
    """SplitReason's endpoints.

    `defaults`: fields that a request leaves out, from the flags of its script. `mode`: for requests that name none. `shutdown`: open
    `POST /shutdown` to programs on this machine.
    """

    defaults: Mapping[str, Any] = {}
    mode: str | None = None
    max_tokens: int = 16384
    shutdown: bool = False

    def mount(self, app: FastAPI, stop: Callable[[], None]) -> None:
        """Adds the routes to an application."""
        state: ServiceState = app.state.service
        router = protected_router(state)

        async def ping() -> JSONResponse:
            """Answers once the models are loaded."""
            reason, _ = await state.readiness()
            return JSONResponse({"message": "warming up", "reason": reason}, 503) if reason else JSONResponse({"message": "pong"})

        async def speculative_reason(request: Request) -> Response:
            """Writes one chain, in the form of SplitReason."""
            try:
                fields = await read_body(request, SplitReasonRequest, state.settings, state.bodies)
                chains = self._read(state, fields)
                return await ChainReply(state, request, SplitReasonWriter(chains)).respond()
            except (ApiError, SpeculativeError) as error:
                reply = api_error(error, request.state.request_id)
                return reply.response(body={"error": state.redact(reply.message)})

        async def shut_down(request: Request) -> PlainTextResponse:
            """Ends the service for a program on this machine, never for a page in a browser."""
            if not (request.client and is_loopback(request.client.host)) or {"origin", "sec-fetch-site"} & set(request.headers):
                raise ApiError(403, "only a program on this machine may shut the service down")
            asyncio.get_running_loop().call_later(0.1, stop)
            return PlainTextResponse("Shutting down...")

        app.add_api_route("/ping", ping, methods=["GET"], responses={503: {"description": "The models are loading."}})
        router.add_api_route(
            "/speculative_reason",
            speculative_reason,
            methods=["POST"],
            **describe_post(SplitReasonRequest, SplitReasonReply, error=PlainError),
        )
        if self.shutdown:
            router.add_api_route("/shutdown", shut_down, methods=["POST"], response_class=PlainTextResponse, include_in_schema=False)
        app.include_router(router)

    def _read(self, state: ServiceState, request: SplitReasonRequest) -> ChainRequest:
        """Reads a request. Raises `ApiError` in SplitReason's own words, and `UsageError`."""
        if request.question is None:
            raise ApiError(400, "Missing 'question' in JSON payload")
        given = {name: value for name, value in (request.model_extra or {}).items() if value is not None}
        fields = {**self.defaults, **given}
        mode = next((mode for mode in MODES if fields.get(mode) is True), self.mode)
        if mode is None:
            raise ApiError(400, f"Invalid mode specified in JSON payload; one of {', '.join(MODES)} must be true")
        method = state.reader.check_params(build(MODES[mode], params_of_mode(mode, fields), paths=False))
        problem = _problem(state.pair, request.question, instruction_from(fields.get("terminating_string")))
        problem = structs.replace(
            problem,
            sampling=Sampling(temperature=_number("temperature", fields.get("temperature", Sampling().temperature))),
            max_tokens=int(_number("max_tokens", fields.get("max_tokens", min(self.max_tokens, state.settings.max_tokens)))),
            seed=int(_number("seed", fields.get("seed", secrets.randbits(31)))),
        )
        problems = (state.reader.limit_problem(problem),)
        return state.reader.check_drafts(ChainRequest(model=mode, method=method, problems=problems))


class SplitReasonWriter(CompletionWriter):
    """Writes the reply in SplitReason's words."""

    def whole(self, outcomes: Sequence[ChainOutcome], seconds: float) -> bytes:
        """Writes the answer and a record of each call."""
        (outcome,) = outcomes
        records = list(usage_records(outcome.trace))
        if self.request.model == "placeholder_mode":  # there, one record was of both models
            for small, big in pairwise(records[:2]):
                big |= {f"{field}Small": small[field] for field in SHARED_FIELDS}
        return encode(SplitReasonReply(outcome.content, records, ChainReport(**self.request.about, **outcome.report)))


def usage_records(trace: Trace) -> Iterator[dict[str, Any]]:
    """Yields a record for each call that wrote something.

    `ThinkIter` counts the records, `DraftVersion` the proposals of one call.
    """
    names = {role: without_address(card.name) for role, card in trace.started.engines.items()}
    for number, event in enumerate(event for event in trace.walk() if isinstance(event, Wrote | Drafted | Asked | Answered)):
        call = event.call
        yield {
            "Model": names.get(call.role, call.role),
            "ThinkIter": "answer" if isinstance(event, Answered) else number,
            "DraftVersion": len(event.proposals) if isinstance(event, Drafted) else 0,
            "PromptTokens": call.prompt_tokens,
            "CompletionTokens": call.produced_tokens,
            "Latency": call.seconds,
        }


def _problem(pair: Pair, question: str, instruction: str | None) -> Problem:
    """Makes the problem of a question.

    A question in the big model's own template stays as it is; any other text is a message.
    """
    dialect = prompts.find_dialect(pair["big"].dialect)
    if not dialect.is_templated(question):
        return Problem(messages=(Message("user", question),), answer_instruction=instruction)
    text = f"{question}{instruction or ''}"
    return Problem(messages=(Message("user", text if dialect.is_thinking_open(text) else f"{text}{dialect.think_opening}"),), raw=True)


def _number(field: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value or abs(value) > 1e15:
        raise UsageError(f"{field} must be a number, got {str(value)[:80]!r}")
    return value
