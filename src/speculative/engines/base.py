"""The interface of engines: each runs one model, and is stateless to its caller.

Token ids are always in the engine's own vocabulary; text is bytes until a character is whole.
"""

from __future__ import annotations

from array import array
from collections.abc import AsyncIterator, Iterable, Sequence
from contextvars import ContextVar
from hashlib import blake2b
from math import exp, log
from typing import Any, Literal, Protocol

from msgspec import UNSET, Struct, UnsetType, field

Ability = Literal["continue", "ids", "logprobs", "top", "choices", "score", "reward", "stream", "cached", "speculates", "priority"]
"""Names an ability of an engine beyond writing.

`continue`: goes on from any prefix. An engine without it replies to whole conversations only. `ids`: takes and gives token ids.
`logprobs`: of the written tokens. `top`: the most likely tokens at each place, of completions and of scores. `choices`: the
log-probability of given tokens at the first place. `score`: the log-probabilities of given text. `reward`: it is a reward model.
`cached`: says how many tokens of a prompt were not computed again. `speculates`: drafts tokens by itself, for speed only. `priority`:
takes a priority with each call.
"""
Ids = Sequence[int]
Authors = tuple[tuple[str, int], ...]
"""Roles with the number of tokens that each wrote, in the order of the text; `small/big` is the big model of a tower in a tower."""
Top = tuple[tuple[int, float], ...]
"""The most likely ids at one place with their log-probabilities (nats), the likeliest first."""

HAS_FALLBACK: ContextVar[bool] = ContextVar("has_fallback", default=False)
"""True if the work would go on without the engine that is called (`Problem.degrade`); no long wait for a doubted server then."""


CACHE_SALT: ContextVar[str] = ContextVar("cache_salt", default="")
"""Keeps prefix caches of callers apart: a server shares the cache of a prompt only among calls with one salt (vLLM; others ignore it)."""


Purpose = Literal["text", "ahead", "answer", "reply", "prefill"]
"""The use of a call: thinking, thinking behind a draft that may be rejected, the answer, the reply to a question, or that the model has
read the prefix."""


class Decoding(Struct, frozen=True, gc=False):  # `gc=False` here and below: it can be in no cycle, so there is nothing to look for
    """The settings of one call.

    It is greedy at `temperature` 0; `top_k` 0 and `top_p` 1 switch those filters off. Greedy completions of one prefix are copies of one,
    which is written once. `seed` makes the draws of completion j of prefix i a function of (seed, i, j) and of nothing else. `stop`
    strings stay in the text: decoding ends with the token in which one completes. `stop_ids` end decoding and stay out of the text.

    `top_logprobs`: the number of most likely tokens that are wanted at each place. `choices`: ids whose log-probability is wanted at
    the first place. `resumes`: (seed, prefix number, completion number, tokens) of a call that this one goes on from. An engine that
    can draws what that call would have drawn after those tokens; others ignore it. `max_produced`: the limit of all tokens that one
    completion may cost, for an engine that throws some away (a tower); None without a limit. `paced`: the reader of a stream may end it
    after any token. An engine that can (in this process) writes a token only after the one before was taken. `purpose` tells a tower
    who has to write. `for_display`: the log-probabilities are for a reader alone, so an engine that does not send them has not failed.
    """

    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int = 0
    n: int = 1
    stop: tuple[str, ...] = ()
    stop_ids: tuple[int, ...] = ()
    logprobs: bool = False
    top_logprobs: int = 0
    choices: tuple[int, ...] = ()
    resumes: tuple[int, int, int, int] | None = None
    max_produced: int | None = None
    paced: bool = False
    purpose: Purpose = "text"
    for_display: bool = False


