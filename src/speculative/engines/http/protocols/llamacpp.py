"""llama.cpp's server, by its own `/completion`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from msgspec import Struct

from speculative.engines.base import Decoding, Tokenizer, Top
from speculative.engines.http.protocols.base import (
    MAX_TOP,
    BadResponseError,
    ChunkUpdate,
    NewTokens,
    Read,
    ServerProtocol,
    ServerRequest,
    TokenId,
    failure,
    likeliest,
    logarithms,
)


class _Likely(Struct):
    id: int
    logprob: float | None


class _Probability(Struct):
    id: int
    logprob: float
    top_logprobs: list[_Likely] = []


class _Progress(Struct):
    cache: int = 0


class _Timings(Struct):
    cache_n: int | None = None


class _Answer(Struct):
    content: str = ""
    tokens: list[TokenId] = []
    stop: bool = False
    stop_type: str = "none"
    stopping_word: str = ""
    completion_probabilities: list[_Probability] | None = None
    tokens_predicted: int | None = None
    prompt_progress: _Progress | None = None
    timings: _Timings | None = None
    error: Any = None


class LlamaCppProtocol(ServerProtocol):
    """Token ids both ways, one text a call.

    It knows no stop ids: their texts are stop strings for it.

    A seeded call gives the same text again only where the server computes it in the same way: with as much of its prompt in the cache,
    and with no other call beside it.

    A call is read to its end: after a hang-up the slot is busy for a moment, and the chain's next call would go to another slot, which
    has nothing of it in its cache. The server sends nothing while a character is unfinished, and then its last id alone: the missing ids
    are recovered by encoding the character. It gives such a character one log-probability, the last token's, which then stands for each
    of its tokens. It cannot be asked for given tokens: `choices` are looked up among the likeliest.
    """

    reuse_connection = False
    withheld = 3
    path = "/completion"

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._decoder = msgspec.json.Decoder(_Answer)

    def body(self, request: ServerRequest, decoding: Decoding, every: int) -> dict[str, Any]:
        body: dict[str, Any] = {
            "prompt": list(request.prefixes[0]),
            "n_predict": request.max_tokens,
            "temperature": decoding.temperature,
            "top_p": decoding.top_p,
            "top_k": decoding.top_k,
            "min_p": 0.0,
            "repeat_penalty": 1.0,
            "samplers": ["top_k", "top_p", "temperature"],
            "seed": request.seed & 0x7FFFFFFF,
            "cache_prompt": True,
            "return_tokens": True,
            "return_progress": True,  # else it tells only at the end what its cache gave
            "stop": self._stops(decoding),
            "stream": True,
        }
        likely = max(decoding.top_logprobs, MAX_TOP if decoding.choices else int(decoding.logprobs))
        return {**body, "n_probs": likely} if likely else body

    def reader(self) -> Read:
        return _Reading(self._decoder, self._tokenizer).read

    def _stops(self, decoding: Decoding) -> list[str]:
        spelled = {number: text for text, number in self._tokenizer.special_tokens.items()}
        return [*decoding.stop, *(spelled[number] for number in decoding.stop_ids if number in spelled)]


class _Reading:
    """Reads one streamed answer.

    The server sends text late: not inside a character, nor while it may begin a stop string.

    `_counted`: tokens that it says it has written. `_passed`: tokens that were passed on. `_late`: text that is still due of ids that
    were passed on. `_held`: ids that came since some were lost; until their text is here, nothing is passed on. `_special`: a special
    token that may be the end of the text.
    """

    def __init__(self, decoder: msgspec.json.Decoder[_Answer], tokenizer: Tokenizer) -> None:
        self._decoder, self._tokenizer = decoder, tokenizer
        self._counted = self._lost = self._passed = 0
        self._held: list[int] = []
        self._late, self._text = b"", ""
        self._special: list[NewTokens] = []
        self._logprobs: list[float] = []
        self._top: list[Top] = []
        self._special_ids = frozenset(tokenizer.special_tokens.values())

    def read(self, payload: bytes) -> ChunkUpdate:
        answer = self._decoder.decode(payload)
        if answer.error is not None:
            raise failure(answer.error)
        if answer.prompt_progress is not None:  # (it comes with a token that is none)
            return ChunkUpdate((), answer.prompt_progress.cache)
        if answer.stop:
            return self._end(answer)
        ids = self._take(answer)
        places = answer.completion_probabilities or ()
        self._logprobs = logarithms(one.logprob for one in places)
        self._top = [likeliest((other.id, other.logprob) for other in one.top_logprobs) for one in places if one.top_logprobs]
        pieces = [*self._special, self._piece(ids, text=answer.content)]
        self._special = [pieces.pop()] if ids and not answer.content and ids[-1] in self._special_ids else []
        return ChunkUpdate(pieces)

    def _piece(
        self, ids: Sequence[int], reason: Literal["stop", "length"] | None = None, matched: int | str | None = None, text: str = ""
    ) -> NewTokens:
        values, top = self._logprobs, self._top
        values = values if len(values) == len(ids) else values[-1:] * len(ids)
        return NewTokens(0, ids, values, reason, matched, text, top if len(top) == len(ids) else top[-1:] * len(ids))

    def _end(self, answer: _Answer) -> ChunkUpdate:
        ids: Sequence[int] = ()
        if self._lost and answer.stop_type == "word":
            self._text += answer.stopping_word
            self._counted = answer.tokens_predicted or self._counted
            ids = self._spell(over=True)
        if self._lost and len(self._text.encode()) > len(self._late):
            raise BadResponseError(f"{self._lost} token ids of {self._text[-40:]!r} did not come")
        limit = answer.stop_type == "limit"  # an unfinished character at the limit is left to the next call
        eos = self._special[0].ids[-1] if self._special and answer.stop_type == "eos" else None
        word = answer.stopping_word if answer.stopping_word not in self._tokenizer.special_tokens else ""
        piece = self._piece(ids, "length" if limit else "stop", answer.stopping_word or eos, answer.content + word)
        return ChunkUpdate(
            [*(() if eos is not None else self._special), piece], answer.timings and answer.timings.cache_n, answer.tokens_predicted
        )

    def _take(self, answer: _Answer) -> Sequence[int]:
        """Returns the ids that can be passed on now, those that were not sent included."""
        before, self._counted = self._counted, answer.tokens_predicted or 0
        if self._counted < before:
            raise BadResponseError(f"{self._counted} tokens are counted after {before}")
        lost = max(0, self._counted - before - len(answer.tokens))
        self._lost += lost
        if not self._lost:
            self._late = b"" if answer.content else self._late + self._tokenizer.to_bytes(answer.tokens)
            self._passed += len(answer.tokens)
            return answer.tokens
        self._text += answer.content
        self._held = [*answer.tokens] if lost else [*self._held, *answer.tokens]
        return self._spell()

    def _spell(self, *, over: bool = False) -> Sequence[int]:
        """Returns the ids that spell the held text, if all of it is here.

        `over`: all of it is; its last token may hold more, which the server does not send.
        """
        if "\ufffd" in self._text:
            raise BadResponseError(
                f"{self._lost} token ids of a broken character did not come; lower the temperature, or use vLLM or SGLang"
            )
        text, end = self._text.encode(), self._tokenizer.to_bytes(self._held)
        if not over and (not text.endswith(end) or len(text) <= len(self._late) + len(end)):
            return ()
        ends = [number for number in self._held if number in self._special_ids]
        ids = [*self._tokenizer.encode(text.removeprefix(self._late).decode()), *ends]
        self._passed += len(ids)
        if self._passed != self._counted:
            raise BadResponseError(f"{self._lost} token ids of {self._text[-40:]!r} did not come, which is spelled with {len(ids)}")
        self._late, self._text, self._held, self._lost = b"", "", [], 0
        return ids
