"""Reads one call's answer: its payloads into the completions that they are of, their cost into the tally."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from speculative.engines.base import Delta, Tally
from speculative.engines.http.protocols.base import Broken, News, Wire, Writing
from speculative.errors import EngineFault


class Reading:
    """One answer of the server `name` to a call with so many tokens of `prompt`.

    `cached`: what it said last of the prompt's tokens in its cache, if it does say.
    """

    def __init__(self, name: str, wire: Wire, writings: Sequence[Writing], tally: Tally, prompt: int) -> None:
        self.cached: int | None = None
        self._name, self._writings, self._tally, self._prompt = name, writings, tally, prompt
        self._read = wire.reader()
        self._counted = 0

    def take(self, payloads: Sequence[bytes]) -> Delta | None:
        """What came in one read. Raises `EngineFault`."""
        fresh: list[int] = []
        for payload in payloads:
            try:
                news = self._read(payload)
                for piece in news.pieces:
                    index, size = piece.index, len(piece.ids)
                    if index >= len(self._writings):
                        raise Broken(f"an answer for completion {index} of {len(self._writings)}")
                    self._counted += size
                    self._tally.produced_tokens += size
                    fresh += self._writings[index].add(piece)
            except (msgspec.DecodeError, Broken) as error:
                raise EngineFault(f"{self._name}: {error}; it sent {payload[:80]!r}") from None
            if news.produced is not None or news.cached is not None:
                self._told(news)
        return self._made(fresh)

    def end(self) -> Delta | None:
        """The answer is over. Raises `EngineFault` if its texts are not, or lack what was asked for."""
        if not self.over:
            raise EngineFault(f"{self._name}: the answer was cut off; see whether the server died")
        written = sum(len(writing.ids) + (writing.end_id is not None) for writing in self._writings)
        self._tally.produced_tokens += max(0, written - self._counted)  # an end that it neither sent nor counted
        if missing := sum(writing.unscored for writing in self._writings):
            raise EngineFault(
                f"{self._name}: {missing} log-probabilities that were asked for did not come; see whether the server gives them"
            )
        return None

    def _made(self, fresh: Sequence[int]) -> Delta | None:
        """What is told of new tokens: nothing, where nobody listens."""
        return None

    def _told(self, news: News) -> None:
        """The server's own counts, as far as they can be true; it may have written what it did not send."""
        if news.produced is not None and self._counted < news.produced <= sum(writing.room for writing in self._writings):
            self._tally.produced_tokens += news.produced - self._counted
            self._counted = news.produced
        if news.cached is not None:
            cached = min(max(0, news.cached), self._prompt)
            self._tally.cached_tokens += cached - (self.cached or 0)
            self.cached = cached

    @property
    def over(self) -> bool:
        """Whether its texts have ended; the counts may still be missing."""
        return all(writing.finish for writing in self._writings)


class Telling(Reading):
    """The same for one completion, told as it comes: a delta for each read that brings tokens, and one with the whole of it."""

    def __init__(self, name: str, wire: Wire, writing: Writing, tally: Tally, prompt: int) -> None:
        super().__init__(name, wire, [writing], tally, prompt)
        self._writing = writing

    def _made(self, fresh: Sequence[int]) -> Delta | None:
        return Delta(tuple(fresh)) if fresh else None

    def end(self) -> Delta:
        super().end()
        return Delta((), self._writing.completion())
