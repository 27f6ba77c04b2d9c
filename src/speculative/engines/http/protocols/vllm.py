"""vLLM's completions, and those of any server that speaks them and gives token ids back."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from speculative.engines.base import Decoding, Ids
from speculative.engines.http.protocols.base import (
    BadResponseError,
    ChunkUpdate,
    Count,
    Piece,
    Read,
    ServerRequest,
    TokenId,
    failure,
    logarithms,
)


class _Logprobs(Struct, gc=False):
    token_logprobs: list[float | None] = []


class _Choice(Struct, gc=False):
    index: Count = 0
    text: str = ""
    token_ids: list[TokenId] | None = None
    logprobs: _Logprobs | None = None
    finish_reason: str | None = None
    stop_reason: int | str | None = None


class _Details(Struct, gc=False):
    cached_tokens: int | None = None


class _Usage(Struct, gc=False):
    completion_tokens: int | None = None
    prompt_tokens_details: _Details | None = None


class _Answer(Struct, gc=False):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: Any = None


class VllmProtocol:
    """`POST /v1/completions` with token ids both ways.

    Scoring is `echo`: the server computes the whole prefix again each time, past its cache.
    """

    supports_batch = True
    supports_n = True
    reuse_connection = True
    withheld = 0
    path = "completions"
    score_path = "completions"

    def __init__(self, model: str) -> None:
        self._model = model
        self._decoder = msgspec.json.Decoder(_Answer)

    def body(self, job: ServerRequest, decoding: Decoding, every: int) -> dict[str, Any]:
        # Penalties and min_p are spelled out: else the server takes them from the model's own folder.
        body: dict[str, Any] = {
            "model": self._model,
            "prompt": list(job.prefixes) if len(job.prefixes) > 1 else job.prefixes[0],
            "max_tokens": job.max_tokens,
            "n": job.n,
            "temperature": decoding.temperature,
            "top_p": decoding.top_p if decoding.temperature > 0 else 1.0,
            "top_k": decoding.top_k if decoding.temperature > 0 else 0,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "seed": job.seed,
            "stop": list(decoding.stop),
            "include_stop_str_in_output": True,
            "stop_token_ids": list(decoding.stop_ids),
            "ignore_eos": True,  # only what was asked for ends a text: dialects name their models' ends
            "skip_special_tokens": False,
            "spaces_between_special_tokens": False,
            "return_token_ids": True,
            "stream": True,
            "stream_options": {"include_usage": True},
            "stream_interval": every,
        }
        return {**body, "logprobs": 0, "return_tokens_as_token_ids": True} if decoding.logprobs else body

    def reader(self) -> Read:
        return self._read

    def _read(self, payload: bytes) -> ChunkUpdate:
        answer = self._decoder.decode(payload)
        if answer.error is not None:
            raise failure(answer.error)
        pieces, usage = [_piece(choice) for choice in answer.choices], answer.usage
        if usage is None:
            return ChunkUpdate(pieces)
        details = usage.prompt_tokens_details
        return ChunkUpdate(pieces, details.cached_tokens if details else None, usage.completion_tokens)

    def score_body(self, prefix: Ids, continuation: Ids) -> dict[str, Any]:
        return {
            "model": self._model,
            "prompt": [*prefix, *continuation],
            "max_tokens": 0,
            "echo": True,
            "logprobs": 0,
            "return_token_ids": True,
            "return_tokens_as_token_ids": True,
        }

    def scores_of(self, answer: bytes, prefix: Ids, continuation: Ids) -> tuple[list[float], int]:
        found = self._decoder.decode(answer)
        logprobs = found.choices[0].logprobs.token_logprobs if found.choices and found.choices[0].logprobs else []
        if len(logprobs) < len(prefix) + len(continuation):
            raise BadResponseError(f"{len(logprobs)} log-probabilities for {len(prefix) + len(continuation)} tokens")
        cached = found.usage.prompt_tokens_details.cached_tokens if found.usage and found.usage.prompt_tokens_details else None
        return logarithms(logprobs[len(prefix) : len(prefix) + len(continuation)]), cached or 0


def _piece(choice: _Choice) -> Piece:
    if choice.token_ids is None:
        raise BadResponseError("the server gives no token ids back (vLLM does from 0.10.2 on)")
    logprobs = logarithms(choice.logprobs.token_logprobs) if choice.logprobs else ()
    if logprobs and len(logprobs) != len(choice.token_ids):
        raise BadResponseError(f"{len(logprobs)} log-probabilities for {len(choice.token_ids)} tokens")
    reason = choice.finish_reason
    if reason is None and not logprobs:
        return Piece(choice.index, choice.token_ids, text=choice.text)
    if reason == "repetition":
        reason = "loop"
    if reason not in (None, "stop", "length", "loop"):
        raise BadResponseError(f"the server ended the text with {reason!r}")
    return Piece(choice.index, choice.token_ids, logprobs, reason, choice.stop_reason, choice.text)
