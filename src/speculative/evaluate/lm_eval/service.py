"""A running `speculative serve` in place of engines: the same chains, asked for over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from speculative.answers import boxed
from speculative.engines.http.client import Deadlines, Link
from speculative.engines.options import EngineOptions, with_api_key
from speculative.errors import EngineRefusedError, EngineServerError
from speculative.evaluate.lm_eval.arguments import Arguments
from speculative.methods.base import Method, name_of, params_of
from speculative.problem import FinishReason, Problem
from speculative.result import Result
from speculative.trace.events import AnyEvent
from speculative.trace.trace import Trace

PATIENCE = 4 * 3600.0
"""Seconds that a chain may take; the service has a limit of its own."""


class _Message(Struct, frozen=True):
    content: str
    reasoning: str


class _Ours(Struct, frozen=True):
    finish_reason: FinishReason
    seconds: float


class _Choice(Struct, frozen=True):
    message: _Message
    speculative: _Ours


class _Told(Struct, frozen=True):
    events: list[list[AnyEvent]]


class _Reply(Struct, frozen=True):
    choices: list[_Choice]
    speculative: _Told


_decoder = msgspec.json.Decoder(_Reply)


class Service:
    """Chains of the service at an address. Its key is `SPECULATIVE_SERVICE_KEY` (or `SPECULATIVE_KEY`) of the environment."""

    def __init__(self, url: str, arguments: Arguments) -> None:
        self._arguments = arguments
        base = url if url.endswith("/v1") else f"{url}/v1"
        self._link = Link([base], secret=with_api_key("service", EngineOptions()).key, deadlines=Deadlines(first_token=PATIENCE))

    async def check(self) -> None:
        """Raises `EngineError` where no service answers, or it is not ready."""
        await self._link.get("/ready")

    async def solve(self, problem: Problem, method: Method) -> Result:
        """One chain. Raises `EngineError`: what the service refuses is told in its words."""
        try:
            data = await self._link.post("chat/completions", self._body(problem), key="")
        except EngineRefusedError as error:
            error.args = (str(error).replace("--big-key, --small-key", "SPECULATIVE_SERVICE_KEY in the environment"),)
            raise
        try:
            reply = _decoder.decode(data)
            (choice,), (events,) = reply.choices, reply.speculative.events
        except (msgspec.DecodeError, msgspec.ValidationError, ValueError) as error:
            raise EngineServerError(f"{self._link.name}: no answer of `speculative serve` ({error}); see what runs there") from None
        trace = Trace(events)
        text = choice.message.content.strip()
        return Result(
            text=text,
            reasoning=choice.message.reasoning,
            answer=boxed(text),
            finish_reason=choice.speculative.finish_reason,
            method=name_of(method),
            params=params_of(method),
            seed=problem.seed,
            seconds=choice.speculative.seconds,
            usage=trace.usage(),
            trace=trace,
            degraded=trace.degraded,
        )

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._link.aclose()

    def _body(self, problem: Problem) -> dict[str, Any]:
        """The method prepares the problem over there."""
        asked = self._arguments
        body: Mapping[str, Any] = {
            "model": "speculative",
            "messages": [{"role": message.role, "content": message.content} for message in problem.messages],
            "method": asked.method,
            "params": asked.params,
            "with": list(asked.wrappers) or None,
            "temperature": problem.sampling.temperature,
            "top_p": problem.sampling.top_p,
            "top_k": problem.sampling.top_k,
            "seed": problem.seed,
            "max_tokens": problem.max_tokens,
            "max_produced": problem.max_produced,
            "max_seconds": problem.max_seconds,
            "degrade": problem.degrade,
            "warm_every": problem.warm_every,
            "stop": list(problem.stop) or None,
            "answer_instruction": True if problem.answer_instruction is None else problem.answer_instruction,
            "events": True,
        }
        return {name: value for name, value in body.items() if value is not None}
