"""SGLang's own `/generate`.

Written from its published request and response; not run against a live server.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from speculative.engines.base import Decoding, Ids, Scores, Top
from speculative.engines.http.protocols.base import (
    Ask,
    BadResponseError,
    ChunkUpdate,
    NewTokens,
    Read,
    ScoreResult,
    ServerProtocol,
    ServerRequest,
    TokenId,
    failure,
    likeliest,
    logarithms,
)

Scored = tuple[float | None, int, str | None]
Places = list[list[Scored] | None]
"""Scored tokens at each place."""


class _Finish(Struct):
    type: str
    matched: int | str | None = None


class _Meta(Struct, frozen=True):
    completion_tokens: int = 0
    cached_tokens: int | None = None
    finish_reason: _Finish | None = None
    output_token_logprobs: list[Scored] | None = None
    output_top_logprobs: Places | None = None
    output_token_ids_logprobs: Places | None = None
    input_token_logprobs: list[Scored] | None = None
    input_top_logprobs: Places | None = None


class _Answer(Struct):
    meta_info: _Meta = _Meta()
    output_ids: list[TokenId] | None = None
    error: Any = None


class SglangProtocol(ServerProtocol):
    """Token ids both ways.

    Scoring (`logprob_start_len`) keeps the server's cache of the prefix.
    """

    path = "/generate"

    def __init__(self) -> None:
        self._decoder = msgspec.json.Decoder(_Answer)

    def body(self, request: ServerRequest, decoding: Decoding, every: int) -> dict[str, Any]:
        sampling: dict[str, Any] = {
            "max_new_tokens": request.max_tokens,
            "temperature": decoding.temperature,
            "top_p": decoding.top_p,
            "top_k": decoding.top_k or -1,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "sampling_seed": request.seed & 0x7FFFFFFF,
            "stop": list(decoding.stop),
            "stop_token_ids": list(decoding.stop_ids),
            "no_stop_trim": True,
            "skip_special_tokens": False,
            "stream_interval": every,
        }
        body: dict[str, Any] = {"input_ids": list(request.prefixes[0]), "sampling_params": sampling, "stream": True}
        body["return_logprob"] = bool(decoding.logprobs or decoding.top_logprobs or decoding.choices)
        if decoding.top_logprobs:
            body["top_logprobs_num"] = decoding.top_logprobs
        if decoding.choices:
            body["token_ids_logprob"] = list(decoding.choices)
        return body

    def reader(self) -> Read:
        return _Reading(self._decoder).read

    async def score(self, ask: Ask, prefix: Ids, continuation: Ids, top: int) -> ScoreResult:
        body: dict[str, Any] = {
            "input_ids": [*prefix, *continuation],
            "sampling_params": {"max_new_tokens": 0, "temperature": 0},
            "return_logprob": True,
            "logprob_start_len": len(prefix) - 1,  # the first position that is asked for has no value
        }
        answer = await ask(self.path, {**body, "top_logprobs_num": top} if top else body)
        meta = self._decoder.decode(answer).meta_info
        values = meta.input_token_logprobs or []
        found = values[-len(continuation) :]
        if [number for _, number, _ in found] != list(continuation):
            raise BadResponseError(f"{len(values)} log-probabilities, which are not those of the {len(continuation)} tokens asked for")
        places = [_top(place) for place in _last(meta.input_top_logprobs, len(continuation))] if top else None
        return ScoreResult(Scores(logarithms(value for value, _, _ in found), places), meta.cached_tokens or 0)


class _Reading:
    """Reads one streamed answer.

    Servers send all tokens so far each time or, as newer ones may, only the new ones.
    """

    def __init__(self, decoder: msgspec.json.Decoder[_Answer]) -> None:
        self._decoder = decoder
        self._have = 0

    def read(self, payload: bytes) -> ChunkUpdate:
        answer = self._decoder.decode(payload)
        if answer.error is not None:
            raise failure(answer.error)
        if answer.output_ids is None:
            raise BadResponseError("the server gives no token ids back; start it with --skip-tokenizer-init off and a newer SGLang")
        meta, count = answer.meta_info, len(answer.output_ids)
        if meta.completion_tokens not in (count, self._have + count) or meta.completion_tokens < self._have:
            raise BadResponseError(f"{count} token ids after {self._have}, where the server counts {meta.completion_tokens}")
        ids = answer.output_ids[self._have :] if count == meta.completion_tokens else answer.output_ids
        self._have += len(ids)
        logprobs = logarithms(value for value, _, _ in (meta.output_token_logprobs or [])[-len(ids) :]) if ids else []
        if logprobs and len(logprobs) != len(ids):
            raise BadResponseError(f"{len(logprobs)} log-probabilities for {len(ids)} tokens")
        finish = meta.finish_reason
        if finish and finish.type not in ("stop", "length"):
            raise BadResponseError(f"the server ended the text with {finish.type!r}")
        reason = None if finish is None else "length" if finish.type == "length" else "stop"
        piece = NewTokens(0, ids, logprobs, reason, finish.matched if finish else None, top=_likely(meta, len(ids)) if ids else ())
        return ChunkUpdate([piece], meta.cached_tokens, meta.completion_tokens)


def _likely(meta: _Meta, count: int) -> Sequence[Top]:
    """Returns the likely and the chosen tokens of the last `count` places."""
    kinds = [_last(places, count) for places in (meta.output_top_logprobs, meta.output_token_ids_logprobs) if places]
    return [_top([one for part in several for one in part or ()]) for several in zip(*kinds, strict=True)]


def _last(places: Places | None, count: int) -> Places:
    last = (places or [])[-count:]
    if len(last) != count:
        raise BadResponseError(f"likely tokens came for {len(last)} of {count} places")
    return last


def _top(found: list[Scored] | None) -> Top:
    return likeliest({number: value for value, number, _ in found or ()}.items())
