"""Answers one request: waits for a place, runs the chains, sends the reply, and ends all of it when the client goes away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, TypeVar

from fastapi import Request, Response
from msgspec import structs
from starlette.requests import ClientDisconnect

from speculative import prompts
from speculative.chain.context import Prompts, tokenize_prompts
from speculative.errors import EngineError
from speculative.methods.base import append_only
from speculative.pair import Pair
from speculative.problem import Message, Problem
from speculative.result import Result
from speculative.runner import run
from speculative.serve.errors import ApiError, api_error, first_error, shutting_down
from speculative.serve.logs import log
from speculative.serve.outcome import ChainOutcome
from speculative.serve.request import ChainRequest, innermost
from speculative.serve.responses import ReplyWriter
from speculative.serve.state import ServiceState
from speculative.serve.streaming import COMMENT, EventStream, RawText, Signal, TextFeed
from speculative.trace.events import Degraded
from speculative.trace.trace import Trace

T = TypeVar("T")

OVERHEAD = "x-speculative-overhead-ms"
SHORT_PROMPT = 4096
"""Characters that are tokenized on the event loop: a few milliseconds of work."""
LONG_PROMPT = 1 << 16
"""Characters above which one prompt is tokenized at a time."""


class ChainReply:
    """The reply to one request. `seconds` are measured from `began`."""

    def __init__(self, state: ServiceState, request: Request, chains: ChainRequest, writer: ReplyWriter) -> None:
        self._state, self._request, self._chains, self._writer = state, request, chains, writer
        self._began: float = request.state.began
        self._request_id: str = request.state.request_id
        self._queued = 0.0
        self._outcomes: list[ChainOutcome] = []
        self._open = AsyncExitStack()

    async def respond(self) -> Response:
        """Returns the whole reply, or the stream once there is something in it. Raises `ApiError`, and what the chains raise."""
        try:
            work = self._begin_stream() if self._chains.stream else self._whole()
            return await unless_disconnected(self._request, work)
        except ClientDisconnect:
            self._note_disconnect()
            raise
        except Exception as error:
            raise self._report(error) from error

    # ---- not streamed -----------------------------------------------------------------------------------------------

    async def _whole(self) -> Response:
        async with self._open:
            chains = await self._start(None)
            self._outcomes = await chains.finish()
        overhead = self._overhead()
        self._state.metrics.overhead.observe(overhead)
        self._log()
        data = self._writer.whole(self._outcomes, self._elapsed())
        return Response(data, media_type="application/json", headers={OVERHEAD: f"{1000 * overhead:.3f}"})

    # ---- streamed ---------------------------------------------------------------------------------------------------

    async def _begin_stream(self) -> Response:
        """Waits for the first text, so that an error before it gets a status of its own."""
        signal = Signal()
        self._open.callback(signal.close)
        try:
            chains = await self._start(signal)
            ahead = self._elapsed() - self._queued
            while not (signal.silent or chains.any_live()):
                await signal.wait()
                chains.raise_failure()
            signal.set()
        except BaseException:
            await self._open.aclose()
            raise
        return EventStream(self._stream(chains, signal), self._end_stream, {OVERHEAD: f"{1000 * ahead:.3f}"})

    async def _stream(self, chains: RunningChains, signal: Signal) -> AsyncGenerator[bytes]:
        try:
            yield self._writer.begin()
            async for data in self._texts(chains, signal):
                yield data
            await self._open.aclose()  # before the end is sent: a client that has it finds its chains counted
            self._state.metrics.overhead.observe(self._overhead())
            yield self._writer.end(self._outcomes)
        except Exception as error:  # noqa: BLE001  every error is sent to the client
            self._outcomes = []
            yield self._writer.stream_error(self._report(error))

    async def _texts(self, chains: RunningChains, signal: Signal) -> AsyncGenerator[bytes]:
        feeds, outcomes, waiting = dict(enumerate(chains.feeds)), dict[int, ChainOutcome](), True
        while feeds:
            await signal.wait()
            done = [index for index in feeds if chains.is_done(index)]
            outcomes |= {index: chains.outcome(index) for index in done}
            data = b"".join([self._news(index, feed) for index, feed in feeds.items() if feed])
            for index in done:
                del feeds[index]
                data += self._writer.chain_end(index, outcomes[index])
            if data and waiting:
                waiting = False
                self._state.metrics.seconds("first_text").observe(self._elapsed())
            if data or signal.silent:
                yield data or COMMENT
                signal.sent()
        self._outcomes = [outcomes[index] for index in sorted(outcomes)]

    def _news(self, index: int, feed: TextFeed) -> bytes:
        text = self._writer.text(index, *feed.take())
        if self._chains.events:
            return b"".join(self._writer.event(index, event) for event in feed.take_events()) + text
        return text

    async def _end_stream(self) -> None:
        if not self._outcomes and not self._request.state.failed:
            self._note_disconnect()
        await self._open.aclose()
        self._log()

    # ---- chains, figures and the log --------------------------------------------------------------------------------

    async def _start(self, signal: Signal | None) -> RunningChains:
        """Waits for places and starts the chains; closing `_open` ends both and counts their cost."""
        pair = self._state.pair
        pair.check(self._chains.method)
        chains = RunningChains(self._chains, pair, signal, self._state.long_prompts)
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
        """Converts an error, counts it, and writes to the log what the client is not told."""
        self._request.state.failed = True
        reply, first = api_error(error, self._request_id), first_error(error)
        reply.message = self._state.redact(reply.message)
        if isinstance(first, EngineError):
            self._state.metrics.errors(type(first).__name__).inc()
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
        with_text = self._state.settings.log_text
        lost = [event for outcome in self._outcomes if outcome.degraded for event in outcome.trace.walk() if isinstance(event, Degraded)]
        log(
            "chain",
            request=self._request_id,
            model=self._chains.model,
            chains=len(self._outcomes),
            finish=[outcome.finish for outcome in self._outcomes],
            kept=sum(outcome.kept for outcome in self._outcomes),
            produced=sum(usage.produced_tokens for outcome in self._outcomes for usage in outcome.usage.values()),
            degraded=lost[0].role if lost else None,
            reason=lost[0].error if lost else None,
            seconds=self._elapsed(),
            queued=round(self._queued, 6),
            overhead=round(self._overhead(), 6),
            user=self._chains.user,
            messages=[[m.role, m.content] for m in self._chains.problems[0].messages] if with_text else None,
            replies=[[outcome.reasoning, outcome.content] for outcome in self._outcomes] if with_text else None,
        )

    def _elapsed(self) -> float:
        return round(time.perf_counter() - self._began, 6)

    def _overhead(self) -> float:
        """Computes the seconds in which the request neither waited for a place nor an engine worked for its longest chain."""
        return max(0.0, self._elapsed() - self._queued - max(outcome.busy_s for outcome in self._outcomes))


class RunningChains:
    """The chains of one request, each in a task of its own. `feeds` has the listener of each chain that has one."""

    def __init__(self, request: ChainRequest, pair: Pair, signal: Signal | None, turn: asyncio.Semaphore) -> None:
        """Without a `signal` the reply is not streamed, so the engines need not stream either."""
        self._request, self._pair, self._signal, self._turn = request, pair, signal, turn
        self._raw = [raw_text(pair, problem) if request.raw else None for problem in request.problems]
        self._aborted = False
        self._tasks: list[asyncio.Task[Result]] = []
        self._traces = [Trace([]) for _ in request.problems]
        self.feeds: list[TextFeed | None] = []

    async def start(self) -> None:
        """Begins all chains. Raises `UsageError` where the method cannot take the problem."""
        method = self._request.method
        self.feeds = [self._feed(index) for index in range(len(self._request.problems))]
        prepared = [method.prepare(with_raw_budget(problem, raw)) for problem, raw in zip(self._request.problems, self._raw, strict=True)]
        tokens = await tokenize_off_loop(self._pair, prepared, self._turn)
        self.raise_failure()
        for problem, feed, trace in zip(prepared, self.feeds, self._traces, strict=True):
            work = run(problem, method, self._pair, feed, trace=trace, prompts=tokens[problem.messages])
            task = asyncio.create_task(work)
            if self._signal:
                task.add_done_callback(lambda _, wake=self._signal.set: wake())
            self._tasks.append(task)

    async def finish(self) -> list[ChainOutcome]:
        """Waits for all chains. Raises the first error."""
        await asyncio.wait(self._tasks, return_when=asyncio.FIRST_EXCEPTION)
        self.raise_failure()
        return [self.outcome(index) for index in range(len(self._tasks))]

    def any_live(self) -> bool:
        """Returns whether a chain has begun to write, or has ended."""
        return any(feed and feed.live for feed in self.feeds) or any(map(asyncio.Task[Result].done, self._tasks))

    def is_done(self, index: int) -> bool:
        return self._tasks[index].done()

    def raise_failure(self) -> None:
        """Raises the error of a chain that failed, or that of an abort."""
        if self._aborted:
            raise shutting_down("the service is shutting down and did not finish this chain")
        for task in self._tasks:
            if task.done() and not task.cancelled() and (error := task.exception()):
                raise error

    def outcome(self, index: int) -> ChainOutcome:
        """Computes the outcome of a finished chain. Raises its error, or that of an abort."""
        task, feed, raw = self._tasks[index], self.feeds[index], self._raw[index]
        if task.cancelled():
            self.raise_failure()
        if feed:
            feed.close()
        finish = feed.finish if feed else ""
        if not finish:  # else its text was over before the chain was
            task.result()
        return ChainOutcome.from_trace(self._traces[index], close=raw.close if raw else None, finish=finish)

    def traces(self) -> Iterator[Trace]:
        """Yields the traces of all chains that began."""
        return (trace for trace in self._traces if trace.events)

    async def close(self) -> None:
        """Cancels chains that still run, and their calls to engines, and waits until they are over."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def abort(self) -> None:
        """Ends all chains because the service shuts down."""
        self._aborted = True
        for task in self._tasks:
            task.cancel()

    def _feed(self, index: int) -> TextFeed | None:
        """Makes the listener of a streamed chain, or of a raw text, which may be over before its chain is."""
        problem, raw = self._request.problems[index], self._raw[index]
        ends_early = raw is not None and (bool(problem.stop) or raw.ends is not None)
        if self._signal is None and not ends_early:
            return None
        return TextFeed(
            self._signal.set if self._signal else lambda: None,
            partial(self._end, index),
            self._traces[index],
            append_only=append_only(self._request.method),
            stops=problem.stop,
            raw=raw,
            watch=self._request.events,
        )

    def _end(self, index: int) -> None:
        self._tasks[index].cancel()


