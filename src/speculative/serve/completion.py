"""Answers one request: waits for places, runs the chains, and sends the reply."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Coroutine
from contextlib import AsyncExitStack
from hashlib import blake2b
from typing import Any, TypeVar

from fastapi import Request, Response
from starlette.requests import ClientDisconnect

from speculative.engines.base import CACHE_SALT
from speculative.errors import EngineError
from speculative.serve.chains import RunningChains
from speculative.serve.completion_writer import CompletionWriter
from speculative.serve.errors import ApiError, api_error, failure_code, first_error
from speculative.serve.logs import log
from speculative.serve.outcome import ChainOutcome
from speculative.serve.request import innermost
from speculative.serve.responses_writer import ResponsesWriter
from speculative.serve.state import ServiceState
from speculative.serve.streaming import COMMENT, EventStream, Signal, TextFeed
from speculative.trace.events import Degraded
from speculative.trace.usage import all_roles

T = TypeVar("T")

OVERHEAD = "x-speculative-overhead-ms"


class ChainReply:
    """The reply to one request. All of its chains end when its client goes away."""

    def __init__(self, state: ServiceState, request: Request, writer: CompletionWriter | ResponsesWriter) -> None:
        self._state, self._request, self._writer, self._chains = state, request, writer, writer.request
        self._began: float = request.state.began
        self._request_id: str = request.state.request_id
        self._queued = 0.0
        self._outcomes: list[ChainOutcome] = []
        self._open = AsyncExitStack()

    async def respond(self) -> Response:
        """Returns the whole reply, or the stream once there is something in it.

        Raises:
            ApiError: the request failed, as the client may know it.
        """
        try:
            return await unless_disconnected(self._request, self._begin_stream() if self._chains.stream else self._whole())
        except ClientDisconnect:
            self._note_disconnect()
            raise
        except Exception as error:
            raise self._report(error) from error

    async def _whole(self) -> Response:
        async with self._open:
            self._outcomes = await (await self._start(None)).finish()
        self._log()
        data = self._writer.whole(self._outcomes, self._elapsed())
        return Response(data, media_type="application/json", headers={OVERHEAD: f"{1000 * self._observe_overhead():.3f}"})

    async def _begin_stream(self) -> Response:
        """Waits for the first text, so that an error before it gets a status of its own."""
        signal = Signal()
        self._open.callback(signal.close)
        try:
            chains = await self._start(signal)
            ahead = self._elapsed() - self._queued
            while not (signal.silent or chains.any_live()):
                await signal.next()
                chains.raise_failure()
            signal.set()
        except BaseException:
            await self._open.aclose()
            raise
        return EventStream(self._stream(chains, signal), self._end_stream, {OVERHEAD: f"{1000 * ahead:.3f}"})

    async def _stream(self, chains: RunningChains, signal: Signal) -> AsyncGenerator[bytes]:
        begin = self._writer.begin()
        try:
            async for data in self._texts(chains, signal):
                yield begin + data  # in one part: each takes a call of the system
                begin = b""
            await self._open.aclose()  # before the end is sent: a client that has it finds its chains counted
            self._observe_overhead()
            yield self._writer.end(self._outcomes)
        except Exception as error:  # noqa: BLE001  every error is sent to the client
            self._outcomes = []
            yield begin + self._writer.error(self._report(error))

    async def _texts(self, chains: RunningChains, signal: Signal) -> AsyncGenerator[bytes]:
        feeds, outcomes, waiting, first = dict(enumerate(chains.feeds)), dict[int, ChainOutcome](), True, True
        while feeds:
            await signal.next()
            done = [index for index in feeds if chains.is_done(index)]
            if done:
                outcomes |= {index: chains.outcome(index) for index in done}
            data = b"".join([self._news(index, feed) for index, feed in feeds.items() if feed])
            for index in done:
                del feeds[index]
                data += self._writer.chain_end(index, outcomes[index])
            if data and waiting:
                waiting = False
                self._state.metrics.seconds("first_text").observe(self._elapsed())
            if data or signal.silent or first:
                yield data or COMMENT
                signal.silent, signal.sent, first = False, True, False
        self._outcomes = [outcomes[index] for index in sorted(outcomes)]

    def _news(self, index: int, feed: TextFeed) -> bytes:
        text = self._writer.text(index, *feed.take())
        if self._chains.events:
            return b"".join(self._writer.event(index, path, event) for path, event in feed.take_events()) + text
        return text

    async def _end_stream(self) -> None:
        if not self._outcomes and not self._request.state.failed:
            self._note_disconnect()
        await self._open.aclose()
        self._log()

    # ---- chains, figures and the log --------------------------------------------------------------------------------

    async def _start(self, signal: Signal | None) -> RunningChains:
        """Waits for places and starts the chains.

        Closing `_open` ends the chains, counts their cost and frees the places.
        """
        pair = self._state.pair
        if self._state.keys:  # callers with another key cannot tell from its speed what this one has asked
            key = self._request.headers.get("authorization", "")
            CACHE_SALT.set(blake2b(key.encode(), digest_size=16).hexdigest())
        pair.check(self._chains.method)
        chains = RunningChains(self._chains, pair, signal.set if signal else None)
        self._queued = await self._open.enter_async_context(self._state.queue.places(self._chains.chains, chains.abort))
        self._open.callback(self._count, chains)
        self._open.push_async_callback(chains.close)
        await chains.start()
        return chains

    def _count(self, chains: RunningChains) -> None:
        """Counts the cost of all chains, finished or not."""
        metrics, label = self._state.metrics, innermost(self._chains.method).name()
        metrics.seconds("queue").observe(self._queued)
        metrics.seconds("total").observe(self._elapsed())
        for outcome in self._outcomes:
            metrics.count_chain(label, outcome)
        if not self._outcomes:
            for trace in chains.traces():
                metrics.count_cost(ChainOutcome.from_trace(trace))

    def _report(self, error: Exception) -> ApiError:
        """Converts an error, counts it, and logs the details that clients do not see."""
        self._request.state.failed = True
        reply, first = api_error(error, self._request_id), first_error(error)
        reply.message = self._state.redact(reply.message)
        if isinstance(first, EngineError):
            self._state.metrics.errors(failure_code(first)).inc()
        if reply.status >= 500:
            expected = reply.status != 500 and type(first) is not EngineError  # the words of other errors may quote the prompt
            log(
                "failed",
                30 if reply.status == 503 else 40,
                error=None if expected else first.__cause__ or first,
                request=self._request_id,
                status=reply.status,
                code=reply.code,
                reason=self._state.redact(str(first)) if expected else None,
            )
        return reply

    def _note_disconnect(self) -> None:
        self._state.metrics.cancelled.inc()
        log("client gone", request=self._request_id, seconds=self._elapsed())

    def _log(self) -> None:
        if not self._outcomes:
            return
        with_text, outcomes = self._state.settings.log_text, self._outcomes
        lost = [event for outcome in outcomes if outcome.degraded for event in outcome.trace.walk() if isinstance(event, Degraded)]
        log(
            "chain",
            request=self._request_id,
            model=self._chains.model,
            chains=len(outcomes),
            finish=[outcome.finish for outcome in outcomes],
            kept=sum(outcome.kept for outcome in outcomes),
            produced=int(sum(all_roles(outcome.usage, "produced_tokens") for outcome in outcomes)),
            degraded=lost[0].role if lost else None,
            reason=lost[0].error if lost else None,
            seconds=self._elapsed(),
            queued=round(self._queued, 6),
            user=self._chains.user,
            messages=[[m.role, m.content] for m in self._chains.problems[0].messages] if with_text else None,
            replies=[[outcome.reasoning, outcome.content] for outcome in outcomes] if with_text else None,
        )

    def _elapsed(self) -> float:
        return round(time.perf_counter() - self._began, 6)

    def _observe_overhead(self) -> float:
        """Counts the seconds that the service itself added to the request.

        They are those without waiting for a place, and without an engine at work for its longest chain.
        """
        overhead = max(0.0, self._elapsed() - self._queued - max(outcome.busy_s for outcome in self._outcomes))
        self._state.metrics.overhead.observe(overhead)
        return overhead


async def unless_disconnected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Runs work, and raises `ClientDisconnect` when the client goes away."""

    async def wait_for_disconnect() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    task, gone = asyncio.create_task(work), asyncio.create_task(wait_for_disconnect())
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        task.cancel()
        gone.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)
