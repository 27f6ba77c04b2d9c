"""Measures a live server through its engine, into the curves of a profile.

All prompts are random tokens, so nothing but our own prefixes is found in a cache. Times are those of the client, as a chain pays them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from statistics import median
from typing import Any, TypeVar

from msgspec import Struct, structs

from speculative.engines.base import CallStats, Decoding, Engine, Ids
from speculative.errors import EngineError, UsageError
from speculative.plan.profile import Curve, ServerProfile, Sharing

T = TypeVar("T")

WORDS = "the of and to in is that it was for on are with as at be this have from or had by but not what all were when we there can an"
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
READS = (24, 128, 512, 2048, 8192)
TOKENS = 48
"""Tokens that each stream writes while decoding is measured."""
PROMPT = 128
"""Tokens of a stream's prompt."""
STEP, QUESTION = 50, 24
"""Tokens of a step and of a question about it."""
BUFFERED = 0.05
"""A stream whose parts all arrive within this share of its time was held back on its way."""
REPEATS = 3
BURST = 16
"""Calls at once by which the front end is measured."""
EARLIER = 0.15
"""The share of the time that each part may use before it stops at the sizes that it has."""


class Measured(Struct, frozen=True):
    """A server's profile, and milliseconds of single calls for people to read."""

    profile: ServerProfile
    checks: dict[str, float]


