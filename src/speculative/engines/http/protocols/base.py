"""Requests, answers and errors that all kinds of servers have in common."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta, Struct

from speculative.engines.base import MIN_LOGPROB, Decoding, Ids, Scores, Top
from speculative.engines.http.busy import busy_event
from speculative.errors import ContextExceededError, EngineError, EngineServerError

Count = Annotated[int, Meta(ge=0)]
TokenId = Annotated[int, Meta(ge=0, lt=1 << 31)]

ROUNDING = 1e-3
"""The most by which a log-probability may be rounded above zero."""

MAX_TOP = 20
"""Likely tokens that a server is asked for where it cannot be asked for given ones: vLLM and OpenAI allow no more."""


class ServerRequest(Struct, frozen=True):
    """One call of a server.

    It asks for `n` completions for each of `prefixes`. Completion j of prefix i goes to `slots[i * n + j]`.
    """

    prefixes: Sequence[Ids]
    slots: Sequence[int]
    max_tokens: int
    n: int = 1
    seed: int = 0


class NewTokens(Struct, frozen=True, gc=False):  # `gc=False` here and below: made for every token, and in no cycle
    """New tokens of completion `index`, with their text if the server gives it.

    `reason` says that it ended, `matched` the stop string or id that ended it, if known. `top`: the likely tokens at the place of
    each id. `so_far`: the server's count of the completion's tokens up to here, when it gives it.
    """

    index: int
    ids: Sequence[int]
    logprobs: Sequence[float] = ()
    reason: Literal["stop", "length", "loop"] | None = None
    matched: int | str | None = None
    text: str = ""
    top: Sequence[Top] = ()
    so_far: int | None = None


class ChunkUpdate(Struct, frozen=True, gc=False):
    """The contents of one payload.

    `cached` and `produced` are the server's own counts for the whole call, when it gives them.
    """

    pieces: Sequence[NewTokens] = ()
    cached: int | None = None
    produced: int | None = None


class ScoreResult(Struct, frozen=True):
    """The scores of one continuation, and the server's own counts.

    `cached`: prompt tokens from its cache. `produced`: tokens that it wrote for this.
    """

    scores: Scores
    cached: int = 0
    produced: int = 0


Read = Callable[[bytes], ChunkUpdate]
"""Reads one payload."""

Ask = Callable[[str, dict[str, Any]], Awaitable[bytes]]
"""Posts a body to a path and returns the answer."""


class ServerProtocol:
    """Speaks with one kind of server.

    `supports_batch`: one call may hold several prefixes, which then share a seed. `supports_n`: it may ask for n completions.
    `reuse_connection`: a connection can be used again after a streamed answer. `withheld`: the number of tokens that it may count
    and not send where a limit cuts a character. `flat`: whether scoring keeps the prefix cache, None until it was tried.
    `pools_steps`: whether its reward model was seen to give a number for each token. `ranks`: whether it takes a priority with each call.
    """

    supports_batch: ClassVar[bool] = False
    supports_n: ClassVar[bool] = False
    reuse_connection: ClassVar[bool] = True
    withheld: ClassVar[int] = 0
    path: ClassVar[str]
    flat: bool | None = True
    pools_steps: bool = False
    ranks: bool = False

    def body(self, request: ServerRequest, decoding: Decoding, every: int) -> dict[str, Any]:
        """Returns the request's body.

        The server may hold back `every` tokens before it sends them.
        """
        raise NotImplementedError

    def reader(self) -> Read:
        """Returns a reader of one streamed answer's payloads.

        It raises `msgspec.DecodeError` and `BadResponseError`.
        """
        raise NotImplementedError

    async def score(self, ask: Ask, prefix: Ids, continuation: Ids, top: int) -> ScoreResult:
        """Scores a continuation after its prefix.

        Raises `msgspec.DecodeError`, `BadResponseError` and the errors of `ask`.
        """
        raise BadResponseError("the server cannot score given text")

    async def reward(self, ask: Ask, texts: Sequence[Ids]) -> list[float]:
        """Returns the reward of each text at its last token. Raises as `score` does."""
        raise BadResponseError("the server has no reward model")


class BadResponseError(Exception):
    """A server's answer says that it failed, or lacks something that was asked for.

    `said`: its own error, if it gave one.
    """

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
"""The words with which servers refuse a call that does not fit into their context: vLLM, SGLang, llama.cpp, OpenAI and others."""

_LIMIT = re.compile(rb'(?:context (?:length|size|window)|maximum model length|max_model_len|"n_ctx")[^0-9.;]{0,30}?([0-9]+)')


def context_refusal(name: str, body: bytes, said: str, hint: str = "") -> ContextExceededError | None:
    """Returns the error if an answer refuses a call for its length, else None."""
    if not _TOO_LONG.search(body):
        return None
    limit = _LIMIT.search(body)
    return ContextExceededError(name, None, int(limit[1]) if limit else None, said, hint)


def logarithms(values: Iterable[float | None]) -> list[float]:
    """Checks log-probabilities, and puts `MIN_LOGPROB` for unknown ones.

    Raises `BadResponseError` for one above zero.
    """
    found = [MIN_LOGPROB if value is None else value for value in values]
    if found and (highest := max(found)) > 0:
        if highest > ROUNDING:
            raise BadResponseError(f"a log-probability must be at most 0, got {highest:g}")
        return [min(value, 0.0) for value in found]
    return found


def likeliest(found: Iterable[tuple[int, float | None]]) -> Top:
    """Returns the tokens of one place with the likeliest first.

    Raises `BadResponseError` for a value above zero.
    """
    pairs = [*found]
    values = logarithms(value for _, value in pairs)
    return tuple(sorted(zip((number for number, _ in pairs), values, strict=True), key=lambda one: (-one[1], one[0])))


def cut_top(top: Sequence[Top], count: int) -> tuple[Top, ...]:
    """Returns the `count` likeliest tokens of each place, as servers may add others."""
    return tuple(place[:count] for place in top)
