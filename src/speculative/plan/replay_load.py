"""Replays recorded chains as a load on any server with the OpenAI API.

The calls have the tokens of the recorded ones. A call begins once the calls have ended that had ended before it in the recording. The texts
are made up, since a trace may come from another model: a call's prompt is the beginning of one endless text of its chain, so prompts of a
chain share their prefix as the recorded ones did.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from random import Random
from statistics import median, quantiles
from typing import Any

import aiohttp
import msgspec
from msgspec import Struct

from speculative.errors import EngineRefusedError, EngineServerError, EngineUnreachableError
from speculative.plan.calls import PlannedCall
from speculative.plan.recorded import RecordedChain

TEXT = "the of and to in is that it was for on are with as at be this have from or had by but not what all were when we there can an"
WORDS = tuple(TEXT.split())
"""Short words: each is about one token."""
TIMEOUT_S = 600.0


class LoadResult(Struct, frozen=True):
    """The result of a load.

    Attributes:
        chains: chains that were replayed.
        calls: calls that were answered.
        wall_s: seconds to the end of the last chain.
        latency_s: seconds of a chain, the median.
        slow_s: seconds that 95 of 100 chains stay below.
        first_token_s: seconds to the first token of a call, the median.
        tokens: tokens that the server wrote, as far as it tells.
        tokens_s: those over `wall_s`.
        errors: calls that failed, by the kind of failure.
    """

    chains: int
    calls: int
    wall_s: float
    latency_s: float
    slow_s: float
    first_token_s: float
    tokens: int
    tokens_s: float
    errors: dict[str, int]


class _Usage(Struct):
    completion_tokens: int | None = None


class _Chunk(Struct):
    choices: list[Any] = []
    usage: _Usage | None = None
    error: Any = None


class LoadTest:
    """Sends the calls of chains to one server per role.

    Args:
        urls: the address of the server of each role, with `/v1`.
        models: the name of the model of each role.
        keys: the keys of the servers, by role.
        ignore_eos: ask for texts of full length (vLLM and SGLang take it).
    """

    def __init__(self, urls: dict[str, str], models: dict[str, str], keys: dict[str, str], *, ignore_eos: bool = True) -> None:
        self._urls, self._models, self._keys, self._ignore_eos = urls, models, keys, ignore_eos
        self._errors: dict[str, int] = {}
        self._first: list[float] = []
        self._tokens = self._calls = 0

    async def run(self, chains: Sequence[RecordedChain], count: int) -> LoadResult:
        """Replays `count` chains at once.

        They are chosen at random, and repeated if fewer are recorded.
        """
        random = Random(0)
        chosen = [*random.sample(chains, min(count, len(chains))), *random.choices(chains, k=max(0, count - len(chains)))]
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        connector = aiohttp.TCPConnector(limit=0, force_close=True)  # llama.cpp closes a connection after an answer, and does not say so
        async with aiohttp.ClientSession(connector=connector, timeout=timeout, read_bufsize=1 << 20) as session:
            began = time.perf_counter()
            seconds = await asyncio.gather(*(self._chain(session, chain, number) for number, chain in enumerate(chosen)))
            wall = time.perf_counter() - began
        slow = quantiles(seconds, n=20, method="inclusive")[-1] if len(seconds) > 1 else seconds[0]
        first = median(self._first) if self._first else 0.0
        return LoadResult(count, self._calls, wall, median(seconds), slow, first, self._tokens, self._tokens / wall, dict(self._errors))

    async def _chain(self, session: aiohttp.ClientSession, chain: RecordedChain, number: int) -> float:
        """Replays one chain, with the waits of its program."""
        began = time.perf_counter()
        text = _EndlessText(number)
        under_way: dict[int, asyncio.Task[None]] = {}
        try:
            for operation, call in chain.program():
                if operation == "start":
                    under_way[id(call)] = asyncio.create_task(self._call(session, call, text))
                else:
                    await under_way[id(call)]
        finally:
            for task in under_way.values():
                task.cancel()
            await asyncio.gather(*under_way.values(), return_exceptions=True)
        return time.perf_counter() - began

    async def _call(self, session: aiohttp.ClientSession, call: PlannedCall, text: _EndlessText) -> None:
        role = call.role if call.role in self._urls else next(iter(self._urls))
        body: dict[str, Any] = {"model": self._models[role], "prompt": text.begin(call.prompt), "max_tokens": call.tokens}
        body |= {"temperature": 0.6, "stream": True, "stream_options": {"include_usage": True}}
        body |= {"ignore_eos": True} if self._ignore_eos else {}
        headers = {"Authorization": f"Bearer {self._keys[role]}"} if role in self._keys else {}
        began, parts = time.perf_counter(), 0
        stated: int | None = None
        try:
            async with session.post(f"{self._urls[role]}/completions", json=body, headers=headers) as response:
                if response.status != 200:
                    self._fail(f"HTTP {response.status}")
                    return
                async for line in response.content:
                    if not line.startswith(b"data: ") or line.strip() == b"data: [DONE]":
                        continue
                    payload = msgspec.json.decode(line[6:], type=_Chunk)
                    if payload.error is not None:
                        self._fail("error in a stream")
                        return
                    if payload.choices and not parts:
                        self._first.append(time.perf_counter() - began)
                    parts += bool(payload.choices)
                    stated = payload.usage.completion_tokens if payload.usage else stated
        except (aiohttp.ClientError, OSError, TimeoutError, msgspec.DecodeError) as error:
            self._fail(type(error).__name__)
            return
        if not parts and stated is None:
            self._fail("no event of a stream")
            return
        self._calls += 1
        self._tokens += parts if stated is None else stated

    def _fail(self, kind: str) -> None:
        self._errors[kind] = self._errors.get(kind, 0) + 1


class _EndlessText:
    """The made-up text of one chain: the same beginning for every call."""

    def __init__(self, number: int) -> None:
        self._random, self._words = Random(number), list[str]()

    def begin(self, tokens: int) -> str:
        while len(self._words) < tokens:
            self._words.append(self._random.choice(WORDS))
        return " ".join(self._words[:tokens])


async def find_model(url: str, key: str | None = None) -> str:
    """Returns the name of a server's first model. Raises `EngineError`."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session,
            session.get(f"{url}/models", headers=headers) as answer,
        ):
            if answer.status != 200:
                raise EngineRefusedError(f"{url}/models: {answer.status}; give the address with /v1, and the key")
            cards = msgspec.json.decode(await answer.read())["data"]
            return str(cards[0]["id"])
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise EngineUnreachableError(f"{url}: no answer ({type(error).__name__}); start a server there or give another address") from None
    except (msgspec.DecodeError, LookupError, TypeError):
        raise EngineServerError(f"{url}/models: not a list of models; see whether a model server listens there") from None