class Completion(Struct, frozen=True, gc=False):
    """The text that a model wrote after one prefix.

    `ids` are the tokens of the text; `logprobs` (nats, one for each id, of the model's own distribution before temperature
    and filters) are there when asked for. `finish` is `stop` (a stop string completed), `end` (a stop id was produced:
    `end_id`, which is not in `ids`), `length` (max_tokens), `context` (the model's positions ran out) or `loop` (the
    server saw the text repeat itself). `top_logprobs`: for each id the most likely ids with their log-probabilities.
    `choice_logprobs`: the log-probability of each of `Decoding.choices`, `MIN_LOGPROB` for one that the server did not tell.
    `authors`: for a tower, the roles of its pair that wrote the tokens, the ending one included. `mean_logprob` and `mean_entropy` (nats a
    token) are for a reader: a chain that is watched has them in place of numbers for which the method did not ask.

    No engine gives the other finish reasons: `until` (the caller's predicate ended it), `cut` (the call ended before its completion
    did) and `no room` (no call was made).
    """

    ids: tuple[int, ...]
    finish: Literal["stop", "end", "length", "context", "loop", "until", "cut", "no room"]
    end_id: int | None = None
    logprobs: tuple[float, ...] | None = None
    top_logprobs: tuple[Top, ...] | None = None
    choice_logprobs: tuple[float, ...] | None = None
    authors: Authors = ()
    mean_logprob: float | UnsetType = UNSET
    mean_entropy: float | UnsetType = UNSET

    @property
    def produced(self) -> int:
        """Tokens that the model produced, the ending one included."""
        return len(self.ids) + (self.end_id is not None)


class Scores(list[float]):
    """The log-probability (nats) of every token of one text.

    `top`: the most likely tokens at each place, if asked for.
    """

    def __init__(self, logprobs: Iterable[float] = (), top: Iterable[Top] | None = None) -> None:
        super().__init__(logprobs)
        self.top: tuple[Top, ...] | None = None if top is None else tuple(top)


class Delta(Struct, frozen=True, gc=False):
    """New ids of a streamed completion. The last delta carries the completion."""

    ids: tuple[int, ...]
    completion: Completion | None = None


COUNTS = ("requests", "prompt_tokens", "cached_tokens", "produced_tokens", "scored_tokens")


class CallStats(Struct):
    """The cost of a call so far.

    The engine adds to it as it works, so that a cancelled call is counted too. Units: tokens. `prompt_tokens` are those given,
    `cached_tokens` the part of them that was not computed again, `scored_tokens` those that were read behind them for their
    log-probability. No token is counted as both. `written`: in a `complete` for one completion, the ids so far, which remain if the call
    ends early, and `authors` of them in a tower.

    `inner` is the part of a tower's pair, by role, with the `seconds` of its calls. `chains` are the events of the chains that it wrote.
    `beyond_tokens` are the produced tokens behind the end at which a chain ended a stream.
    """

    requests: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    produced_tokens: int = 0
    scored_tokens: int = 0
    written: Ids = ()
    authors: Authors = ()
    seconds: float = 0.0
    beyond_tokens: int = 0
    inner: dict[str, CallStats] = field(default_factory=dict[str, "CallStats"])
    chains: list[list[Any]] = field(default_factory=list[list[Any]])

    def add(self, cost: Any, *, timed: bool = True) -> None:
        """Adds the counts of another cost, and its seconds unless they are measured apart."""
        for name in (*COUNTS, "seconds") if timed else COUNTS:
            setattr(self, name, getattr(self, name) + getattr(cost, name))


class TextDecoder(Protocol):
    """Converts token ids to text."""

    def to_bytes(self, ids: Ids) -> bytes:
        """Returns the exact bytes of the ids. Special tokens give none."""
        ...


class Tokenizer(TextDecoder, Protocol):
    """Converts text to an engine's token ids and back.

    `encode` never gives a special token, even if the text spells one.
    """

    @property
    def special_tokens(self) -> dict[str, int]:
        """The texts of the special tokens, and their ids."""
        ...

    @property
    def fingerprint(self) -> str:
        """A hash that is equal for two tokenizers if their ids mean the same."""
        ...

    def encode(self, text: str) -> list[int]:
        """Returns the ids of plain text. Text that looks like a special token stays text."""
        ...

    def special_token_id(self, text: str) -> int:
        """Returns the id of a special token. Raises `UnknownSpecialTokenError`."""
        ...

    def knows(self, ids: Ids) -> bool:
        """Returns True if every id is in the vocabulary."""
        ...


