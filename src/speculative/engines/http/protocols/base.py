"""What all kinds of servers have in common: a job for one call, the news that an answer brings, and where a text is cut."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any, Literal, Protocol

from msgspec import Meta, Struct

from speculative.engines.base import MIN_LOGPROB, Completion, Decoding, Ids, Tokenizer
from speculative.engines.http.busy import busy_event
from speculative.errors import ContextExceededError, EngineError, EngineServerError

Count = Annotated[int, Meta(ge=0)]
TokenId = Annotated[int, Meta(ge=0, lt=1 << 31)]

OPTIONS = "--big-tokenizer, --small-tokenizer"

MAX_EXTRA_TOKENS = 4
"""Tokens beyond those that were asked for at which a server is taken to write on and on."""

ROUNDED = 1e-3
"""How far above zero a log-probability may be rounded."""


class ServerRequest(Struct, frozen=True):
    """One call of a server: `n` completions for each of `prefixes`; completion j of prefix i goes to `slots[i * n + j]`."""

    prefixes: Sequence[Ids]
    slots: Sequence[int]
    max_tokens: int
    n: int = 1
    seed: int = 0


class Piece(Struct, frozen=True, gc=False):  # `gc=False` here and below: made for every token, and in no cycle
    """New tokens of completion `index`, with their text if the server gives it.

    `reason` says that it ended, `matched` what ended it (a stop string or id), if known.
    """

    index: int
    ids: Sequence[int]
    logprobs: Sequence[float] = ()
    reason: Literal["stop", "length", "loop"] | None = None
    matched: int | str | None = None
    text: str = ""


class ChunkUpdate(Struct, frozen=True, gc=False):
    """What one payload says. `cached` and `produced` are the server's own counts for the whole call, when it gives them."""

    pieces: Sequence[Piece] = ()
    cached: int | None = None
    produced: int | None = None


Read = Callable[[bytes], ChunkUpdate]
"""Reads one payload."""


class ServerProtocol(Protocol):
    """How to speak with one kind of server.

    `batches`: one call may hold several prefixes (which then share a seed). `several`: it may ask for n completions.
    `keeps`: its connection can be used again after a streamed answer. `withheld`: how many tokens it may count and not send
    where a limit cuts a character.
    """

    supports_batch: bool
    supports_n: bool
    reuse_connection: bool
    withheld: int
    path: str
    score_path: str

    def body(self, job: ServerRequest, decoding: Decoding, every: int) -> dict[str, Any]:
        """The request; `every` is how many tokens the server may hold back before it sends them."""
        ...

    def reader(self) -> Read:
        """Reads the payloads of one streamed answer, in order. Raises `msgspec.DecodeError` and `BadResponseError`."""
        ...

    def score_body(self, prefix: Ids, continuation: Ids) -> dict[str, Any]: ...

    def scores_of(self, answer: bytes, prefix: Ids, continuation: Ids) -> tuple[list[float], int]:
        """Log-probabilities of the continuation, and how many tokens of the prompt came out of the server's cache."""
        ...


class BadResponseError(Exception):
    """A server's answer says that it failed, or lacks what we need of it. `said`: the error in its own words, if it gave one."""

    def __init__(self, message: str, said: Any = None) -> None:
        super().__init__(message)
        self.said = said

    def typed(self, name: str, payload: bytes) -> EngineError:
        """Makes the error of the server `name`, which sent that payload."""
        refused = (context_refusal(name, payload, str(self)) or busy_event(name, self.said)) if self.said is not None else None
        return refused or EngineServerError(f"{name}: {self}; it sent {payload[:80]!r}")


def failure(said: Any) -> BadResponseError:
    """Makes the error for an answer that holds one."""
    return BadResponseError(f"the server says: {str(said)[:300]}", said)


_TOO_LONG = re.compile(
    rb"exceed_context_size|context_length_exceeded|context (?:length|size|window)|maximum model length|max_model_len|max_total_tokens"
)
"""How servers say that a call does not fit into their context: vLLM, SGLang, llama.cpp, OpenAI and others."""

_LIMIT = re.compile(rb'(?:context (?:length|size|window)|maximum model length|max_model_len|"n_ctx")[^0-9.;]{0,30}?([0-9]+)')


