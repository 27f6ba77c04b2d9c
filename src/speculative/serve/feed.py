"""Listens to one chain and says what of its text is final, as soon as it is.

For a method that only appends, committed text is final, and leaves while it is being written. For one that may take text
back, the thinking is final when the answer begins (the chain commits that), or when the chain is over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from speculative.serve import shown
from speculative.serve.cut import Cut
from speculative.trace import events
from speculative.trace.events import AnyEvent, TextDelta
from speculative.trace.trace import Trace

Close = Callable[[str], str]
"""How the thinking that ends in a text is closed, spelled out."""


class RawText:
    """How a raw completion is told: one text, the thinking closed as the model's family does.

    `ends`: by role, the ids that end a text; given only where the prompt did not open the thinking, so that the text is
    over with them.
    """

    def __init__(self, close: Close, ends: Mapping[str, frozenset[int]] | None) -> None:
        self.close, self.ends = close, ends


class Feed:
    """The listener of one chain, which `trace` is of. `wake`: there is something to take; `stop`: the rest is not wanted."""

    def __init__(
        self,
        wake: Callable[[], None],
        stop: Callable[[], None],
        trace: Trace,
        *,
        append_only: bool,
        stops: tuple[str, ...],
        raw: RawText | None = None,
        watch: bool = False,
    ) -> None:
        self.trace = trace
        self.live = False
        self.finish = ""
        self._wake, self._stop = wake, stop
        self._settled = append_only
        self._raw, self._watch = raw, watch
        self._cut = Cut(stops, strip=raw is None)
        self._seen = 0
        self._early = 0
        self._last: str = ""
        self._answering = False
        self._reasoning = self._content = ""
        self._told: list[tuple[tuple[int, ...], list[AnyEvent], int]] = [((), self.trace.events, 0)]

    def __call__(self, item: AnyEvent | TextDelta) -> None:
        """Takes an event of the chain, or a piece of text that is being written."""
        if isinstance(item, TextDelta):
            if item.committed and not item.chain and not self.finish:  # a text that is over has no cue behind it
                if item.phase == "answer":
                    self._begin_answer()
                self._put(item.phase, item.text)
                self._early += len(item.text)
            if not self.live or self._watch:
                self._wake()
                self.live = True
            return
        match item:
            case events.Started():
                return
            case events.Cancelled():  # text that left early stays: nothing can call it back
                return
            case events.Answered():
                self._begin_answer()
            case events.Stopped() if self._raw and self._raw.ends is not None:
                self._over(item.finish)
            case events.Ended():
                self._settled = True
            case _:
                pass
        self.live = True
        if self._settled:
            self._advance()
        if self._watch:
            self._wake()
        self._check_end(item)

    def take(self) -> tuple[str, str]:
        """Reasoning and content that are new and final."""
        taken = self._reasoning, self._content
        self._reasoning = self._content = ""
        return taken

    def finished(self) -> None:
        """The chain is over: what was held back is final too."""
        self._settled = True
        self._advance()
        self._content += self._cut.end()

    def happened(self) -> list[bytes]:
        """Events that were not told yet, as JSON, those of children too; each says whose they are."""
        found: list[bytes] = []
        for place, (path, happened, told) in enumerate(self._told):  # grows while children are found
            for event in happened[told:]:
                if isinstance(event, events.Child):
                    self._told.append(((*path, event.index), event.events, 0))
                found.append(_event_json(path, event))
            self._told[place] = (path, happened, len(happened))
        return found

    def _begin_answer(self) -> None:
        if not self._settled:
            self._settled = True
            self._advance()

    def _advance(self) -> None:
        """Passes on what the ledger has more than was passed on; `_early` characters of that left as deltas."""
        pieces = self.trace.ledger.pieces
        for piece in pieces[self._seen :]:
            skip = min(self._early, len(piece.text))
            self._early -= skip
            self._put(piece.phase, piece.text[skip:])
        self._seen = len(pieces)

    def _put(self, phase: events.Phase, text: str) -> None:
        if not text:
            return
        if self._raw is None:
            if phase == "thinking":
                self._reasoning += text
            elif certain := self._cut.add(text):
                self._content += certain
        else:
            if phase == "answer" and not self._answering:
                self._answering, text = True, self._raw.close(self._last) + text
            self._last = text
            if certain := self._cut.add(text):
                self._content += certain
        self._wake()

    def _check_end(self, item: AnyEvent) -> None:
        """A raw text is over with a stop string, and where no thinking was opened, with the end of text that a model wrote."""
        if self._raw and self._cut.done:  # not before the text with it is committed: until then it is in no trace
            self._over("stop")
        ends = self._raw.ends if self._raw else None
        if not ends:
            return
        match item:
            case events.Wrote(call=call, proposal=proposal):
                last = (call.role, proposal)
            case events.Accepted(drafts=drafts):
                last = self.trace.ledger.proposals[drafts[-1]]
            case _:
                return
        if last[1].completion.end_id in ends.get(last[0], ()):
            self._over("stop")

    def _over(self, finish: str) -> None:
        if not self.finish:
            self.finish = finish
            self._stop()


def _event_json(path: tuple[int, ...], event: AnyEvent) -> bytes:
    """A child's own events follow one by one: they are not repeated inside the event that tells of it."""
    is_child = isinstance(event, events.Child)
    told: Any = {"event": "child", "at": event.at, "index": event.index, "seed": event.seed} if is_child else shown.event(event)
    return msgspec.json.encode({"chain": path, "event": told})
