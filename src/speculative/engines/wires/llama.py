"""llama.cpp's server, by its own `/completion`. Written from its published reference; not run against a live server."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from speculative.engines.base import Decoding, Ids
from speculative.engines.wires.base import Broken, Job, News, Piece, Reader


class _Probability(Struct):
    id: int
    logprob: float


class _Answer(Struct):
    tokens: list[int] = []
    stop: bool = False
    stop_type: str = "none"
    completion_probabilities: list[_Probability] | None = None
    tokens_cached: int | None = None
    tokens_predicted: int | None = None
    error: Any = None


class LlamaWire:
    """Token ids both ways, one text a call. It knows no stop ids and cuts stop strings off, so we end the text and hang up."""

    batches = False
    several = False
    cuts = True
    scores = False
    path = "/completion"
    score_path = ""

    def __init__(self) -> None:
        self._decoder = msgspec.json.Decoder(_Answer)

    def body(self, job: Job, decoding: Decoding, every: int) -> dict[str, Any]:
        body: dict[str, Any] = {
            "prompt": list(job.prefixes[0]),
            "n_predict": job.max_tokens,
            "temperature": decoding.temperature,
            "top_p": decoding.top_p,
            "top_k": decoding.top_k,
            "min_p": 0.0,
            "repeat_penalty": 1.0,
            "samplers": ["top_k", "top_p", "temperature"],
            "seed": job.seed & 0x7FFFFFFF,
            "cache_prompt": True,
            "return_tokens": True,
            "stream": True,
        }
        return {**body, "n_probs": 1} if decoding.logprobs else body

    def reader(self) -> Reader:
        return self._read

    def _read(self, payload: bytes) -> News:
        answer = self._decoder.decode(payload)
        if answer.error is not None:
            raise Broken(f"the server says: {str(answer.error)[:300]}")
        probabilities = answer.completion_probabilities or []
        logprobs = [probability.logprob for probability in probabilities] if len(probabilities) == len(answer.tokens) else []
        reason = None if not answer.stop else "length" if answer.stop_type == "limit" else "stop"
        piece = Piece(0, () if answer.stop else answer.tokens, logprobs if not answer.stop else (), reason)
        return News([piece], answer.tokens_cached if answer.stop else None, answer.tokens_predicted if answer.stop else None)

    def score_body(self, prefix: Ids, continuation: Ids) -> dict[str, Any]:
        raise Broken("llama.cpp's server cannot score given text")

    def scores_of(self, answer: bytes, prefix: Ids, continuation: Ids) -> tuple[list[float], int]:
        raise Broken("llama.cpp's server cannot score given text")
