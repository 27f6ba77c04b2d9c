"""Reads one call's answer into completions, and its cost into the call's stats."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from speculative.engines.base import MIN_LOGPROB, CallStats, Completion, Decoding, Delta, Tokenizer, Top
from speculative.engines.http.protocols.base import BadResponseError, ChunkUpdate, NewTokens, ServerProtocol, cut_top
from speculative.errors import EngineServerError

MAX_EXTRA_TOKENS = 4
"""Tokens beyond those that were asked for at which a server is taken to write on and on."""

STEP = "a part of the stream was lost, doubled or swapped: look into the log of the server, and of a proxy in front of it"


class ResponseReader:
    """Reads one answer of the server `name` to a call with `prompt` tokens of prompt.

    `cached`: the number of the prompt's tokens in the server's cache, as it said last, or None.
    """

    def __init__(self, name: str, protocol: ServerProtocol, builders: Sequence[CompletionBuilder], stats: CallStats, prompt: int) -> None:
        self.cached: int | None = None
        self._name, self._builders, self._stats, self._prompt = name, builders, stats, prompt
        self._protocol, self._read = protocol, protocol.reader()
        self.tokens = 0
        self._produced: int | None = None

    def restart(self) -> None:
        """Forgets an attempt that failed before its first token."""
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
                    if index >= len(self._builders):
                        raise BadResponseError(f"an answer for completion {index} of {len(self._builders)}")
                    self.tokens += size
                    self._stats.produced_tokens += size
                    fresh += self._builders[index].add(piece)
                    if piece.so_far is not None and piece.so_far != (received := self._builders[index].received):
                        raise BadResponseError(f"{received} tokens came, but the server counts {piece.so_far} up to here; {STEP}")
            except BadResponseError as error:
                raise error.typed(self._name, payload) from None
            except msgspec.DecodeError as error:
                raise EngineServerError(f"{self._name}: {error}; it sent {payload[:80]!r}") from None
            if news.produced is not None or news.cached is not None:
                self._count(news)
        return self._delta(fresh)

    def end(self) -> Delta | None:
        """Closes the answer.

        Raises:
            EngineServerError: The answer was cut off, lacks what was asked for, or its ids, texts and counts contradict each other.
        """
        if not self.over:
            raise EngineServerError(f"{self._name}: the answer was cut off; see whether the server died")
        if missing := sum(builder.missing_logprobs for builder in self._builders):
            raise EngineServerError(
                f"{self._name}: {missing} log-probabilities that were asked for did not come; see whether the server gives them"
            )
        ends = sum(builder.lacks_end for builder in self._builders)  # end-of-text tokens that the server does not send
        self._stats.produced_tokens += ends
        if self._produced is not None:
            self._check_count(self._produced - self.tokens, ends)
        for builder in self._builders:
            if not builder.agrees:
                raise EngineServerError(f"{self._name}: its text {builder.text[-60:]!r} is not that of its token ids; {STEP}")
        return None

    def _check_count(self, unsent: int, ends: int) -> None:
        """Compares the server's count of tokens with those that came.

        Raises `EngineServerError`.
        """
        cut = sum(builder.finish in ("length", "context") for builder in self._builders) * self._protocol.withheld
        if not 0 <= unsent <= ends + cut:
            raise EngineServerError(f"{self._name}: {self.tokens} tokens came, but the server counts {self._produced}; {STEP}")
        self._stats.produced_tokens += max(0, unsent - ends)

    def _delta(self, fresh: Sequence[int]) -> Delta | None:
        """Returns the delta of new tokens, or None if the call is not streamed."""
        return None

    def _count(self, news: ChunkUpdate) -> None:
        """Records the server's own counts, as far as they can be true."""
        if news.produced is not None:
            self._produced = news.produced
        if news.cached is not None:
            cached = min(max(0, news.cached), self._prompt)
            self._stats.cached_tokens += cached - (self.cached or 0)
            self.cached = cached

    @property
    def over(self) -> bool:
        """True if its texts have ended; the counts may still be missing."""
        return all(builder.finish for builder in self._builders)


class StreamingReader(ResponseReader):
    """Reads one streamed completion: a delta for each read with tokens, and its end."""

    def __init__(self, name: str, protocol: ServerProtocol, builder: CompletionBuilder, stats: CallStats, prompt: int) -> None:
        super().__init__(name, protocol, [builder], stats, prompt)
        self._builder = builder

    def _delta(self, fresh: Sequence[int]) -> Delta | None:
        return Delta(tuple(fresh)) if fresh else None

    def end(self) -> Delta:
        super().end()
        return Delta((), self._builder.completion())


