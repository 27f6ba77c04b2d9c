"""The first library's service: `GET /ping`, `POST /speculative_reason`, and `POST /shutdown` where that was opened.

Its fields, its defaults and its replies, so that its own client and harness class work unchanged; what was wrong with its
replies (a prompt inside `final_answer`, an HTML page for an error) is not kept.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from msgspec import Struct, structs

from speculative import prompts
from speculative.errors import UsageError
from speculative.methods.registry import build
from speculative.pair import Pair
from speculative.problem import Message, Problem, Sampling
from speculative.serve.door import Door
from speculative.serve.errors import Refusal
from speculative.serve.reply import Reply
from speculative.serve.request import Job
from speculative.serve.responses import encode
from speculative.serve.schemas import FirstRequest
from speculative.serve.security import loopback
from speculative.serve.shown import named
from speculative.splitreason.modes import MODES, ending, params_of_mode
from speculative.trace.events import Answered, Asked, Drafted, Wrote
from speculative.trace.trace import Trace

BOTH = ("Model", "PromptTokens", "CompletionTokens", "Latency")
"""What the record of `placeholder` says of the small model too."""


class FirstService(Struct, frozen=True):
    """The first library's service. `defaults`: for what a request leaves out, as its own flags gave them. `mode`: where it names none."""

    defaults: Mapping[str, Any] = {}
    mode: str | None = None
    max_tokens: int = 16384

    def mount(self, app: FastAPI, door: Door, shutdown: Callable[[], None] | None) -> None:
        """Adds the routes."""

        @app.get("/ping")
        async def ping() -> JSONResponse:  # pyright: ignore[reportUnusedFunction]
            """The models are loaded."""
            reason, _ = await door.unready()
            return JSONResponse({"message": "warming up", "reason": reason}, 503) if reason else JSONResponse({"message": "pong"})

        @app.post("/speculative_reason", response_class=JSONResponse)
        async def speculative_reason(request: Request, asked: FirstRequest) -> Response:  # pyright: ignore[reportUnusedFunction]
            """One chain, in the first library's words."""
            return FirstReply(door, self.job(door, asked), request.state.began)

        if shutdown is None:
            return

        @app.post("/shutdown", response_class=PlainTextResponse)
        async def shut_down(request: Request) -> PlainTextResponse:  # pyright: ignore[reportUnusedFunction]
            """Ends the service in good order. Only for programs on this machine: no page in a browser may do it."""
            if not (request.client and loopback(request.client.host)) or "origin" in request.headers or "sec-fetch-site" in request.headers:
                raise Refusal(403, "only a program on this machine may shut the service down")
            asyncio.get_running_loop().call_later(0.1, shutdown)
            return PlainTextResponse("Shutting down...")

    def job(self, door: Door, asked: FirstRequest) -> Job:
        """Raises `Refusal` as the first service words it, and `UsageError`."""
        if asked.question is None:
            raise Refusal(400, "Missing 'question' in JSON payload")
        fields = {**self.defaults, **{name: value for name, value in (asked.model_extra or {}).items() if value is not None}}
        mode = next((mode for mode in MODES if fields.get(mode) is True), self.mode)
        if mode is None:
            raise Refusal(400, f"Invalid mode specified in JSON payload; one of {', '.join(MODES)} must be true")
        method = door.jobs.checked(build(MODES[mode], params_of_mode(mode, fields), paths=False))
        problem = _problem(door.pair, asked.question, ending(fields.get("terminating_string")))
        problem = structs.replace(
            problem,
            sampling=Sampling(temperature=_number("temperature", fields.get("temperature", Sampling().temperature))),
            max_tokens=int(_number("max_tokens", fields.get("max_tokens", min(self.max_tokens, door.settings.max_tokens)))),
            seed=int(_number("seed", fields.get("seed", secrets.randbits(31)))),
        )
        return door.jobs.limited_drafts(Job(model=mode, method=method, problems=(door.jobs.limited(problem),)))


class FirstReply(Reply):
    """The reply in the first library's words."""

    def encoded(self) -> bytes:
        (outcome,) = self.outcomes
        ours, usage = {**self.job.about, **outcome.ours}, list(records(outcome.trace))
        if self.job.model == "placeholder_mode":  # there, one record was of both models
            for small, big in pairwise(usage[:2]):
                big |= {f"{field}Small": small[field] for field in BOTH}
        return encode({"final_answer": outcome.content, "usage_records": usage, "speculative": ours})

    def told(self, refusal: Refusal) -> dict[str, Any]:
        return {"error": refusal.message}


def records(trace: Trace) -> Iterator[dict[str, Any]]:
    """One record for each call that wrote something; `ThinkIter` counts them, `DraftVersion` the proposals of one call."""
    names = {role: named(card.name) for role, card in trace.started.engines.items()}
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
    """A question in the big model's own template is taken as it is, its markers as markers; any other text is a message."""
    dialect = prompts.find_dialect(pair["big"].dialect)
    if not dialect.is_templated(question):
        return Problem(messages=(Message("user", question),), answer_instruction=instruction)
    text = f"{question}{instruction or ''}"
    return Problem(messages=(Message("user", text if dialect.is_thinking_open(text) else f"{text}{dialect.think_opening}"),), raw=True)


def _number(field: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value or abs(value) > 1e15:
        raise UsageError(f"{field}: {str(value)[:80]!r} is no number that can be used")
    return value
