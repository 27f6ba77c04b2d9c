"""The answer to one request, as an ASGI response: waits for a place, runs the chains, writes, and ends all when the client goes."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from speculative.errors import EngineError
from speculative.serve.door import Door
from speculative.serve.errors import Refusal, cause, refusal_of
from speculative.serve.logs import log
from speculative.serve.outcome import Outcome
from speculative.serve.request import Job, bare
from speculative.serve.responses import Body, encode
from speculative.serve.stream import Stream
from speculative.serve.work import Work
from speculative.trace.events import Degraded

OVERHEAD = b"x-speculative-overhead-ms"
JSON = (b"content-type", b"application/json")


class Reply(Response):
    """One job. Everything that it starts has ended when it returns, whatever happens."""

    def __init__(self, door: Door, job: Job, began: float) -> None:
        super().__init__()
        self.door, self.job, self.body_of = door, job, Body(job)
        self.began, self.queued, self.request = began, 0.0, ""
        self.stream: Stream | None = None
        self.outcomes: list[Outcome] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves until the reply is written or the client is gone."""
        # a token goes straight to the server: every layer between has seen the beginning, and has nothing to do with the rest
        self.write: Send = scope.get("state", {}).get("write", send)
        self.request = self.door.request_id(scope)
        work, gone = asyncio.create_task(self._serve(send)), asyncio.create_task(_gone(receive))
        try:
            await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                self.door.metrics.cancelled.inc()
                log("client gone", request=self.request, seconds=self._elapsed())
        finally:
            work.cancel()
            gone.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)
        if not work.cancelled():
            work.result()
            self._log()

    def encoded(self) -> bytes:
        """The whole reply, where it is not streamed."""
        return self.body_of.whole(self.outcomes, self._elapsed())

    def told(self, refusal: Refusal) -> dict[str, Any]:
        """An error, as this endpoint words it."""
        return refusal.body

    async def _serve(self, send: Send) -> None:
        try:
            pair = self.door.pair
            pair.check(self.job.method)
            if self.job.stream:
                self.stream = Stream(self.body_of, self.write, self.job.events, self._first_text)
            stream = self.stream
            work = Work(self.job, pair, stream.wake if stream else None, self.door.long_prompts)
            async with self.door.admission.enter(self.job.chains, work.abort) as self.queued:
                try:
                    await (self._streamed(stream, work, send) if stream else self._over(work))
                finally:
                    await work.close()
                    self._count(work)
            await self._end(send)
        except Exception as error:  # noqa: BLE001  # every error is told to the client; bugs are logged as well
            await self._fail(error, send)

    # ---- its chains, and its end ------------------------------------------------------------------------------------

    async def _over(self, work: Work) -> None:
        await work.over()
        self.outcomes = [work.outcome(index) for index in range(len(work.feeds))]

    async def _streamed(self, stream: Stream, work: Work, send: Send) -> None:
        ahead = self._elapsed() - self.queued
        self.outcomes = await stream.written(work, send, [(OVERHEAD, b"%.3f" % (1000 * ahead))])

    async def _end(self, send: Send) -> None:
        """What is left to say when the chains are over and counted."""
        if self.stream:
            self.door.metrics.overhead.observe(self._overhead())
            await send({"type": "http.response.body", "body": self.body_of.end(self.outcomes), "more_body": False})
            return
        data = self.encoded()
        overhead = self._overhead()
        self.door.metrics.overhead.observe(overhead)
        headers = [JSON, (b"content-length", b"%d" % len(data)), (OVERHEAD, b"%.3f" % (1000 * overhead))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": data})

    def _first_text(self) -> None:
        self.door.metrics.seconds("first_text").observe(self._elapsed())

    # ---- errors and figures -----------------------------------------------------------------------------------------

    async def _fail(self, error: Exception, send: Send) -> None:
        refusal = refusal_of(error, self.request)
        refusal.message = self.door.scrub(refusal.message)
        if isinstance(first := cause(error), EngineError):
            self.door.metrics.errors(type(first).__name__).inc()
        if refusal.status >= 500:
            foreseen = refusal.status != 500 and type(first) is not EngineError  # what else an engine raises may quote the prompt
            log(
                "failed",
                30 if refusal.status == 503 else 40,
                error=None if foreseen else first.__cause__ or first,
                request=self.request,
                status=refusal.status,
                code=refusal.code,
                told=self.door.scrub(str(first)) if foreseen else None,
            )
        if self.stream and self.stream.begun:
            await send({"type": "http.response.body", "body": Body.error(refusal), "more_body": False})
            return
        data = encode(self.told(refusal))
        headers = [JSON, (b"content-length", b"%d" % len(data))]
        headers += [(name.encode(), value.encode()) for name, value in refusal.headers.items()]
        await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
        await send({"type": "http.response.body", "body": data})

    def _count(self, work: Work) -> None:
        """The cost of chains that were cut short is counted as well as that of whole ones."""
        metrics, label = self.door.metrics, bare(self.job.method).name()
        metrics.seconds("queue").observe(self.queued)
        metrics.seconds("total").observe(self._elapsed())
        if self.outcomes:
            for outcome in self.outcomes:
                metrics.chain(label, outcome)
            return
        for trace in work.traces():
            metrics.spent(Outcome.of(trace))

    def _log(self) -> None:
        if not self.outcomes:
            return
        text = self.door.settings.log_text
        lost = [event for outcome in self.outcomes if outcome.degraded for event in outcome.trace.walk() if isinstance(event, Degraded)]
        log(
            "chain",
            request=self.request,
            model=self.job.model,
            chains=len(self.outcomes),
            finish=[outcome.finish for outcome in self.outcomes],
            kept=sum(outcome.kept for outcome in self.outcomes),
            produced=sum(usage.produced_tokens for outcome in self.outcomes for usage in outcome.usage.values()),
            degraded=lost[0].role if lost else None,
            told=lost[0].error if lost else None,
            seconds=self._elapsed(),
            queued=round(self.queued, 6),
            overhead=round(self._overhead(), 6),
            user=self.job.user,
            messages=[[m.role, m.content] for m in self.job.problems[0].messages] if text else None,
            replies=[[outcome.reasoning, outcome.content] for outcome in self.outcomes] if text else None,
        )

    def _elapsed(self) -> float:
        return round(time.perf_counter() - self.began, 6)

    def _overhead(self) -> float:
        """Seconds in which the request neither waited for a place nor an engine worked for its longest chain."""
        return max(0.0, self._elapsed() - self.queued - max(outcome.busy for outcome in self.outcomes))


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
