"""Collects the text of chains as soon as it is final, and streams it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from typing import Any

import anyio
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from speculative.serve.errors import redact_event
from speculative.serve.live_news import LiveNews
from speculative.serve.raw_text import RawJoiner, RawText
from speculative.serve.stops import StopFilter
from speculative.trace import events
from speculative.trace.events import AnyEvent, TextDelta
from speculative.trace.trace import Trace

KEEPALIVE_S = 10.0
"""Seconds of silence at most: then a comment line shows proxies and clients that the stream lives."""
COMMENT = b": the chain is being written\n\n"
HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}


class TextFeed:
    """Listens to one chain and collects its text as soon as it is final.

    Committed text of an append-only method is final, and is collected while it is being written. Where a method may take text back,
    the thinking is final when the answer begins, or when the chain is over. The listener cannot wait, so text that the client has
    not taken yet is joined: its size is bounded by the chain's `max_tokens`.

    Args:
        notify: called when there is new text.
        stop: called when the rest of the chain is not wanted.
        watch: whether events are wanted too.
        live_text: whether text of calls is wanted among the events.
    """

    def __init__(
        self,
        notify: Callable[[], None],
        stop: Callable[[], None],
        trace: Trace,
        *,
        append_only: bool,
        stops: tuple[str, ...],
        raw: RawText | None = None,
        watch: bool = False,
        live_text: bool = False,
    ) -> None:
        self.live = False
        self.finish = ""
        self._notify, self._stop, self._trace = notify, stop, trace
        self._final, self._raw, self._watch = append_only, raw, watch
        self._filter = StopFilter(stops, strip=raw is None)
        self._pieces = self._early = 0
        self._joiner = raw and RawJoiner(raw)
        self._reasoning = self._content = ""
        self._sent: list[tuple[tuple[int, ...], list[AnyEvent], int]] = [((), trace.events, 0)]
        self._live_text, self._news = live_text, LiveNews()

    def __call__(self, item: AnyEvent | TextDelta) -> None:
        """Takes an event of the chain, or text that is being written."""
        match item:
            case TextDelta():
                if self._live_text:
                    self._news.add_events(self._new_events())
                    self._news.add_text(item)
                if item.committed and not item.chain and not self.finish:  # a text that is over has no cue behind it
                    if item.phase == "answer":
                        self._begin_answer()
                    self._put(item.phase, item.text)
                    self._early += len(item.text)
                    self._check_marker(item)
                if not self.live or self._watch:
                    self.live = True
                    self._notify()
                return
            case events.Started() | events.Cancelled():  # text that left early stays: nothing can call it back
                return
            case events.Answered():
                self._begin_answer()
            case events.Stopped() if self._raw and self._raw.ends is not None:
                self._end(item.finish)
            case events.Ended():
                self._final = True
            case _:
                pass
        self.live = True
        if self._final:
            self._advance()
        if self._watch:
            self._notify()
        self._check_end(item)

    def take(self) -> tuple[str, str]:
        """Returns new reasoning and new content."""
        taken = self._reasoning, self._content
        self._reasoning = self._content = ""
        return taken

    def take_events(self) -> Iterator[tuple[tuple[int, ...], Any]]:
        """Yields new events of the chain and its children, each with its path.

        With `live_text` it yields new text of calls too. A path leads to the chain by the numbers of its children.
        """
        yield from self._news.take()
        yield from self._new_events()

    def _new_events(self) -> Iterator[tuple[tuple[int, ...], Any]]:
        for place, (path, happened, sent) in enumerate(self._sent):  # grows while children are found
            self._sent[place] = (path, happened, len(happened))
            for event in happened[sent:]:
                if isinstance(event, events.Child):  # its own events follow one by one
                    self._sent.append(((*path, event.index), event.events, 0))
                    yield (
                        path,
                        {"event": "child", "at": event.at, "index": event.index, "seed": event.seed, "instruction": event.instruction},
                    )
                else:
                    yield path, redact_event(event)

    def close(self) -> None:
        """Makes the held-back text final, since the chain is over."""
        self._final = True
        self._advance()
        self._content += self._filter.end()

    def _begin_answer(self) -> None:
        if not self._final:
            self._final = True
            self._advance()

    def _advance(self) -> None:
        """Collects the ledger's new pieces, less the characters that came as deltas."""
        pieces = self._trace.ledger.pieces
        for piece in pieces[self._pieces :]:
            skip = min(self._early, len(piece.text))
            self._early -= skip
            self._put(piece.phase, piece.text[skip:])
        self._pieces = len(pieces)

    def _put(self, phase: events.Phase, text: str) -> None:
        if not text:
            return
        if self._joiner is None and phase == "thinking":
            self._reasoning += text
        else:
            self._content += self._filter.add(self._joiner.add(phase, text) if self._joiner else text)
        self._notify()

    def _check_end(self, item: AnyEvent) -> None:
        """Ends a raw text at a stop string, or at end-of-text without open thinking."""
        if self._raw and self._filter.done:  # not before the text with it is committed: until then it is in no trace
            self._end("stop")
        ends = self._raw.ends if self._raw else None
        match item:
            case events.Wrote() if ends:
                role, proposal = item.call.role, item.proposal
            case events.Accepted() if ends:
                role, proposal = self._trace.ledger.proposals[item.drafts[-1]]
            case _:
                return
        if proposal.completion.end_id in ends.get(role, ()):
            self._end("stop")

    def _check_marker(self, item: TextDelta) -> None:
        """Ends a raw text at a stop string in the marker before the answer.

        The engine cannot find it, since the service writes the marker. The answer's first text is in the trace also if its call is
        cancelled, but a cue alone is not.
        """
        if self._raw and self._filter.done and item.phase == "answer" and item.role != "method":
            self._end("stop")

    def _end(self, finish: str) -> None:
        if not self.finish:
            self.finish = finish
            self._stop()


class Signal:
    """Wakes a stream: new text, a chain's end, or a while without output (`silent`)."""

    def __init__(self) -> None:
        self.sent = True
        self._is_set = False
        self._waiter: asyncio.Future[None] | None = None
        self._check()

    def set(self) -> None:
        """Wakes the task, now or at its next wait."""
        self._is_set = True
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)

    async def next(self) -> None:
        """Waits for the next thing to send."""
        if not self._is_set:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        self._is_set = False

    def close(self) -> None:
        """Ends the timer."""
        self._timer.cancel()

    def _check(self) -> None:
        """Sets `silent` if nothing was sent since the last check."""
        self.silent, self.sent = not self.sent, False
        self._timer = asyncio.get_running_loop().call_later(KEEPALIVE_S / 2, self._check)
        if self.silent:
            self.set()


class EventStream(StreamingResponse):
    """A stream of server-sent events that calls `finish` at its end, however it ends.

    It needs the layer `RequestLog` around the application.
    """

    def __init__(self, chunks: AsyncGenerator[bytes], finish: Callable[[], Awaitable[None]], headers: Mapping[str, str]) -> None:
        super().__init__(chunks, headers={**HEADERS, **headers}, media_type="text/event-stream")
        self._chunks, self._finish = chunks, finish

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the stream until it ends or the client goes away."""
        self._send_part: Send = scope["state"]["send_directly"]
        try:
            await super().__call__(scope, receive, send)
        finally:
            with anyio.CancelScope(shield=True):
                await self._chunks.aclose()
                await self._finish()

    async def stream_response(self, send: Send) -> None:
        """Sends the head through all middleware, and each part past it.

        The framework's middleware only looks at the head. Passing each token through it would cost as much as writing it.
        """
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for chunk in self._chunks:
            await self._send_part({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
