"""vLLM's completions, and those of other servers that give token ids back."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from speculative.engines.base import CACHE_SALT, Decoding, Ids, Purpose, Scores, Top
from speculative.engines.http.protocols.base import (
    MAX_TOP,
    Ask,
    BadResponseError,
    ChunkUpdate,
    Count,
    NewTokens,
    Read,
    ScoreResult,
    ServerProtocol,
    ServerRequest,
    TokenId,
    cut_top,
    failure,
    likeliest,
    logarithms,
)
from speculative.errors import EngineRefusedError

FLAT_PATH, FLAT_FLAG = "/inference/v1/generate", "--enable-scale-out"
"""The endpoint that scores a step with the prefix cache kept, and the flag that opens it."""

MOST_SINGLE = 16
"""The most tokens at a step's beginning that are scored by a call each. The echo of the whole prompt costs less for more of them."""

POOLING_PATH = "/pooling"

FLOOR = -9999.0
"""The log-probability that vLLM writes for minus infinity: that of padding, too."""


REPEATED = {"min_pattern_size": 4, "max_pattern_size": 64, "min_count": 16}
"""A text that repeats a pattern of 4 to 64 tokens 16 times in a row is a loop: vLLM (0.32 and later) ends it there."""


PRIORITIES: dict[Purpose, int] = {"reply": 0, "text": 1, "answer": 1, "ahead": 2, "prefill": 2}
"""The place of a call in the queue of a server with `--scheduling-policy priority`, the first one lowest.

Judgements, for which a chain waits, come first, and work that may be thrown away comes last. A score has the default, which is 0.
"""


def _salt() -> dict[str, str]:
    """Returns the field that keeps this caller's prefixes apart, if it has one."""
    return {"cache_salt": salt} if (salt := CACHE_SALT.get()) else {}


class _Logprobs(Struct, gc=False):
    token_logprobs: list[float | None] = []
    top_logprobs: list[dict[str, float] | None] = []


class _Choice(Struct, gc=False):
    index: Count = 0
    text: str = ""
    token_ids: list[TokenId] | None = None
    logprobs: _Logprobs | None = None
    finish_reason: str | None = None
    stop_reason: int | str | None = None


class _Details(Struct, gc=False):
    cached_tokens: int | None = None


class _Usage(Struct, frozen=True, gc=False):
    completion_tokens: int | None = None
    prompt_tokens_details: _Details | None = None

    @property
    def cached(self) -> int | None:
        return self.prompt_tokens_details.cached_tokens if self.prompt_tokens_details else None


class _Answer(Struct, gc=False):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: Any = None


class _Value(Struct, gc=False):
    logprob: float | None = None


class _Pooled(Struct, gc=False):
    data: list[Any]


class _Pooling(Struct, gc=False):
    data: list[_Pooled]


class _Generated(Struct, gc=False):
    prompt_logprobs: list[dict[str, _Value] | None] | None = None
    usage: _Usage = _Usage()