class Engine(Protocol):
    """Runs one model. Stateless to its caller: the whole prefix is given each time.

    `key` names the chain, so that an engine with replicas can keep it on one. Cancelling the awaiting task ends the
    work at once. Errors: `EngineError` and its kinds; a prefix that does not fit is `ContextExceededError`.
    """

    @property
    def name(self) -> str: ...
    @property
    def abilities(self) -> frozenset[Ability]: ...
    @property
    def tokenizer(self) -> Tokenizer: ...
    @property
    def dialect(self) -> str:
        """The name of the dialect in `prompts` that the model was trained on."""
        ...

    @property
    def context(self) -> int:
        """Positions that the model has, prompt and output together."""
        ...

    async def complete(self, prefixes: Sequence[Ids], decoding: Decoding, *, key: str, stats: CallStats) -> list[list[Completion]]:
        """Returns `decoding.n` completions for each prefix, in order."""
        ...

    def stream(self, prefix: Ids, decoding: Decoding, *, key: str, stats: CallStats) -> AsyncIterator[Delta]:
        """Yields one completion as it is written, with the ids that `complete` gives."""
        ...

    async def score(
        self, prefixes: Sequence[Ids], continuations: Sequence[Ids], *, key: str, stats: CallStats, top: int = 0
    ) -> list[Scores]:
        """Returns the log-probability (nats) of every token of each continuation.

        `top`: the number of likely tokens that are wanted at each place, too.
        """
        ...

    async def aclose(self) -> None: ...


class RewardEngine(Engine, Protocol):
    """An engine with the ability `reward`."""

    async def reward(self, texts: Sequence[Ids], *, key: str, stats: CallStats) -> list[float]:
        """Returns the reward of each text at its last token.

        All tokens that were read are prompt tokens, none is a scored one.
        """
        ...


class UnfinishedCharacter:
    """Counts the bytes at the end of a text that begin a UTF-8 character only."""

    @staticmethod
    def trailing(data: bytes) -> int:
        if data[-1:] < b"\x80":  # nearly always: a character of one byte, or nothing
            return 0
        for back in range(1, min(4, len(data) + 1)):
            byte = data[-back]
            if byte & 0xC0 == 0x80:
                continue
            needs = 2 if byte & 0xE0 == 0xC0 else 3 if byte & 0xF0 == 0xE0 else 4 if byte & 0xF8 == 0xF0 else 1
            return back if needs > back else 0
        return 0


def digest(prefixes: Sequence[Ids], continuations: Sequence[Ids]) -> str:
    """Names a scoring call in a trace, by which a replay finds it again."""
    given = (*prefixes, *continuations)
    sizes = array("I", [len(ids) for ids in given])
    return blake2b(b"".join([sizes.tobytes(), *(array("I", ids).tobytes() for ids in given)]), digest_size=8).hexdigest()


def seed_of(digest: str) -> int:
    """Returns the seed in the record of a scoring call, which draws nothing."""
    return int(digest[:12], 16)


PREFILL_SEED = 0
"""The seed of warm-ups in the background: they draw nothing, and when they happen depends on the clock."""


def prefill_tokens(engine: Engine) -> int:
    """Returns the tokens that one prefill produces: one for each model of a tower."""
    return getattr(engine, "prefill_tokens", 1)


def gives_whole_calls(engine: Engine) -> bool:
    """Returns whether a request gets the whole result of a call, as in a replay."""
    return getattr(engine, "gives_whole_calls", False)


MIN_LOGPROB = -1e9
"""Stands for the logarithm of zero, and for what is no number: a trace is JSON, which has neither."""


def entropy_of(top: Top) -> float:
    """Returns the entropy (nats) of the most likely tokens at one place.

    Their probabilities are scaled to a sum of 1.
    """
    weights = [exp(logprob - top[0][1]) for _, logprob in top]
    total = sum(weights)
    return -sum(weight / total * log(weight / total) for weight in weights if weight)


def finite(logprobs: Iterable[float]) -> tuple[float, ...]:
    """Replaces values that JSON cannot hold by `MIN_LOGPROB`."""
    given = tuple(logprobs)
    if sum(given) > MIN_LOGPROB:  # nearly always; what is no number makes the sum none, which is above nothing
        return given
    return tuple(logprob if logprob > MIN_LOGPROB else MIN_LOGPROB for logprob in given)
