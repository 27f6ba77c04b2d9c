"""Reads one call's answer: its payloads into the completions that they are of, their cost into the tally."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from speculative.engines.base import Delta, Tally
from speculative.engines.wires.base import Broken, News, Wire, Writing
from speculative.errors import EngineFault


class Reading:
    """One answer of the server `name`. `cached`: what it said last of the prompt's tokens in its cache, if it does say."""

    def __init__(self, name: str, wire: Wire, writings: Sequence[Writing], tally: Tally) -> None:
        self.cached: int | None = None
        self._name, self._writings, self._tally = name, writings, tally
        self._read = wire.reader()
        self._counted = 0

    def take(self, payloads: Sequence[bytes]) -> Delta | None:
        """What came in one read. Raises `EngineFault`."""
        fresh: list[int] = []
        for payload in payloads:
            try:
                news = self._read(payload)
            except (msgspec.DecodeError, Broken) as error:
                raise EngineFault(f"{self._name}: {error}; it sent {payload[:80]!r}") from None
            for piece in news.pieces:
                index, size = piece.index, len(piece.ids)
                if index >= len(self._writings):
                    raise EngineFault(
                        f"{self._name}: an answer for completion {index} of {len(self._writings)}; the server is not what it says"
                    )
                fresh += self._writings[index].add(piece)
                self._counted += size
                self._tally.produced_tokens += size
            if news.produced is not None or news.cached is not None:
                self._told(news)
        return self._made(fresh)

    def end(self) -> Delta | None:
        """The answer is over. Raises `EngineFault` if its texts are not."""
        if not self._ended():
            raise EngineFault(f"{self._name}: the answer was cut off; see whether the server died")
        return None

    def _made(self, fresh: Sequence[int]) -> Delta | None:
        """What is told of new tokens: nothing, where nobody listens."""
        return None

    def _told(self, news: News) -> None:
        """The server's own counts; it may have written what it did not send."""
        if news.produced is not None and news.produced > self._counted:
            self._tally.produced_tokens += news.produced - self._counted
            self._counted = news.produced
        if news.cached is not None:
            self._tally.cached_tokens += news.cached - (self.cached or 0)
            self.cached = news.cached

    def _ended(self) -> bool:
        return all(writing.finish for writing in self._writings)


class Telling(Reading):
    """The same for one completion, told as it comes: a delta for each read that brings tokens, and one with the whole of it."""

    def __init__(self, name: str, wire: Wire, writing: Writing, tally: Tally) -> None:
        super().__init__(name, wire, [writing], tally)
        self._writing = writing

    def _made(self, fresh: Sequence[int]) -> Delta | None:
        return Delta(tuple(fresh)) if fresh else None

    def end(self) -> Delta:
        super().end()
        return Delta((), self._writing.completion())