class ServerMeter:
    """Measures one server.

    Args:
        engine: the engine of the server.
        seconds: the time that it may take, about.
        largest: sequences at once at most.
        tell: gets a line before each part.
    """

    def __init__(self, engine: Engine, *, seconds: float, largest: int, tell: Callable[[str], None] = lambda _: None) -> None:
        if "continue" not in engine.abilities:
            raise UsageError(
                f"{engine.name}: it cannot continue text, so its costs cannot be measured; name a server that completes prompts"
            )
        self.engine = engine
        self._largest, self._tell = largest, tell
        self._part_s = EARLIER * seconds
        self._random = Random(time.time_ns())
        self._pool = sorted(
            set(engine.tokenizer.encode(" ".join(f"{word} {word.title()} {place}" for place, word in enumerate(WORDS.split()))))
        )
        self._room = engine.context - TOKENS - STEP - QUESTION - 1
        if self._room < 2 * READS[0]:
            raise UsageError(f"{engine.name}: its context must be at least {2 * READS[0] + TOKENS + STEP} tokens, got {engine.context}")

    def ids(self, count: int) -> list[int]:
        """Returns random tokens that the model has."""
        return self._random.choices(self._pool, k=count)

    async def measure(self) -> Measured:
        """Measures decoding, reading, calls and scores.

        Raises:
            EngineError: the server failed.
        """
        await self.decode(1, tokens=8)
        self._tell(f"{self.engine.name}: writing")
        decode = await self._until_slow(self._batches(), self.decode)
        one = decode[0][1]
        self._tell(f"{self.engine.name}: reading")
        prefix = self.ids(min(1024, self._room // 4))
        short = await self._cached(prefix, 1)
        reads = [size for size in READS if size + len(prefix) <= self._room]
        extra = await self._until_slow(reads, lambda size: self._cached(prefix, size))
        read = rising([(1, one), *((size, one + max(0.0, ms - short)) for size, ms in extra)])
        long = self.ids(min(8192, self._room - 1))
        longer = await self._cached(long, 1)
        per_thousand = max(0.0, longer - short) / max(1, len(long) - len(prefix)) * 1000
        checks = {"cached call": longer, "cached prefix": float(len(long))}
        call = max(0.0, short - one - per_thousand * len(prefix) / 1000)
        front = min(
            call, max(0.0, (await self._burst(prefix) - short) / (BURST - 1) - (read[1][1] - one) / (READS[0] if len(read) > 1 else 1))
        )
        checks |= await self._checks(long)
        context = await self._context_cost(long, one)
        profile = ServerProfile(
            rising(decode),
            read,
            decode_context=PROMPT + TOKENS // 2,
            context_ms=context,
            call_ms=call,
            call_cpu_ms=front,
            prefix_cpu_ms=per_thousand,
            max_sequences=max(256, decode[-1][0]),
        )
        return Measured(await self._with_cache(profile), checks)

    async def decode(self, batch: int, *, tokens: int = TOKENS) -> float:
        """Returns milliseconds of a step that writes a token for `batch` sequences."""
        size = min(PROMPT, self._room // 2)
        times = await asyncio.gather(*(self._stream(self.ids(size), tokens) for _ in range(batch)))
        begin = max(one[0][0] for one in times)
        paces: list[float] = []
        for one in times:
            late = [(at, count) for at, count in one if at >= begin]
            if len(late) > 1:
                paces.append((late[-1][0] - late[0][0]) / (late[-1][1] - late[0][1]))
        if paces:
            return 1000 * median(paces)
        wall = max(one[-1][0] for one in times) - min(one[0][0] for one in times)
        return 1000 * max(wall, 1e-6) / max(1, tokens - 1)

    async def _stream(self, prompt: Ids, tokens: int) -> list[tuple[float, int]]:
        """Writes one completion. Returns the times of its parts with the tokens so far."""
        decoding, count, found = Decoding(tokens, 0.6, 0.95, seed=self._random.getrandbits(40)), 0, list[tuple[float, int]]()
        asked = time.perf_counter()
        if "stream" not in self.engine.abilities:
            await self.engine.complete([prompt], decoding, key=self._key(), stats=CallStats())
            return [(asked, 0), (time.perf_counter(), tokens)]
        async for delta in self.engine.stream(prompt, decoding, key=self._key(), stats=CallStats()):
            if delta.ids:
                count += len(delta.ids)
                found.append((time.perf_counter(), count))
        if not found:
            raise EngineError(f"{self.engine.name}: a call for {tokens} tokens wrote none; its costs cannot be measured")
        return unbuffered(found, asked)

    async def _cached(self, prefix: Ids, new: int) -> float:
        """Returns milliseconds of a call for one token, behind a cached prefix."""
        await self._one_token(prefix)
        return await self._median(lambda: self._one_token([*prefix, *self.ids(new)]))

    async def _burst(self, prefix: Ids) -> float:
        """Returns milliseconds of calls for one token that are made at once."""
        prompts = [[*prefix, *self.ids(1)] for _ in range(BURST)]

        async def make_all() -> None:
            await asyncio.gather(*(self._one_token(prompt) for prompt in prompts))

        return await self._median(make_all)

    async def _checks(self, prefix: Ids) -> dict[str, float]:
        """Measures a step's writing, judgement and scores behind a cached prefix."""
        await self._one_token(prefix)
        choices = tuple(self._pool[:10]) if "choices" in self.engine.abilities else ()
        found = {
            "write a step": await self._median(lambda: self._complete([*prefix, *self.ids(1)], Decoding(STEP)), 1),
            "judge a step": await self._median(
                lambda: self._complete([*prefix, *self.ids(STEP + QUESTION)], Decoding(1, logprobs=bool(choices), choices=choices))
            ),
        }
        if "score" in self.engine.abilities:
            found["score a step"] = await self._median(
                lambda: self.engine.score([prefix], [self.ids(STEP)], key=self._key(), stats=CallStats())
            )
        return found

    async def _context_cost(self, prefix: Ids, one: float) -> float:
        """Returns the milliseconds that each further token of context adds to a step."""
        if len(prefix) < 1024:
            return 0.0
        times = await self._stream([*prefix, *self.ids(1)], TOKENS)
        pace = 1000 * (times[-1][0] - times[0][0]) / max(1, times[-1][1] - times[0][1])
        return max(0.0, pace - one) / len(prefix)

    async def _with_cache(self, profile: ServerProfile) -> ServerProfile:
        """Adds the size of the cache, if the server tells it."""
        read: Any = getattr(self.engine, "load", None)
        load: Any = await read() if read else None
        if load is None or not load.cache_tokens:
            return profile
        return structs.replace(profile, cache_tokens=load.cache_tokens, block=load.block)

    async def _one_token(self, prompt: Ids) -> None:
        await self._complete(prompt, Decoding(1))

    async def _complete(self, prompt: Ids, decoding: Decoding) -> None:
        await self.engine.complete([prompt], decoding, key=self._key(), stats=CallStats())

    async def _median(self, work: Callable[[], Awaitable[Any]], repeats: int = REPEATS) -> float:
        times: list[float] = []
        for _ in range(repeats):
            began = time.perf_counter()
            await work()
            times.append(time.perf_counter() - began)
        return 1000 * median(times)

    async def _until_slow(self, sizes: Sequence[int], work: Callable[[int], Awaitable[float]]) -> list[tuple[int, float]]:
        """Measures rising sizes, at least one, until the next would take too long."""
        found: list[tuple[int, float]] = []
        began = time.perf_counter()
        for size in sizes:
            before = time.perf_counter()
            found.append((size, await work(size)))
            now = time.perf_counter()
            if now - began + 2 * (now - before) > self._part_s:
                break
        return found

    def _batches(self) -> list[int]:
        return [batch for batch in BATCHES if batch <= self._largest]

    def _key(self) -> str:
        return f"profile-{self._random.getrandbits(32)}"


async def measure_together(big: Engine, small: Engine) -> tuple[Sharing, Sharing]:
    """Returns milliseconds a token of one stream on each server: alone, and at once.

    The second pair holds factors, each at least 1.
    """
    meters = {role: ServerMeter(engine, seconds=30, largest=1) for role, engine in (("big", big), ("small", small))}
    alone = {role: await meter.decode(1) for role, meter in meters.items()}
    done = asyncio.Event()

    async def keep_busy() -> None:
        while not done.is_set():
            await meters["small"].decode(1)

    async def beside() -> float:
        other = asyncio.ensure_future(keep_busy())
        try:
            return await meters["big"].decode(1)
        finally:
            done.set()
            await other

    big_beside = await beside()
    done.clear()

    async def keep_big_busy() -> None:
        while not done.is_set():
            await meters["big"].decode(1)

    other = asyncio.ensure_future(keep_big_busy())
    try:
        small_beside = median([await meters["small"].decode(1) for _ in range(REPEATS)])
    finally:
        done.set()
        await other
    factors = Sharing(max(1.0, big_beside / alone["big"]), max(1.0, small_beside / alone["small"]))
    return Sharing(big_beside, small_beside), factors


def unbuffered(found: list[tuple[float, int]], asked: float) -> list[tuple[float, int]]:
    """Returns the times of a stream, from its call on if all of it came at once.

    Then the times of its parts say how it was sent, not how it was written.
    """
    (first, _), (last, count) = found[0], found[-1]
    return found if last - first > BUFFERED * (last - asked) else [(asked, 0), (last, count)]


def rising(points: Sequence[tuple[int, float]]) -> Curve:
    """Returns points whose costs never fall: a step of more work cannot cost less."""
    found: list[tuple[int, float]] = []
    for size, cost in points:
        found.append((size, round(max(cost, 1e-3, found[-1][1] if found else 0.0), 4)))
    return tuple(found)