class VllmProtocol(ServerProtocol):
    """`POST /v1/completions` with token ids both ways.

    Scoring takes `/inference/v1/generate` where the server has it open: there a prefix in the cache stays there. `echo` computes the
    whole prefix again each time.
    """

    supports_batch = True
    supports_n = True
    path = "completions"

    def __init__(self, model: str, *, genuine: bool = True) -> None:
        """Speaks with vLLM itself if `genuine`, else with a server that is like it."""
        self._model, self._genuine = model, genuine
        self.flat: bool | None = None if genuine else False
        self._block = 0  # a multiple of the size of the server's cache blocks; 0 until one was met
        self.ranks = genuine
        self._decoder = msgspec.json.Decoder(_Answer)
        self._flat_decoder = msgspec.json.Decoder(_Generated)

    def body(self, request: ServerRequest, decoding: Decoding, every: int) -> dict[str, Any]:
        # Penalties and min_p are spelled out: else the server takes them from the model's own folder.
        body: dict[str, Any] = {
            "model": self._model,
            "prompt": list(request.prefixes) if len(request.prefixes) > 1 else request.prefixes[0],
            "max_tokens": request.max_tokens,
            "n": request.n,
            "temperature": decoding.temperature,
            "top_p": decoding.top_p if decoding.temperature > 0 else 1.0,
            "top_k": decoding.top_k if decoding.temperature > 0 else 0,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "seed": request.seed,
            "stop": list(decoding.stop),
            "include_stop_str_in_output": True,
            "stop_token_ids": list(decoding.stop_ids),
            "ignore_eos": True,  # only what was asked for ends a text: dialects name their models' ends
            "skip_special_tokens": False,
            "spaces_between_special_tokens": False,
            "return_token_ids": True,
            "stream": True,
            "stream_options": {"include_usage": True, **({"continuous_usage_stats": True} if self._genuine else {})},
            "stream_interval": every,
        }
        if self._genuine:
            body |= _salt()
            if self.ranks and (priority := PRIORITIES[decoding.purpose]):
                body["priority"] = priority
            if request.max_tokens > REPEATED["min_pattern_size"] * REPEATED["min_count"]:
                body["repetition_detection"] = REPEATED
        if not (decoding.logprobs or decoding.top_logprobs or decoding.choices):
            return body
        likely = decoding.top_logprobs
        if decoding.choices and self._genuine and not likely:
            body["logprob_token_ids"] = list(decoding.choices)  # takes the place of the likely ones
        elif decoding.choices:
            likely = max(likely, MAX_TOP)
        return {**body, "logprobs": likely, "return_tokens_as_token_ids": True}

    def reader(self) -> Read:
        return self._read

    def _read(self, payload: bytes) -> ChunkUpdate:
        answer = self._decoder.decode(payload)
        if answer.error is not None:
            raise failure(answer.error)
        usage = answer.usage
        if usage is None:
            return ChunkUpdate([_piece(choice) for choice in answer.choices])
        if self._genuine and answer.choices:  # the count of this completion up to here, from which the order of events can be told
            return ChunkUpdate([_piece(choice, usage.completion_tokens) for choice in answer.choices])
        return ChunkUpdate([_piece(choice) for choice in answer.choices], usage.cached, usage.completion_tokens)

    # ---- scores -----------------------------------------------------------------------------------------------------

    async def score(self, ask: Ask, prefix: Ids, continuation: Ids, top: int) -> ScoreResult:
        flat = ScoreResult(Scores())
        if self.flat is not False:
            flat = await self._score_flat(ask, prefix, continuation, top)
            if len(flat.scores):
                return flat
        found = await self._score_echo(ask, prefix, continuation, top)
        return ScoreResult(found.scores, flat.cached + found.cached, flat.produced + found.produced)

    async def _score_flat(self, ask: Ask, prefix: Ids, continuation: Ids, top: int) -> ScoreResult:
        """Scores with the prefix cache kept.

        The result has no scores where that does not work for this step.

        There are rows for computed positions only, or garbage stands in the places of the others, so the list is read from its end
        and each row must hold our id. The row of a token is that of the position before it: where the prefix is whole blocks of the
        cache, the first row is missing, and its token is asked for by a call of its own, at the same time once the blocks are known.
        So are tokens in the cache because a step with the same beginning was read before. A row with NaN makes the answer an error (400).
        """
        whole = bool(self._block) and not top and len(prefix) % self._block == 0
        early = asyncio.create_task(self._first_token(ask, prefix, continuation[0])) if whole else None
        try:
            answer = await self._generate(ask, prefix, continuation, top)
            firsts = [await early] if early else []
        finally:
            if early:
                early.cancel()
        if answer is None:
            return ScoreResult(Scores(), sum(first.cached for first in firsts), sum(first.produced for first in firsts))
        size = len(continuation)
        rows = [*[None] * size, *(answer.prompt_logprobs or [])][-size:]
        values = [row[str(number)].logprob if row and str(number) in row else None for row, number in zip(rows, continuation, strict=True)]
        missing = [place for place, value in enumerate(values) if value is None]
        singly = not top and len(missing) <= MOST_SINGLE and missing == [*range(len(missing))]
        if missing and singly:
            self._block = math.gcd(self._block, len(prefix) + len(missing) - 1)
            left = missing[len(firsts) :]
            firsts += await asyncio.gather(*(self._first_token(ask, [*prefix, *continuation[:at]], continuation[at]) for at in left))
            values[: len(missing)] = [first.scores[0] for first in firsts]
        cached = (answer.usage.cached or 0) + sum(first.cached for first in firsts)
        produced = (answer.usage.completion_tokens or 0) + sum(first.produced for first in firsts)
        if missing and not singly:
            return ScoreResult(Scores(), cached, produced)
        places = [likeliest((int(number), value.logprob) for number, value in (row or {}).items())[:top] for row in rows] if top else None
        return ScoreResult(Scores(logarithms(values), places), cached, produced)

    async def _generate(self, ask: Ask, prefix: Ids, continuation: Ids, top: int) -> _Generated | None:
        """Asks for the rows of a prompt, or returns None where the server refuses."""
        sampling = {"max_tokens": 1, "temperature": 0, "prompt_logprobs": top, "skip_reading_prefix_cache": False, "detokenize": False}
        body = {"model": self._model, "token_ids": [*prefix, *continuation], "sampling_params": sampling, **_salt()}
        try:
            answer = self._flat_decoder.decode(await ask(FLAT_PATH, body))
        except EngineRefusedError as error:
            self.flat = self.flat if error.status == 400 else False
            return None
        self.flat = True
        return answer

    async def _first_token(self, ask: Ask, prefix: Ids, number: int) -> ScoreResult:
        """Asks for the log-probability of one token after the prefix."""
        sampling = {"max_tokens": 1, "temperature": 0, "logprobs": 0, "logprob_token_ids": [number]}
        answer = self._decoder.decode(await ask(self.path, {"model": self._model, "prompt": [*prefix], **sampling, **_IDS, **_salt()}))
        logprobs = answer.choices[0].logprobs if answer.choices else None
        found = _tops(logprobs.top_logprobs) if logprobs else ()
        value = dict(found[0]).get(number) if found else None
        if value is None:
            raise BadResponseError(f"no log-probability of token {number}, which was asked for")
        usage = answer.usage or _Usage()
        return ScoreResult(Scores([value]), usage.cached or 0, usage.completion_tokens or 0)

    async def _score_echo(self, ask: Ask, prefix: Ids, continuation: Ids, top: int) -> ScoreResult:
        """Scores by the echo of the prompt, which the server computes anew."""
        ids = [*prefix, *continuation]
        body = {"model": self._model, "prompt": ids, "max_tokens": 0, "echo": True, "logprobs": top, **_IDS}
        body |= _salt() if self._genuine else {}
        found = self._decoder.decode(await ask(self.path, body))
        logprobs = found.choices[0].logprobs if found.choices and found.choices[0].logprobs else _Logprobs()
        values, likely = logprobs.token_logprobs, _tops(logprobs.top_logprobs) if top else ()
        if len(values) < len(ids) or (top and len(likely) < len(ids)):
            raise BadResponseError(f"{min(len(values), len(likely) if top else len(values))} log-probabilities for {len(ids)} tokens")
        span = slice(len(prefix), len(ids))
        places = cut_top(likely[span], top) if top else None
        return ScoreResult(Scores(logarithms(values[span]), places), (found.usage and found.usage.cached) or 0)

    # ---- rewards ----------------------------------------------------------------------------------------------------

    async def reward(self, ask: Ask, texts: Sequence[Ids]) -> list[float]:
        """Returns the reward at each text's last token: its last value there.

        Of two classes that is the good one.

        A model that pools by steps computes the whole text anew each time, past its cache.
        """
        answer = await ask(POOLING_PATH, {"model": self._model, "input": [list(text) for text in texts]})
        rows = [one.data for one in msgspec.json.decode(answer, type=_Pooling).data]
        if len(rows) != len(texts):
            raise BadResponseError(f"{len(rows)} rewards for {len(texts)} texts")
        self.pools_steps = any(isinstance(row[-1], list) for row in rows if row)
        return [_last_number(row) for row in rows]


