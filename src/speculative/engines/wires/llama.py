"""llama.cpp's server, by its own `/completion`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from speculative.engines.base import Decoding, Ids, Vocabulary
from speculative.engines.wires.base import Broken, Job, News, Piece, Reader

MARGIN = 3
"""Tokens more than were asked for: so many may finish a character, and before that its ids do not come."""


class _Probability(Struct):
    id: int
    logprob: float


class _Progress(Struct):
    cache: int = 0


class _Timings(Struct):
    cache_n: int | None = None


class _Answer(Struct):
    content: str = ""
    tokens: list[int] = []
    stop: bool = False
    stop_type: str = "none"
    completion_probabilities: list[_Probability] | None = None
    tokens_predicted: int | None = None
    prompt_progress: _Progress | None = None
    timings: _Timings | None = None
    error: Any = None


class LlamaWire:
    """Token ids both ways, one text a call. It knows no stop ids and cuts stop strings off, so we end the text and hang up.

    It sends nothing while a character is unfinished, and then its last id alone: the others are those that `vocabulary` spells the
    character with. Of such a character it tells one log-probability, the last token's, which then stands for each of its tokens.
    """

    batches = False
    several = False
    cuts = True
    scores = False
    path = "/completion"
    score_path = ""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._decoder = msgspec.json.Decoder(_Answer)

    def body(self, job: Job, decoding: Decoding, every: int) -> dict[str, Any]:
        body: dict[str, Any] = {
            "prompt": list(job.prefixes[0]),
            "n_predict": job.max_tokens + MARGIN,
            "temperature": decoding.temperature,
            "top_p": decoding.top_p,
            "top_k": decoding.top_k,
            "min_p": 0.0,
            "repeat_penalty": 1.0,
            "samplers": ["top_k", "top_p", "temperature"],
            "seed": job.seed & 0x7FFFFFFF,
            "cache_prompt": True,
            "return_tokens": True,
            "return_progress": True,  # the only word on the cache that comes before we may hang up
            "stream": True,
        }
        return {**body, "n_probs": 1} if decoding.logprobs else body

    def reader(self) -> Reader:
        return _Reading(self._decoder, self._vocabulary).read

    def score_body(self, prefix: Ids, continuation: Ids) -> dict[str, Any]:
        raise Broken("llama.cpp's server cannot score given text")

    def scores_of(self, answer: bytes, prefix: Ids, continuation: Ids) -> tuple[list[float], int]:
        raise Broken("llama.cpp's server cannot score given text")


class _Reading:
    """One streamed answer. `_told`: how many tokens the server says that it has written."""

    def __init__(self, decoder: msgspec.json.Decoder[_Answer], vocabulary: Vocabulary) -> None:
        self._decoder, self._vocabulary = decoder, vocabulary
        self._told = 0

    def read(self, payload: bytes) -> News:
        answer = self._decoder.decode(payload)
        if answer.error is not None:
            raise Broken(f"the server says: {str(answer.error)[:300]}")
        if answer.prompt_progress is not None:  # (it comes with a token that is none)
            return News((), answer.prompt_progress.cache)
        if answer.stop:
            reason = "length" if answer.stop_type == "limit" else "stop"
            return News([Piece(0, (), (), reason)], answer.timings and answer.timings.cache_n, answer.tokens_predicted)
        ids = self._whole(answer)
        logprobs = [one.logprob for one in answer.completion_probabilities or ()]
        if logprobs and len(logprobs) < len(ids):
            logprobs = [*logprobs, *[logprobs[-1]] * (len(ids) - len(logprobs))]
        return News([Piece(0, ids, logprobs)], None, answer.tokens_predicted)

    def _whole(self, answer: _Answer) -> Sequence[int]:
        """The ids of what is new, those that were not sent included."""
        before, self._told = self._told, answer.tokens_predicted or 0
        lost = self._told - before - len(answer.tokens)
        if lost <= 0:
            return answer.tokens
        if "\ufffd" in answer.content:
            raise Broken(f"{lost} token ids of a broken character did not come; lower the temperature, or use vLLM or SGLang")
        return self._vocabulary.encode(answer.content)
