"""A pair that writes a long chain as fast as the library asks: drafts of equal size, of which every second one is rejected."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from speculative.engines.base import CallStats, Completion, Decoding, Delta, Ids, Scores
from speculative.pair import Pair
from speculative.testing import ScriptedEngine

ANSWER = "The answer is \\boxed{4}."
CHUNK = 5
"""Tokens that come at once."""
WIDTH = 3
"""Bytes of a token."""
NEAR = 60
"""Tokens before its end in which a prefix of the answer has the end of the thinking."""


class LongWriter(ScriptedEngine):
    """Writes steps of `tokens` tokens, and ends the thinking after `steps` of them.

    It does not read what stands there, since that would take most of the time. Its scores are high and low in turns. `pause` is seconds
    between the tokens that come at once.
    """

    def __init__(self, name: str, steps: int, tokens: int, pause: float) -> None:
        super().__init__("", name=name, width=WIDTH)
        self.steps, self.tokens, self.pause = steps, tokens, pause
        self.written = self.scored = 0

    async def stream(self, prefix: Ids, decoding: Decoding, *, key: str, stats: CallStats) -> AsyncIterator[Delta]:
        stats.requests += 1
        self._take(prefix, "stream", stats)
        completion = self._completion(prefix, decoding, 0)
        for place in range(0, len(completion.ids), CHUNK):
            part = completion.ids[place : place + CHUNK]
            await self._pace(len(part), stats)
            await asyncio.sleep(self.pause)
            yield Delta(part)
        self._count(completion.produced - len(completion.ids), stats)
        yield Delta((), completion)

    async def score(
        self, prefixes: Sequence[Ids], continuations: Sequence[Ids], *, key: str, stats: CallStats, top: int = 0
    ) -> list[Scores]:
        stats.requests += 1
        found: list[Scores] = []
        for prefix, given in zip(prefixes, continuations, strict=True):
            self._take(prefix, "score", stats)
            stats.scored_tokens += len(given)
            self.scored += 1
            found.append(Scores([-0.05 if self.scored % 2 else -2.0] * len(given), None))
        return found

    def _take(self, prefix: Ids, verb: str, stats: CallStats) -> None:
        stats.prompt_tokens += len(prefix)

    def _completion(self, prefix: Ids, decoding: Decoding, seed: int) -> Completion:
        tokenizer = self.tokenizer
        close, end = (tokenizer.special_token_id(text) for text in ("</think>", "<|im_end|>"))
        if close in prefix[-NEAR:]:
            return Completion(tuple(tokenizer.encode(ANSWER)), "end", end)
        if self.written >= self.steps:
            return Completion((), "end", close)
        self.written += 1
        return Completion(tuple(tokenizer.encode(self._step())), "stop")

    def _step(self) -> str:
        """Returns a step of the right size, which no other step is equal to."""
        text = f"{self.name} goes on with step {self.written}, "
        return (text + "and on " * self.tokens)[: WIDTH * self.tokens - 3] + ".\n\n"


def long_pair(drafts: int, tokens: int, pause: float = 0.0) -> Pair:
    """Makes the pair: small drafts so often, big reads each draft and writes every second one again."""
    return Pair(LongWriter("big", drafts, tokens, pause), LongWriter("small", drafts, tokens, pause))