class CompletionBuilder:
    """Builds one completion as it arrives.

    It ends where `Decoding` says, even if the server sends more.
    """

    def __init__(self, decoding: Decoding, room: int, tokenizer: Tokenizer) -> None:
        self.room, self._decoding, self._tokenizer = room, decoding, tokenizer
        self._stops = [stop.encode() for stop in decoding.stop if stop]
        self._stop_ids = frozenset(decoding.stop_ids)
        self._keep = max((len(stop) for stop in self._stops), default=1) - 1
        self._tail = b""
        self._closed = False
        self._after: list[int] = []  # tokens that came with or after its end
        self._texts: list[str] = []
        self.ids: list[int] = []
        self.logprobs: list[float] = []
        self.top: list[Top] = []
        self.choices: tuple[float, ...] | None = None
        self.finish: Literal["stop", "end", "length", "context", "loop"] | None = None
        self.end_id: int | None = None

    @property
    def missing_logprobs(self) -> int:
        """The number of places whose log-probabilities were asked for and did not come."""
        asked, count = self._decoding, len(self.ids)
        if asked.for_display:
            return 0
        plain = count - len(self.logprobs) if asked.logprobs else 0
        top = count - len(self.top) if asked.top_logprobs else 0
        short = sum(len(place) < asked.top_logprobs for place in self.top)
        return max(plain, top, short, int(bool(asked.choices) and self.choices is None))

    @property
    def text(self) -> str:
        """The text that the server gave for its tokens."""
        return "".join(self._texts)

    @property
    def received(self) -> int:
        """The number of tokens that came, those after its end too."""
        return len(self.ids) + len(self._after)

    @property
    def lacks_end(self) -> bool:
        """True if the server ended the text and did not send the token that ends it."""
        return self.end_id is not None and self.end_id not in self._after

    @property
    def agrees(self) -> bool:
        """True if the server's text is that of its ids, or if the text proves nothing.

        Blanks and special tokens are left out: servers show them in different ways. The text may lack its end: a stop string,
        and the rest of the token in which it completes. A text with broken characters proves nothing: vLLM drops some of
        it, or repeats the prompt before it (its issues 17448 and 48853).
        """
        if not self._texts:
            return True
        ids, to_bytes = [*self.ids, *self._after], self._tokenizer.to_bytes
        written = frozenset(ids)
        special = [text for text, number in self._tokenizer.special_tokens.items() if number in written]

        def plain(text: str) -> str:
            for token in special:
                text = text.replace(token, "")
            return "".join(text.split())

        theirs, ours = plain(self.text), plain(to_bytes(ids).decode("utf-8", "replace"))
        only_broken = bool(ours) and not ours.strip("\ufffd")
        theirs, ours = theirs.rstrip("\ufffd"), ours.rstrip("\ufffd")
        if only_broken or "\ufffd" in theirs or "\ufffd" in ours:
            return True
        last = next((size for number in reversed(ids) if (size := len(to_bytes([number])))), 0)
        return ours.startswith(theirs) and len(ours) - len(theirs) <= last + self._keep

    def add(self, piece: NewTokens) -> Sequence[int]:
        """Takes tokens in and returns those that belong to the text.

        Raises:
            BadResponseError: The server writes on and on or after its own end, or gives an id that its model does not have.
        """
        before, new = len(self.ids), piece.ids
        if not self._tokenizer.knows(new):
            wrong = next(number for number in new if not self._tokenizer.knows([number]))
            raise BadResponseError(
                f"token id {wrong} is not in the model's vocabulary; give the tokenizer of that model (--big-tokenizer, --small-tokenizer)"
            )
        if self._closed and new:
            raise BadResponseError("tokens came after the end of their text")
        if piece.text:
            self._texts.append(piece.text)
        if self.choices is None and self._decoding.choices and piece.top and not before:
            first = dict(piece.top[0])
            self.choices = tuple(first.get(number, MIN_LOGPROB) for number in self._decoding.choices)
        plain = not (self._stops or self.finish or piece.reason or piece.logprobs or piece.top)
        if plain and before + len(new) < self.room and self._stop_ids.isdisjoint(new):  # as nearly always while a text is written
            self.ids += new
            return new
        self._closed = piece.reason is not None
        for place, number in enumerate(new):
            if self.finish:
                break
            if number in self._stop_ids:
                self.finish, self.end_id = "end", number
                break
            self.ids.append(number)
            if piece.logprobs:
                self.logprobs.append(piece.logprobs[place])
            if piece.top:
                self.top.append(piece.top[place])
            if self._stops and self._completes(number):
                self.finish = "stop"
            elif len(self.ids) >= self.room:
                self.finish = "length" if self.room >= self._decoding.max_tokens else "context"
        rest = new[len(self.ids) - before :]
        if piece.reason and not self.finish:
            self._end(piece)
        self._after += rest
        if self.received > self.room + MAX_EXTRA_TOKENS:
            raise BadResponseError(f"{self.received} tokens came where {self.room} were asked for")
        return self.ids[before:]

    def _completes(self, number: int) -> bool:
        """Returns whether a stop string ends in this token."""
        window = self._tail + self._tokenizer.to_bytes([number])
        self._tail = window[-self._keep :] if self._keep else b""
        return any(stop in window for stop in self._stops)

    def _end(self, piece: NewTokens) -> None:
        """Takes over the end that the server gave the text."""
        if piece.reason == "length":
            self.finish = "length" if self.room >= self._decoding.max_tokens else "context"
            return
        if piece.reason == "loop":
            self.finish = "loop"
            return
        if isinstance(piece.matched, str):
            self.finish = "stop"
            return
        self.finish = "end"
        if isinstance(piece.matched, int):
            self.end_id = piece.matched
        elif self.ids and not self._tokenizer.to_bytes(self.ids[-1:]):
            self.end_id = self.ids[-1]
        else:
            self.end_id = self._decoding.stop_ids[-1] if self._decoding.stop_ids else None
        if self.ids and self.ids[-1] == self.end_id:
            self._after.append(self.ids.pop())
            del self.logprobs[len(self.ids) :], self.top[len(self.ids) :]

    def completion(self) -> Completion:
        """Returns the whole completion. The text must have ended."""
        assert self.finish, "the text has ended"
        logprobs = tuple(self.logprobs) if self._decoding.logprobs else None
        top = cut_top(self.top, self._decoding.top_logprobs) if self._decoding.top_logprobs else None
        return Completion(tuple(self.ids), self.finish, self.end_id, logprobs, top, self.choices)