def _last_number(row: Any) -> float:
    """Returns the last number of a list, or of the last list in it."""
    while isinstance(row, list) and row:
        row = row[-1]  # pyright: ignore[reportUnknownVariableType]
    if isinstance(row, float | int) and not isinstance(row, bool):
        return float(row)
    raise BadResponseError(f"a reward must be a number, got {str(row)[:60]!r}")  # pyright: ignore[reportUnknownArgumentType]


_IDS = {"return_token_ids": True, "return_tokens_as_token_ids": True}


def _piece(choice: _Choice, so_far: int | None = None) -> NewTokens:
    if choice.token_ids is None:
        raise BadResponseError("the server gives no token ids back (vLLM does from 0.10.2 on)")
    logprobs = logarithms(choice.logprobs.token_logprobs) if choice.logprobs else ()
    if logprobs and len(logprobs) != len(choice.token_ids):
        raise BadResponseError(f"{len(logprobs)} log-probabilities for {len(choice.token_ids)} tokens")
    reason = choice.finish_reason
    if reason is None and not logprobs:
        return NewTokens(choice.index, choice.token_ids, text=choice.text, so_far=so_far)
    if reason == "repetition":
        reason = "loop"
    if reason not in (None, "stop", "length", "loop"):
        raise BadResponseError(f"the server ended the text with {reason!r}")
    top = _tops(choice.logprobs.top_logprobs) if choice.logprobs else ()
    if top and len(top) != len(choice.token_ids):
        raise BadResponseError(f"likely tokens at {len(top)} places for {len(choice.token_ids)} tokens")
    return NewTokens(choice.index, choice.token_ids, logprobs, reason, choice.stop_reason, choice.text, top, so_far)


def _tops(places: Sequence[dict[str, float] | None]) -> Sequence[Top]:
    """Returns the likely tokens of each place.

    None at all where the server names one by its text, not as `token_id:7`.
    """
    if not all(name.startswith("token_id:") for place in places for name in place or ()):
        return ()
    return [likeliest((int(name[9:]), value) for name, value in (place or {}).items() if value > FLOOR) for place in places]
