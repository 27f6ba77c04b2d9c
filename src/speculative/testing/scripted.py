"""A scripted engine for tests, and its vocabulary.

They keep the same promises as real engines (stop strings, seeds, budgets, cancelling), so a method that is tested on them
meets no surprises.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import lru_cache

from speculative.engines.base import MIN_LOGPROB, Ability, CallStats, Completion, Decoding, Delta, Ids, Scores, Tokenizer, Top
from speculative.errors import ContextExceededError, UnknownSpecialTokenError
from speculative.trace.replay import ABILITIES

SPECIAL_TOKENS = ("<|im_start|>", "<|im_end|>", "<|endoftext|>", "<think>", "</think>")
_MARK = 1 << 26
_CLOSE = "</think>"

Script = Callable[[str, int], str]
"""Given everything that the model sees, special tokens included, and the seed of the completion: what it would go on to write."""


class ScriptedTokenizer:
    """Cuts text into tokens of `width` bytes (1 to 3).

    Vocabularies of different width split characters differently.
    """

    def __init__(self, width: int = 1) -> None:
        self.width = width
        self.fingerprint = f"scripted-{width}"
        self.special_tokens = {text: _MARK + place for place, text in enumerate(SPECIAL_TOKENS)}

    def encode(self, text: str) -> list[int]:
        data = text.encode()
        return [int.from_bytes(b"\1" + data[i : i + self.width], "big") for i in range(0, len(data), self.width)]

    def special_token_id(self, text: str) -> int:
        if text not in self.special_tokens:
            raise UnknownSpecialTokenError(f"the scripted tokenizer has no special token {text!r}; it has {', '.join(SPECIAL_TOKENS)}")
        return self.special_tokens[text]

    def knows(self, ids: Ids) -> bool:
        return all(0 < token < _MARK + len(SPECIAL_TOKENS) for token in ids)

    def to_bytes(self, ids: Ids) -> bytes:
        return b"".join(map(_bytes, ids))

    def show(self, ids: Ids) -> str:
        """Returns the ids as text, with the special tokens spelled out."""
        return b"".join(_bytes(token) if token < _MARK else SPECIAL_TOKENS[token - _MARK].encode() for token in ids).decode(
            "utf-8", "replace"
        )

    def parse(self, text: str) -> list[int]:
        """Converts text with special tokens spelled out to ids."""
        ids: list[int] = []
        for part in re.split(f"({'|'.join(map(re.escape, SPECIAL_TOKENS))})", text):
            ids += [self.special_token_id(part)] if part in SPECIAL_TOKENS else self.encode(part)
        return ids


class ScriptedEngine:
    """Writes what its script says.

    `script` has one of three forms. A text is the whole thinking that the model has in mind; it goes on from wherever the chain
    stands. A list has a reply for each completion, in the order of the calls, and the last one stays. A function gets the text that
    the model sees and the seed, and may raise the errors of an engine. Replies may spell markers out (`</think>`); in a whole script what
    follows that marker is the answer.

    `scores(prefix, text)` gives the log-probability of every token of a text. `top(prefix)` gives the log-probabilities of texts of one
    token that may come next; the written one has -0.1 if it is not among them. `rewards(text)` gives the reward of a prefix with its text.
    `delay` is seconds a token. `calls` are the verbs and prefixes that it was asked, `running` the calls under way, `produced` all
    tokens.
    """

    def __init__(
        self,
        script: str | Sequence[str] | Script,
        *,
        name: str = "scripted",
        width: int = 1,
        context: int = 1 << 20,
        abilities: frozenset[Ability] = ABILITIES,
        scores: Callable[[str, str], float] | None = None,
        top: Callable[[str], Mapping[str, float]] | None = None,
        rewards: Callable[[str], float] | None = None,
        delay: float = 0.0,
        dialect: str = "chatml",
    ) -> None:
        self.name, self.context, self.abilities, self.dialect = name, context, abilities, dialect
        self._tokenizer = ScriptedTokenizer(width)
        self._script = script if callable(script) else _recited(script) if isinstance(script, str) else _in_turn(script)
        self._scores: Callable[[str, str], float] = scores or _sure
        self._likely = top
        self._rewards = rewards
        self.delay = delay
        self.calls: list[tuple[str, str]] = []
        self.running = 0
        self.produced = 0

    @property
    def tokenizer(self) -> Tokenizer:
        return self._tokenizer

    async def complete(self, prefixes: Sequence[Ids], decoding: Decoding, *, key: str, stats: CallStats) -> list[list[Completion]]:
        stats.requests += 1
        found: list[list[Completion]] = []
        for place, prefix in enumerate(prefixes):
            self._take(prefix, "complete", stats)
            several = [self._completion(prefix, decoding, _seed(decoding, place, i)) for i in range(decoding.n)]
            for completion in several:
                before = stats.produced_tokens
                try:
                    await self._pace(completion.produced, stats)
                finally:
                    if len(prefixes) * decoding.n == 1:
                        stats.written = completion.ids[: stats.produced_tokens - before]
            found.append(several)
        return found

    async def stream(self, prefix: Ids, decoding: Decoding, *, key: str, stats: CallStats) -> AsyncIterator[Delta]:
        stats.requests += 1
        self._take(prefix, "stream", stats)
        completion = self._completion(prefix, decoding, _seed(decoding))
        for token in completion.ids:
            await self._pace(1, stats)
            yield Delta((token,))
        self._count(completion.produced - len(completion.ids), stats)
        yield Delta((), completion)

    async def score(
        self, prefixes: Sequence[Ids], continuations: Sequence[Ids], *, key: str, stats: CallStats, top: int = 0
    ) -> list[Scores]:
        stats.requests += 1
        for prefix, given in zip(prefixes, continuations, strict=True):
            self._take(prefix, "score", stats)
            stats.scored_tokens += len(given)
        await self._pace(0, stats)
        show = self._tokenizer.show
        return [
            Scores([self._scores(show(p), show(c))] * len(c), self._tops(p, c, top) if top else None)
            for p, c in zip(prefixes, continuations, strict=True)
        ]

    async def reward(self, texts: Sequence[Ids], *, key: str, stats: CallStats) -> list[float]:
        """Returns what `rewards` gives for each text."""
        stats.requests += 1
        for text in texts:
            self._take(text, "reward", stats)
        await self._pace(0, stats)
        return [self._rewards(self._tokenizer.show(text)) if self._rewards else 0.0 for text in texts]

    async def aclose(self) -> None:
        """Does nothing, as nothing is open."""

    def _take(self, prefix: Ids, verb: str, stats: CallStats) -> None:
        if len(prefix) >= self.context:
            raise ContextExceededError(self.name, len(prefix), self.context)
        self.calls.append((verb, self._tokenizer.show(prefix)))
        stats.prompt_tokens += len(prefix)

    async def _pace(self, tokens: int, stats: CallStats) -> None:
        """Takes its time token by token, so that a cancelled call has produced some."""
        self.running += 1
        try:
            for _ in range(tokens if self.delay else 0):
                await asyncio.sleep(self.delay)
                self._count(1, stats)
            if not self.delay:
                await asyncio.sleep(0)
                self._count(tokens, stats)
        finally:
            self.running -= 1

    def _count(self, tokens: int, stats: CallStats) -> None:
        stats.produced_tokens += tokens
        self.produced += tokens

    def _completion(self, prefix: Ids, decoding: Decoding, seed: int) -> Completion:
        tokenizer, written, kept = self._tokenizer, b"", list[int]()
        room = min(decoding.max_tokens, self.context - len(prefix))
        finish, end = ("length" if room == decoding.max_tokens else "context"), None
        for token in tokenizer.parse(self._script(tokenizer.show(prefix), seed)):
            if len(kept) >= room:
                break
            if token in decoding.stop_ids:
                finish, end = "end", token
                break
            kept.append(token)
            written += tokenizer.to_bytes([token])
            if any(stop.encode() in written for stop in decoding.stop):
                finish = "stop"
                break
        else:
            if len(kept) < room:  # the script is at its end: so is the text
                finish, end = "end", decoding.stop_ids[-1] if decoding.stop_ids else None
        logprobs = tuple(-0.1 for _ in kept) if decoding.logprobs else None
        top = self._tops(prefix, kept, decoding.top_logprobs) if decoding.top_logprobs else None
        first = dict(self._top(prefix, kept[0] if kept else end, 1 << 30)) if decoding.choices else {}
        choices = tuple(first.get(token, MIN_LOGPROB) for token in decoding.choices) if decoding.choices else None
        return Completion(tuple(kept), finish, end, logprobs, top, choices)

    def _tops(self, prefix: Ids, ids: Ids, count: int) -> tuple[Top, ...]:
        """Returns the most likely tokens at the place of each id."""
        return tuple(self._top((*prefix, *ids[:place]), token, count) for place, token in enumerate(ids))

    def _top(self, prefix: Ids, written: int | None, count: int) -> Top:
        found: dict[int, float] = {} if written is None else {written: -0.1}
        if self._likely:
            likely = self._likely(self._tokenizer.show(prefix))
            found |= {self._tokenizer.parse(text)[0]: logprob for text, logprob in likely.items()}
        return tuple(sorted(found.items(), key=lambda one: (-one[1], one[0]))[:count])


def _seed(decoding: Decoding, place: int = 0, number: int = 0) -> int:
    """Returns the seed that the script gets.

    A call that continues another one has the seed of that one.
    """
    seed, place, number, _ = decoding.resumes or (decoding.seed, place, number, 0)
    return seed + 7919 * place + 104729 * number


@lru_cache(1 << 16)
def _bytes(token: int) -> bytes:
    """Returns the bytes of a token; a special token has none."""
    return b"" if token >= _MARK else token.to_bytes((token.bit_length() + 7) // 8, "big")[1:]


def _recited(text: str) -> Script:
    """Continues the text where the chain stands, or from its beginning."""
    _, closes, answer = text.partition(_CLOSE)

    def script(seen: str, seed: int) -> str:
        thought, closed, answered = seen.rpartition("<think>\n")[2].partition(_CLOSE)
        written, whole = (answered.removeprefix("\n\n"), answer) if closes and closed else (thought + closed + answered, text)
        return whole[len(written) :] if whole.startswith(written) else whole

    return script


def _sure(prefix: str, text: str) -> float:
    return -0.1


def _in_turn(replies: Sequence[str]) -> Script:
    left = list(replies)
    return lambda seen, seed: left.pop(0) if len(left) > 1 else left[0]