def context_refusal(name: str, body: bytes, said: str, hint: str = "") -> ContextExceededError | None:
    """Returns the error for an answer that refuses a call for its length, or None for any other answer."""
    if not _TOO_LONG.search(body):
        return None
    limit = _LIMIT.search(body)
    return ContextExceededError(name, None, int(limit[1]) if limit else None, said, hint)


def logarithms(values: Iterable[float | None]) -> list[float]:
    """Log-probabilities as a server tells them, `MIN_LOGPROB` for one that it does not know. Raises `BadResponseError` for what is none."""
    found = [MIN_LOGPROB if value is None else value for value in values]
    if found and (highest := max(found)) > 0:
        if highest > ROUNDED:
            raise BadResponseError(f"{highest:g} is no log-probability")
        return [min(value, 0.0) for value in found]
    return found


class CompletionBuilder:
    """One completion as it arrives. It ends where `Decoding` says, whatever more the server sends."""

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
        self.finish: Literal["stop", "end", "length", "context", "loop"] | None = None
        self.end_id: int | None = None

    @property
    def unscored(self) -> int:
        """Tokens whose log-probability was asked for, and did not come."""
        return len(self.ids) - len(self.logprobs) if self._decoding.logprobs else 0

    @property
    def text(self) -> str:
        """The text that the server gave for its tokens."""
        return "".join(self._texts)

    @property
    def lacks_end(self) -> bool:
        """True if the server ended the text and did not send the token that ends it."""
        return self.end_id is not None and self.end_id not in self._after

    @property
    def agrees(self) -> bool:
        """True if the server's text is that of its token ids, or if it gave none.

        Blanks, special tokens and broken characters are left out: servers show them in different ways. The text may lack its
        end: a stop string, and the rest of the token in which it completes.
        """
        if not self._texts:
            return True
        ids, to_bytes = [*self.ids, *self._after], self._tokenizer.to_bytes
        written = frozenset(ids)
        special = [text for text, number in self._tokenizer.special_tokens.items() if number in written]

        def plain(text: str) -> str:
            for token in special:
                text = text.replace(token, "")
            return "".join(text.replace("\ufffd", "").split())

        theirs, ours = plain(self.text), plain(to_bytes(ids).decode("utf-8", "replace"))
        last = next((size for number in reversed(ids) if (size := len(to_bytes([number])))), 0)
        return ours.startswith(theirs) and len(ours) - len(theirs) <= last + self._keep

    def add(self, piece: Piece) -> Sequence[int]:
        """Takes tokens in and returns those that belong to the text.

        Raises:
            BadResponseError: The server writes on and on or after its own end, or gives an id that its model does not have.
        """
        before, new = len(self.ids), piece.ids
        if not self._tokenizer.knows(new):
            wrong = next(number for number in new if not self._tokenizer.knows([number]))
            raise BadResponseError(f"token id {wrong} is not in the model's vocabulary; give the tokenizer of that model ({OPTIONS})")
        if self._closed and new:
            raise BadResponseError("tokens came after the end of their text")
        if piece.text:
            self._texts.append(piece.text)
        plain = not (self._stops or self.finish or piece.reason or piece.logprobs)
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
            if self._stops and self._completes(number):
                self.finish = "stop"
            elif len(self.ids) >= self.room:
                self.finish = "length" if self.room >= self._decoding.max_tokens else "context"
        rest = new[len(self.ids) - before :]
        if piece.reason and not self.finish:
            self._ended(piece)
        self._after += rest
        if len(self.ids) + len(self._after) > self.room + MAX_EXTRA_TOKENS:
            raise BadResponseError(f"{len(self.ids) + len(self._after)} tokens came where {self.room} were asked for")
        return self.ids[before:]

    def _completes(self, number: int) -> bool:
        """Whether a stop string ends in this token."""
        window = self._tail + self._tokenizer.to_bytes([number])
        self._tail = window[-self._keep :] if self._keep else b""
        return any(stop in window for stop in self._stops)

    def _ended(self, piece: Piece) -> None:
        """The server ended the text by itself: at its own end of text, or where we saw no reason."""
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
            del self.logprobs[len(self.ids) :]

    def completion(self) -> Completion:
        """The whole of it; the text must have ended."""
        assert self.finish, "the text has ended"
        return Completion(tuple(self.ids), self.finish, self.end_id, tuple(self.logprobs) if self._decoding.logprobs else None)
