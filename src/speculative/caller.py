"""How a chain calls an engine: the cost of every call is taken down, also of one that is cancelled or fails."""

from __future__ import annotations

import time
from codecs import getincrementaldecoder
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from msgspec import structs

from speculative.engines.base import Completion, Decoding, Engine, Ids, Tally, UnfinishedCharacter, Vocabulary
from speculative.events import AnyEvent, Call, Cancelled

T = TypeVar("T")
OnText = Callable[[str], None]

LONGEST_CHARACTER = 4
"""Bytes of the longest UTF-8 character: no more tokens than that are needed to finish one."""


class Caller:
    """Calls engines for one chain. `record` takes what a call that gave nothing has cost."""

    def __init__(self, key: str, record: Callable[[AnyEvent], None]) -> None:
        self.key = key
        self._record = record

    async def complete(self, role: str, engine: Engine, prefixes: Sequence[Ids], decoding: Decoding, verb: str) -> tuple[list[list[Completion]], Call]:
        """`decoding.n` completions for each prefix: one call, and one more for each that ends before its first character does."""

        async def work(tally: Tally) -> list[list[Completion]]:
            found = await engine.complete(prefixes, decoding, key=self.key, tally=tally)
            for place, several in enumerate(found):
                if any(self._nothing_whole(engine.vocabulary, completion) for completion in several):
                    longer = structs.replace(decoding, max_tokens=decoding.max_tokens + LONGEST_CHARACTER)
                    found[place] = (await engine.complete([prefixes[place]], longer, key=self.key, tally=tally))[0]
            return found

        return await self.paid(role, verb, work)

    async def stream(self, role: str, engine: Engine, prefix: Ids, decoding: Decoding, verb: str, on_text: OnText) -> tuple[list[list[Completion]], Call]:
        """One completion; `on_text` gets every whole character as soon as it is there."""

        async def work(tally: Tally) -> list[list[Completion]]:
            decoder, completion = getincrementaldecoder("utf-8")("replace"), None
            async for delta in engine.stream(prefix, decoding, key=self.key, tally=tally):
                if delta.ids and (text := decoder.decode(engine.vocabulary.to_bytes(delta.ids))):
                    on_text(text)
                completion = delta.completion or completion
            assert completion is not None, f"{engine.name}: a stream ended without its completion"
            if not self._nothing_whole(engine.vocabulary, completion):
                return [[completion]]
            longer = structs.replace(decoding, max_tokens=decoding.max_tokens + LONGEST_CHARACTER)
            found = await engine.complete([prefix], longer, key=self.key, tally=tally)
            on_text(kept_text(engine.vocabulary, found[0][0])[0])
            return found

        return await self.paid(role, verb, work)

    async def paid(self, role: str, verb: str, work: Callable[[Tally], Awaitable[T]]) -> tuple[T, Call]:
        """Runs the work and says what it cost."""
        tally, start = Tally(), time.perf_counter()
        try:
            value = await work(tally)
        except BaseException:
            self._record(Cancelled(call=self._call(role, tally, start), verb=verb))
            raise
        return value, self._call(role, tally, start)

    @staticmethod
    def free(role: str) -> Call:
        """The cost of not calling."""
        return Call(role, 0, 0, 0, 0, 0, 0.0)

    @staticmethod
    def _call(role: str, tally: Tally, start: float) -> Call:
        seconds = time.perf_counter() - start
        return Call(
            role, tally.requests, tally.prompt_tokens, tally.cached_tokens, tally.produced_tokens, tally.scored_tokens, round(seconds, 6)
        )

    @staticmethod
    def _nothing_whole(vocabulary: Vocabulary, completion: Completion) -> bool:
        """Cut by its length before its first character was whole: a chunk of one token would never get anywhere."""
        return completion.finish == "length" and bool(completion.ids) and kept_text(vocabulary, completion)[1] == len(completion.ids)


def kept_text(vocabulary: Vocabulary, completion: Completion) -> tuple[str, int]:
    """The text of a completion, and how many trailing tokens are dropped because they begin a character and do not end it."""
    size = len(completion.ids)
    data = vocabulary.to_bytes(completion.ids)
    while size and UnfinishedCharacter.trailing(data):
        size -= 1
        data = vocabulary.to_bytes(completion.ids[:size])
    return data.decode("utf-8", "replace"), len(completion.ids) - size
