"""The streamed reply to one job: what is new of its chains leaves as soon as it is final."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from typing import Any

from starlette.types import Send

from speculative.engines.http.silence import Silence
from speculative.serve.feed import Feed
from speculative.serve.outcome import Outcome
from speculative.serve.responses import COMMENT, Body
from speculative.serve.work import Work

BEAT = 10.0
"""Seconds of silence after which a comment line tells proxies and clients that the stream lives."""
TAKEN = object()
"""Stands for a write that waited for nothing, as nearly all do."""
SSE = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]


class Stream:
    """Writes what the feeds of one job have. `began` is called at the first text; `begun` tells whether the reply has a head.

    A text is written where it is heard, in the task of its chain: a task of the reply's own that wakes for every token would cost
    as much as the token. That task sees to the beginning, to the ends, and to a client that reads slower than is written.
    """

    def __init__(self, body: Body, write: Send, events: bool, began: Callable[[], None]) -> None:
        self.begun = False
        self._body, self._events, self._began = body, events, began
        self._write, self._bell = write, Bell()
        self._feeds: dict[int, Feed] = {}
        self._busy = True
        self._stuck: Rest | None = None
        self._due = False
        self._silence = Silence(BEAT, self._beat)

    def wake(self, index: int) -> None:
        """A feed has something to write."""
        if self._busy:
            self._bell.ring()
        elif data := self._news(index, self._feeds[index]):
            steps = self._write({"type": "http.response.body", "body": data, "more_body": True}).__await__()
            self._silence.since = self._silence.clock()
            try:
                first = next(steps, TAKEN)
            except Exception as error:  # noqa: BLE001  # it is the reply's, and no error of the chain that is listened to
                first = error
            if first is not TAKEN:
                self._stuck, self._busy = Rest(steps, first), True
                self._bell.ring()

    async def written(self, work: Work, send: Send, headers: list[tuple[bytes, bytes]]) -> list[Outcome]:
        """Begins the chains and writes until all are over. Raises what they raise."""
        tasks, outcomes, first = await work.start(), dict[int, Outcome](), True
        for task in tasks:
            task.add_done_callback(self._bell.ring)
        self._feeds = feeds = {index: feed for index, feed in enumerate(work.feeds) if feed}
        try:
            while feeds:
                await self._bell.rung()
                self._busy = True
                if self._stuck:
                    await self._stuck
                    self._stuck = None
                over = [index for index in feeds if tasks[index].done()]
                outcomes |= {index: work.outcome(index) for index in over}
                data = b"".join([self._news(index, feed) for index, feed in feeds.items()])
                for index in over:
                    del feeds[index]
                    data += self._body.last(index, outcomes[index])
                if not self.begun and (data or self._due or any(feed and feed.live for feed in work.feeds)):
                    await send({"type": "http.response.start", "status": 200, "headers": [*SSE, *headers]})
                    self.begun = True
                    data = b"".join(self._body.first(index) for index in range(len(tasks))) + data
                if data and first:
                    first = False
                    self._began()
                if data or self._due:
                    await self._write({"type": "http.response.body", "body": data or COMMENT, "more_body": True})
                    self._due, self._silence.since = False, self._silence.clock()
                self._busy = first
        finally:
            self._busy, self._feeds, self._began = True, {}, _told
            self._silence.stop()
        return [outcomes[index] for index in sorted(outcomes)]

    def _news(self, index: int, feed: Feed) -> bytes:
        text = self._body.text(index, *feed.take())
        if self._events:
            return b"".join(self._body.event(index, event) for event in feed.happened()) + text
        return text

    def _beat(self) -> None:
        self._due = True
        self._bell.ring()


class Rest:
    """What is left to wait for of something that was begun outside of a task: it waits for `first`, or failed with it."""

    def __init__(self, steps: Generator[Any, Any, Any], first: Any) -> None:
        self._steps, self._first = steps, first

    def __await__(self) -> Generator[Any, Any, None]:
        try:
            if isinstance(self._first, Exception):
                raise self._first
            yield self._first
            yield from self._steps
        finally:
            self._steps.close()


class Bell:
    """Wakes the one task that waits for it: an `asyncio.Event` for one, and for less."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] | None = None
        self._rung = False

    def ring(self, _: object = None) -> None:
        self._rung = True
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)

    async def rung(self) -> None:
        """Returns when it was rung, or has been since the last time."""
        if not self._rung:
            self._waiter = self._loop.create_future()
            await self._waiter
        self._rung = False


def _told() -> None:
    """Stands for who was told of the first text: a reply and its stream would hold each other."""