async def unless_disconnected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Runs work and cancels it when the client goes away. Raises `ClientDisconnect` then."""
    task, gone = asyncio.create_task(work), asyncio.create_task(_disconnected(request))
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        task.cancel()
        gone.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def tokenize_off_loop(pair: Pair, problems: Sequence[Problem], turn: asyncio.Semaphore) -> dict[tuple[Message, ...], Prompts]:
    """Tokenizes each prompt of a request once: a short one here, a longer one in a thread, so that other requests go on.

    Args:
        turn: long prompts are tokenized one after the other, so that they do not take all cores.
    """
    found: dict[tuple[Message, ...], Prompts] = {}
    for problem in problems:
        if problem.messages in found:
            continue
        size = sum(len(message.content) for message in problem.messages)
        if size <= SHORT_PROMPT:
            found[problem.messages] = tokenize_prompts(pair.values(), problem)
        elif size <= LONG_PROMPT:
            found[problem.messages] = await asyncio.to_thread(tokenize_prompts, pair.values(), problem)
        else:
            async with turn:
                found[problem.messages] = await asyncio.to_thread(tokenize_prompts, pair.values(), problem)
    return found


def raw_text(pair: Pair, problem: Problem) -> RawText:
    """Finds out how a raw prompt's thinking is closed, and whether the text may end without thinking."""
    dialect = prompts.find_dialect(pair["big"].dialect)

    def close(text: str) -> str:
        return "".join(part if isinstance(part, str) else part.text for part in dialect.close(text))

    if dialect.is_thinking_open(problem.messages[0].content):
        return RawText(close, None)
    ends = {
        role: frozenset(map(engine.tokenizer.special_token_id, prompts.find_dialect(engine.dialect).stop_tokens))
        for role, engine in pair.items()
    }
    return RawText(close, ends)


def with_raw_budget(problem: Problem, raw: RawText | None) -> Problem:
    """Gives a raw text without thinking all its tokens: there is no answer to keep tokens free for."""
    return problem if raw is None or raw.ends is None else structs.replace(problem, answer_tokens=0)
