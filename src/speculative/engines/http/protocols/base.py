"""What all kinds of servers have in common: a job for one call, the news that an answer brings, and where a text is cut."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any, Literal, Protocol

from msgspec import Meta, Struct

from speculative.engines.base import LEAST, Completion, Decoding, Ids, Vocabulary

Count = Annotated[int, Meta(ge=0)]
TokenId = Annotated[int, Meta(ge=0, lt=1 << 31)]

OVER = 4
"""Tokens beyond those that were asked for at which a server is taken to write on and on."""

ROUNDED = 1e-3
"""How far above zero a log-probability may be rounded."""


class Job(Struct, frozen=True):
    """One call of a server: `n` completions for each of `prefixes`; completion j of prefix i goes to `slots[i * n + j]`."""

    prefixes: Sequence[Ids]
    slots: Sequence[int]
    max_tokens: int
    n: int = 1
    seed: int = 0


class Piece(Struct, frozen=True, gc=False):  # `gc=False` here and below: made for every token, and in no cycle
    """New tokens of completion `index`. `reason` says that it ended, `matched` what ended it (a stop string or id), if known."""

    index: int
    ids: Sequence[int]
    logprobs: Sequence[float] = ()
    reason: Literal["stop", "length"] | None = None
    matched: int | str | None = None


class News(Struct, frozen=True, gc=False):
    """What one payload says. `cached` and `produced` are the server's own counts for the whole call, when it gives them."""

    pieces: Sequence[Piece] = ()
    cached: int | None = None
    produced: int | None = None


Read = Callable[[bytes], News]
"""Reads one payload."""


class Wire(Protocol):
    """How to speak with one kind of server.

    `batches`: one call may hold several prefixes (which then share a seed). `several`: it may ask for n completions.
    `keeps`: its connection can be used again after a streamed answer.
    """

    batches: bool
    several: bool
    keeps: bool
    path: str
    score_path: str

    def body(self, job: Job, decoding: Decoding, every: int) -> dict[str, Any]:
        """The request; `every` is how many tokens the server may hold back before it sends them."""
        ...

    def reader(self) -> Read:
        """Reads the payloads of one streamed answer, in order. Raises `msgspec.DecodeError` and `Broken`."""
        ...

    def score_body(self, prefix: Ids, continuation: Ids) -> dict[str, Any]: ...

    def scores_of(self, answer: bytes, prefix: Ids, continuation: Ids) -> tuple[list[float], int]:
        """Log-probabilities of the continuation, and how many tokens of the prompt came out of the server's cache."""
        ...


class Broken(Exception):
    """A server's answer says that it failed, or lacks what we need of it."""


def logarithms(values: Iterable[float | None]) -> list[float]:
    """Log-probabilities as a server tells them, `LEAST` for one that it does not know. Raises `Broken` for what is none."""
    found = [LEAST if value is None else value for value in values]
    if found and (highest := max(found)) > 0:
        if highest > ROUNDED:
            raise Broken(f"{highest:g} is no log-probability")
        return [min(value, 0.0) for value in found]
    return found


class Writing:
    """One completion as it arrives. It ends where `Decoding` says, whatever more the server sends."""

    def __init__(self, decoding: Decoding, room: int, vocabulary: Vocabulary) -> None:
        self.room, self._decoding, self._vocabulary = room, decoding, vocabulary
        self._stops = [stop.encode() for stop in decoding.stop if stop]
        self._stop_ids = frozenset(decoding.stop_ids)
        self._keep = max((len(stop) for stop in self._stops), default=1) - 1
        self._tail = b""
        self._past = 0  # tokens that came after its end
        self.ids: list[int] = []
        self.logprobs: list[float] = []
        self.finish: Literal["stop", "end", "length", "context"] | None = None
        self.end_id: int | None = None

    @property
    def unscored(self) -> int:
        """Tokens whose log-probability was asked for, and did not come."""
        return len(self.ids) - len(self.logprobs) if self._decoding.logprobs else 0

    def add(self, piece: Piece) -> Sequence[int]:
        """Takes tokens in; gives those that belong to the text. Raises `Broken` if the server writes on and on."""
        before, new = len(self.ids), piece.ids
        plain = not (self._stops or self.finish or piece.reason or piece.logprobs)
        if plain and before + len(new) < self.room and self._stop_ids.isdisjoint(new):  # as nearly always while a text is written
            self.ids += new
            return new
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
        if piece.reason and not self.finish:
            self._ended(piece)
        self._past += before + len(new) - len(self.ids)
        if len(self.ids) + self._past > self.room + OVER:
            raise Broken(f"{len(self.ids) + self._past} tokens came where {self.room} were asked for")
        return self.ids[before:]

    def _completes(self, number: int) -> bool:
        """Whether a stop string ends in this token."""
        window = self._tail + self._vocabulary.to_bytes([number])
        self._tail = window[-self._keep :] if self._keep else b""
        return any(stop in window for stop in self._stops)

    def _ended(self, piece: Piece) -> None:
        """The server ended the text by itself: at its own end of text, or where we saw no reason."""
        if piece.reason == "length":
            self.finish = "length" if self.room >= self._decoding.max_tokens else "context"
            return
        if isinstance(piece.matched, str):
            self.finish = "stop"
            return
        self.finish = "end"
        if isinstance(piece.matched, int):
            self.end_id = piece.matched
        elif self.ids and not self._vocabulary.to_bytes(self.ids[-1:]):
            self.end_id = self.ids[-1]
        else:
            self.end_id = self._decoding.stop_ids[-1] if self._decoding.stop_ids else None
        if self.ids and self.ids[-1] == self.end_id:
            del self.ids[-1]
            del self.logprobs[len(self.ids) :]

    def completion(self) -> Completion:
        """The whole of it; the text must have ended."""
        assert self.finish, "the text has ended"
        return Completion(tuple(self.ids), self.finish, self.end_id, tuple(self.logprobs) if self._decoding.logprobs else None)
