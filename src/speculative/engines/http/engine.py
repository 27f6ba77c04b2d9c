"""Runs a model behind a server with the completions API of OpenAI."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Sequence
from contextlib import aclosing
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec
from msgspec import structs

from speculative._sync import run_in_thread
from speculative.engines.base import Ability, CallStats, Completion, Decoding, Delta, Ids, Scores, Tokenizer
from speculative.engines.http.client import Deadlines, ServerClient
from speculative.engines.http.discovery import Server, inspect
from speculative.engines.http.load import ServerLoad, add_loads, read_load
from speculative.engines.http.protocols.base import BadResponseError, ServerRequest
from speculative.engines.http.response import CompletionBuilder, ResponseReader, StreamingReader
from speculative.engines.tokenizers import loader
from speculative.errors import CONTEXT_FLAGS, ContextExceededError, EngineError, EngineRefusedError, EngineServerError, UsageError
from speculative.prompts import load_dialect
from speculative.redaction import without_login

STREAM_INTERVAL = 16
"""Tokens that a server may hold back when no listener waits: a wake-up for each token is what limits a server."""

PROBE = "Ann has 3 pens and 42 more"
"""A text that is not the same in two tokenizers. Nothing in it is cleaned up by a server that decodes it."""


class OpenAIEngine:
    """`Engine` over HTTP.

    Any number of event loops may use one; each that did closes its connections with `aclose`.

    Answers are streamed even without a listener: so a call that is cancelled has been counted, and one that stalls is
    noticed. Cancelling closes the connection, at which servers stop the work.
    """

    def __init__(self, client: ServerClient, server: Server, tokenizer: Tokenizer, dialect: str, abilities: frozenset[Ability]) -> None:
        self.client, self.server = client, server
        self.name = f"{server.model} at {client.name}"
        self.abilities: frozenset[Ability] = abilities
        self.tokenizer, self.dialect, self.context = tokenizer, dialect, server.context
        self._protocol = server.protocol(tokenizer)
        client.reuse_connection = self._protocol.reuse_connection
        if server.assumed:
            client.hint = f"its context of {server.context} is assumed: set the true one with {CONTEXT_FLAGS}, or shorten the problem"

    @classmethod
    async def connect(
        cls,
        urls: str | Sequence[str],
        *,
        model: str | None = None,
        secret: str | None = None,
        tokenizer: str | Tokenizer | None = None,
        dialect: str | None = None,
        context: int | None = None,
        deadlines: Deadlines | None = None,
        phase: Callable[[str], object] = str,
    ) -> OpenAIEngine:
        """Asks the servers for their model and has one write a token.

        Args:
            urls: The address of the server, or of several that run the same model.
            model: The model's name, if the server has several.
            secret: The server's key.
            tokenizer: A folder, a tokenizer.json or a hub name, if it is not where the server says; or the tokenizer itself.
            dialect: A name or `FILE.py:CLASS`, if it cannot be told from the tokenizer.
            context: Positions of the model, if the server does not say them.
            deadlines: Other deadlines than the usual ones.
            phase: Is called with the name of each phase of the work.

        Raises:
            EngineUnreachableError: No server answers at the address.
            UsageError: An option is wrong, or one is needed that the server does not answer by itself.
        """
        addresses = [urls] if isinstance(urls, str) else urls
        client = ServerClient(addresses, secret=secret, deadlines=deadlines)
        waiting = f"waiting for {' and '.join(map(without_login, addresses))}"
        try:
            phase(waiting)
            server = await inspect(client, model, context)
            if tokenizer is None or isinstance(tokenizer, str):
                phase(f"reading the tokenizer of {tokenizer or server.source}")
                tokenizer = loader.read(_find_tokenizer(tokenizer, server.source))
                phase(waiting)
            name = load_dialect(dialect) if dialect else loader.dialect_of(tokenizer)
            engine = cls(client, server, tokenizer, name, server.abilities)
            return await engine._probe_abilities()
        finally:
            await client.aclose()

    @classmethod
    def open(cls, urls: str | Sequence[str], *, tell: Callable[[str], None] | None = None, **options: Any) -> OpenAIEngine:
        """Connects in a thread of its own, for callers outside of an event loop.

        `tell` is called with a line while it waits. An error that it raises ends the wait.
        """

        doing = ["", 0.0]

        def phase(what: str) -> None:
            doing[:] = what, time.monotonic()

        def report(_: float) -> None:
            if tell:
                what, since = doing
                tell(f"{what} ({time.monotonic() - float(since):.0f} s)")

        return run_in_thread(cls.connect(urls, phase=phase, **options), report)

    async def _probe_abilities(self) -> OpenAIEngine:
        """Finds out by a call whether ids come back, cached tokens are told, and more."""
        try:
            reader = await self._write_token()
        except EngineRefusedError as error:
            if error.status != 404 or self.server.kind != "vllm":
                raise
            await self._probe_reward()
            return self
        if reader.cached is not None:
            reported: frozenset[Ability] = frozenset({"cached"})
            self.abilities |= reported
        if self._protocol.ranks:
            ordered: frozenset[Ability] = frozenset({"priority"})
            self.abilities |= ordered
        if self.server.kind == "vllm" and await self._speculates():
            own: frozenset[Ability] = frozenset({"speculates"})
            self.abilities |= own
        await self._check_tokenizer_matches()
        return self

    async def _write_token(self) -> ResponseReader:
        """Writes one token on the server. A server that refuses `priority` is sent none."""
        request = ServerRequest([self.tokenizer.encode("1")], [0], 1)

        async def write() -> ResponseReader:
            return await self._read(request, Decoding(1), [CompletionBuilder(Decoding(1), 1, self.tokenizer)], "", CallStats())

        try:
            return await write()
        except EngineRefusedError as error:
            if error.status != 400 or not self._protocol.ranks:
                raise
            self._protocol.ranks = False
            return await write()

    async def _probe_reward(self) -> None:
        """Finds out whether the server, which writes no completions, has a reward model.

        Raises as `reward` does.
        """
        rewards: frozenset[Ability] = frozenset({"ids", "reward"})
        self.abilities = rewards
        await self.reward([self.tokenizer.encode("1")], key="", stats=CallStats())
        await self._check_tokenizer_matches()

    async def _check_tokenizer_matches(self) -> None:
        """Raises `UsageError` where the server reads our token ids as another text."""
        ids = self.tokenizer.encode(PROBE)
        try:
            answer = await self.client.post("/detokenize", {"model": self.server.model, "tokens": ids}, "")
            said: Any = msgspec.json.decode(answer)
            text: Any = said.get("prompt", said.get("content"))  # vLLM says one, llama.cpp the other
        except (EngineError, msgspec.DecodeError, AttributeError):
            return  # it does not say
        if isinstance(text, str) and text.split() != PROBE.split():
            told = f"{self.name} reads our token ids for {PROBE!r} as {text[:60]!r}"
            raise UsageError(f"{told}; give the tokenizer of its own model (--big-tokenizer, --small-tokenizer)")

    async def _speculates(self) -> bool:
        """Returns whether vLLM drafts tokens by itself: only then does it count them."""
        try:
            return b"vllm:spec_decode_num_drafts" in await self.client.get("/metrics")
        except (EngineRefusedError, EngineServerError):
            return False  # its metrics are off

    # ---- the protocol -----------------------------------------------------------------------------------------------

    async def complete(self, prefixes: Sequence[Ids], decoding: Decoding, *, key: str, stats: CallStats) -> list[list[Completion]]:
        """Returns `decoding.n` completions for each prefix.

        Prefixes go together where that leaves each its own draws.
        """
        if decoding.temperature <= 0 and decoding.n > 1:
            once = await self.complete(prefixes, structs.replace(decoding, n=1), key=key, stats=stats)
            return [several * decoding.n for several in once]
        rooms = [self._room(prefix, decoding) for prefix in prefixes for _ in range(decoding.n)]
        builders = [CompletionBuilder(decoding, room, self.tokenizer) for room in rooms]
        if decoding.max_tokens < 1:
            return [[Completion((), "length")] * decoding.n for _ in prefixes]
        if len(builders) == 1:
            stats.written = builders[0].ids
        requests = self._requests(prefixes, rooms, decoding)
        calls = [self._read(one, decoding, [builders[slot] for slot in one.slots], key, stats) for one in requests]
        await gather_or_raise(calls)
        found = [builder.completion() for builder in builders]
        return [found[i * decoding.n : (i + 1) * decoding.n] for i in range(len(prefixes))]

    def stream(self, prefix: Ids, decoding: Decoding, *, key: str, stats: CallStats) -> AsyncIterator[Delta]:
        """Yields one completion as it is written, with the ids that `complete` gives.

        One read makes one delta.
        """
        if decoding.n != 1:
            raise EngineError(f"{self.name}: a stream gives one completion, not n={decoding.n}; call `complete`")
        room = self._room(prefix, decoding)
        if decoding.max_tokens < 1:
            return _nothing()
        (request,) = self._requests([prefix], [room], decoding)
        self._count(request, stats)
        reader = StreamingReader(self.name, self._protocol, CompletionBuilder(decoding, room, self.tokenizer), stats, len(prefix))
        return self.client.stream(self._protocol.path, self._protocol.body(request, decoding, 1), key, reader)

    async def score(
        self, prefixes: Sequence[Ids], continuations: Sequence[Ids], *, key: str, stats: CallStats, top: int = 0
    ) -> list[Scores]:
        """Returns the log-probability (nats) of every token of each continuation."""
        if "score" not in self.abilities:
            raise EngineError(f"{self.name}: {self.server.kind} cannot score given text; vLLM and SGLang can")
        if len(prefixes) != len(continuations):
            raise EngineError(f"{self.name}: {len(prefixes)} prefixes and {len(continuations)} continuations; give one for each")
        found: list[Scores] = [Scores(top=() if top else None) for _ in prefixes]

        async def score_one(place: int, prefix: Ids, continuation: Ids) -> None:
            self._check_length(prefix, len(continuation))
            if not len(continuation):
                return
            stats.scored_tokens += len(continuation)
            asked = 0

            async def ask(path: str, body: dict[str, Any]) -> bytes:
                nonlocal asked
                asked += 1
                stats.requests += 1
                stats.prompt_tokens += len(prefix)
                try:
                    return await self.client.post(path, body, key)
                except EngineRefusedError:  # no work was done
                    asked -= 1
                    stats.requests -= 1
                    stats.prompt_tokens -= len(prefix)
                    raise

            try:
                result = await self._protocol.score(ask, prefix, continuation, top)
            except (msgspec.DecodeError, BadResponseError) as error:
                raise EngineServerError(f"{self.name}: scoring failed ({error}); look into the server's log") from None
            found[place] = result.scores
            stats.cached_tokens += min(max(0, result.cached), asked * len(prefix))
            stats.produced_tokens += result.produced

        pairs = zip(prefixes, continuations, strict=True)
        await gather_or_raise([score_one(place, prefix, continuation) for place, (prefix, continuation) in enumerate(pairs)])
        return found

    @property
    def scores_flat(self) -> bool:
        """True if a score keeps a cached prefix in the cache, as far as is known."""
        return self._protocol.flat is not False

    @property
    def reads_whole_texts(self) -> bool:
        """True if each reward was seen to read the whole text anew (pooling by steps)."""
        return self._protocol.pools_steps

    async def load(self) -> ServerLoad | None:
        """Returns the load that the servers tell, or None if they tell none."""
        pages = [read_load(page.decode("utf-8", "replace")) for page in await self.client.get_all("/metrics")]
        return add_loads(load for load in pages if load)

    async def reward(self, texts: Sequence[Ids], *, key: str, stats: CallStats) -> list[float]:
        """Returns the reward of each text at its last token.

        All tokens that were read are prompt tokens, none is a scored one.
        """
        if "reward" not in self.abilities:
            raise EngineError(f"{self.name}: the model gives no rewards; serve a reward model with vLLM")
        for text in texts:
            self._check_length(text, 0)
        if not texts:
            return []
        stats.requests += 1
        stats.prompt_tokens += sum(map(len, texts))

        async def ask(path: str, body: dict[str, Any]) -> bytes:
            return await self.client.post(path, body, key)

        try:
            return await self._protocol.reward(ask, texts)
        except (msgspec.DecodeError, BadResponseError) as error:
            raise EngineServerError(f"{self.name}: no reward came ({error}); look into the server's log") from None

    async def aclose(self) -> None:
        """Closes the connections that were opened in this event loop."""
        await self.client.aclose()

    # ---- under them -------------------------------------------------------------------------------------------------

    def _room(self, prefix: Ids, decoding: Decoding) -> int:
        """Returns the number of tokens that may be written within the context."""
        self._check_length(prefix, 1 if decoding.max_tokens else 0)
        return min(decoding.max_tokens, self.context - len(prefix))

    def _check_length(self, prefix: Ids, room: int) -> None:
        if room and "continue" not in self.abilities:
            raise EngineError(f"{self.name}: cannot write or score text, it is a reward model; use it as the judge")
        if len(prefix) + room > self.context:
            raise ContextExceededError(self.name, len(prefix) + room, self.context, hint=self.client.hint)
        if not len(prefix):
            raise EngineError(f"{self.name}: an empty prefix cannot be continued; begin with the prompt")

    def _requests(self, prefixes: Sequence[Ids], rooms: Sequence[int], decoding: Decoding) -> list[ServerRequest]:
        """Returns the requests that a batch becomes.

        Servers draw with one seed for a whole call, so prefixes that shared one would get the same random numbers, and
        equal ones the same text: only greedy completions go together, where there is nothing to draw.
        """
        n, protocol = decoding.n, self._protocol
        if decoding.temperature <= 0 and protocol.supports_batch:
            grouped: dict[int, list[int]] = {}
            for slot, room in enumerate(rooms):
                grouped.setdefault(room, []).append(slot)
            return [ServerRequest([prefixes[slot] for slot in slots], slots, room) for room, slots in grouped.items()]
        if protocol.supports_n:
            spans = [range(i * n, i * n + n) for i in range(len(prefixes))]
            return [
                ServerRequest([prefix], spans[i], rooms[i * n], n, derive_seed(decoding.seed, i)) for i, prefix in enumerate(prefixes) if n
            ]
        return [
            ServerRequest([prefixes[slot // n]], [slot], room, 1, derive_seed(decoding.seed, slot // n, slot % n))
            for slot, room in enumerate(rooms)
        ]

    async def _read(
        self, request: ServerRequest, decoding: Decoding, builders: list[CompletionBuilder], key: str, stats: CallStats
    ) -> ResponseReader:
        """Reads one call's answer to its end."""
        reader = ResponseReader(self.name, self._protocol, builders, stats, self._count(request, stats))
        async with aclosing(
            self.client.stream(self._protocol.path, self._protocol.body(request, decoding, STREAM_INTERVAL), key, reader)
        ) as nothing:
            async for _ in nothing:
                pass
        return reader

    def _count(self, request: ServerRequest, stats: CallStats) -> int:
        """Counts a call, and returns the number of tokens of its prompt."""
        prompt = sum(len(prefix) for prefix in request.prefixes)
        stats.requests += 1
        stats.prompt_tokens += prompt
        return prompt


def _find_tokenizer(given: str | None, source: str) -> Path:
    """Finds the given tokenizer, or that of the server's model."""
    try:
        return loader.find(given or source)
    except UsageError as error:
        if given:
            raise
        raise UsageError(f"{error}; for a server that only replies to conversations, set --big-dialect chat (or --small-dialect)") from None


async def _nothing() -> AsyncGenerator[Delta]:
    """Yields the end of a stream of no tokens."""
    yield Delta((), Completion((), "length"))


def derive_seed(*numbers: int) -> int:
    """Returns a seed of 48 bits for several numbers, far from their neighbours' seeds."""
    return int.from_bytes(blake2b("/".join(map(str, numbers)).encode(), digest_size=6).digest(), "big")


async def gather_or_raise(work: Sequence[Coroutine[Any, Any, Any]]) -> None:
    """Runs coroutines together.

    The first error cancels the others and is raised as it is.
    """
    if len(work) == 1:
        await work[0]
        return
    try:
        async with asyncio.TaskGroup() as group:
            for one in work:
                group.create_task(one)
    except* EngineError as group_error:
        raised: BaseException = group_error
        while isinstance(raised, BaseExceptionGroup):
            raised = raised.exceptions[0]  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
        failure = raised
    else:
        return
    raise failure
