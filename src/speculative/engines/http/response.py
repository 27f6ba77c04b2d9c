"""Reads one call's answer: its payloads into the completions that they are of, their cost into the stats."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from speculative.engines.base import CallStats, Delta
from speculative.engines.http.protocols.base import BadResponseError, ChunkUpdate, CompletionBuilder, ServerProtocol
from speculative.errors import EngineServerError

STEP = "a part of the stream was lost, doubled or swapped: look into the log of the server, and of a proxy in front of it"


class ResponseReader:
    """One answer of the server `name` to a call with so many tokens of `prompt`.

    `cached`: what it said last of the prompt's tokens in its cache, if it does say.
    """

    def __init__(self, name: str, protocol: ServerProtocol, writings: Sequence[CompletionBuilder], stats: CallStats, prompt: int) -> None:
        self.cached: int | None = None
        self._name, self._writings, self._stats, self._prompt = name, writings, stats, prompt
        self._protocol, self._read = protocol, protocol.reader()
        self.tokens = 0
        self._produced: int | None = None

    def restart(self) -> None:
        """Forgets an attempt that failed before its first token: the next one may be on another server."""
        self._stats.cached_tokens -= self.cached or 0
        self._read, self.cached, self._produced = self._protocol.reader(), None, None

    def take(self, payloads: Sequence[bytes]) -> Delta | None:
        """Reads the payloads that came together. Raises `EngineServerError`."""
        fresh: list[int] = []
        for payload in payloads:
            try:
                news = self._read(payload)
                for piece in news.pieces:
                    index, size = piece.index, len(piece.ids)
                    if index >= len(self._writings):
                        raise BadResponseError(f"an answer for completion {index} of {len(self._writings)}")
                    self.tokens += size
                    self._stats.produced_tokens += size
                    fresh += self._writings[index].add(piece)
            except BadResponseError as error:
                raise error.typed(self._name, payload) from None
            except msgspec.DecodeError as error:
                raise EngineServerError(f"{self._name}: {error}; it sent {payload[:80]!r}") from None
            if news.produced is not None or news.cached is not None:
                self._count(news)
        return self._made(fresh)

    def end(self) -> Delta | None:
        """Closes the answer.

        Raises:
            EngineServerError: The answer was cut off, lacks what was asked for, or its ids, texts and counts contradict each other.
        """
        if not self.over:
            raise EngineServerError(f"{self._name}: the answer was cut off; see whether the server died")
        if missing := sum(writing.unscored for writing in self._writings):
            raise EngineServerError(
                f"{self._name}: {missing} log-probabilities that were asked for did not come; see whether the server gives them"
            )
        ends = sum(writing.lacks_end for writing in self._writings)  # end-of-text tokens that the server does not send
        self._stats.produced_tokens += ends
        if self._produced is not None:
            self._check_count(self._produced - self.tokens, ends)
        for writing in self._writings:
            if not writing.agrees:
                raise EngineServerError(f"{self._name}: its text {writing.text[-60:]!r} is not that of its token ids; {STEP}")
        return None

    def _check_count(self, unsent: int, ends: int) -> None:
        """Holds the server's count of tokens against those that came."""
        cut = sum(writing.finish in ("length", "context") for writing in self._writings) * self._protocol.withheld
        if not 0 <= unsent <= ends + cut:
            raise EngineServerError(f"{self._name}: {self.tokens} tokens came, but the server counts {self._produced}; {STEP}")
        self._stats.produced_tokens += max(0, unsent - ends)

    def _made(self, fresh: Sequence[int]) -> Delta | None:
        """Returns the delta of new tokens, or None if the call is not streamed."""
        return None

    def _count(self, news: ChunkUpdate) -> None:
        """Takes down the server's own counts, as far as they can be true."""
        if news.produced is not None:
            self._produced = news.produced
        if news.cached is not None:
            cached = min(max(0, news.cached), self._prompt)
            self._stats.cached_tokens += cached - (self.cached or 0)
            self.cached = cached

    @property
    def over(self) -> bool:
        """Whether its texts have ended; the counts may still be missing."""
        return all(writing.finish for writing in self._writings)


class StreamingReader(ResponseReader):
    """The same for one completion, told as it comes: a delta for each read that brings tokens, and one with the whole of it."""

    def __init__(self, name: str, protocol: ServerProtocol, writing: CompletionBuilder, stats: CallStats, prompt: int) -> None:
        super().__init__(name, protocol, [writing], stats, prompt)
        self._writing = writing

    def _made(self, fresh: Sequence[int]) -> Delta | None:
        return Delta(tuple(fresh)) if fresh else None

    def end(self) -> Delta:
        super().end()
        return Delta((), self._writing.completion())
