"""Runs a model behind a chat endpoint, which replies to whole conversations only."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from itertools import pairwise
from typing import Any

import msgspec
from msgspec import Struct

from speculative.engines.base import Ability, CallStats, Completion, Decoding, Delta, Ids, Scores
from speculative.engines.http.client import Deadlines, ServerClient
from speculative.engines.http.discovery import Server, inspect
from speculative.engines.http.engine import OpenAIEngine, derive_seed, gather_or_raise
from speculative.engines.http.protocols.base import BadResponseError, NewTokens
from speculative.engines.http.response import CompletionBuilder
from speculative.errors import (
    ContextExceededError,
    EngineError,
    EngineRefusedError,
    EngineServerError,
    UnknownSpecialTokenError,
    UsageError,
)
from speculative.prompts.chat import Chat

DIALECT, TURN = Chat.name, Chat.begin
SPECIAL_TOKENS = (TURN, *Chat.stop_tokens)
PIECE, LONGEST_PIECE = 4, 6
"""Bytes of text that stand for one token where a text is given, and at most."""


class ChatTokenizer:
    """Cuts text into pieces of bytes, for models whose tokens are not known.

    An id is the number that its bytes are.
    """

    fingerprint = "chat"

    def __init__(self) -> None:
        self.special_tokens = {text: place for place, text in enumerate(SPECIAL_TOKENS)}

    def encode(self, text: str) -> list[int]:
        """Returns the ids of a text, one for each `PIECE` bytes."""
        try:
            data = text.encode()
        except UnicodeEncodeError:
            raise UsageError("the text has half a character; give valid Unicode") from None
        return [_id(data[place : place + PIECE]) for place in range(0, len(data), PIECE)]

    def split(self, text: str, count: int) -> list[int]:
        """Returns the ids of a text that a model wrote in `count` tokens.

        There are as many, where the size of the pieces allows it.
        """
        data = text.encode("utf-8", "replace")
        count = min(max(count, -(-len(data) // LONGEST_PIECE)), len(data))
        ends = [len(data) * place // count for place in range(count + 1)] if count else [0]
        return [_id(data[start:end]) for start, end in pairwise(ends)]

    def special_token_id(self, text: str) -> int:
        """Returns the id of a special token. Raises `UnknownSpecialTokenError`."""
        if text not in self.special_tokens:
            raise UnknownSpecialTokenError(f"a chat endpoint has no special token {text!r}; its dialect is {DIALECT}")
        return self.special_tokens[text]

    def knows(self, ids: Ids) -> bool:
        """Returns True if every id is one of these."""
        return all(0 <= number < len(SPECIAL_TOKENS) or 1 << 8 <= number < 2 << 8 * LONGEST_PIECE for number in ids)

    def to_bytes(self, ids: Ids) -> bytes:
        """Returns the bytes of the ids. Special tokens give none."""
        return b"".join(number.to_bytes(LONGEST_PIECE + 1, "big").lstrip(b"\0")[1:] for number in ids if number >= 1 << 8)


def _id(piece: bytes) -> int:
    return int.from_bytes(b"\1" + piece, "big")


class _Message(Struct):
    content: str | None = None


class _Choice(Struct):
    message: _Message
    finish_reason: str | None = None


class _Details(Struct):
    cached_tokens: int | None = None


class _Usage(Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: _Details | None = None


class _Answer(Struct):
    choices: list[_Choice] = []
    usage: _Usage | None = None


class ChatEngine(OpenAIEngine):
    """Fills a role, over `/chat/completions`, for methods that only ask it.

    It cannot continue a text. A prefix must end where the assistant's turn begins. Tokens are counted by the server; ids stand for
    pieces of the text.
    """

    def __init__(self, client: ServerClient, server: Server) -> None:
        nothing: frozenset[Ability] = frozenset()
        self.pieces = ChatTokenizer()
        super().__init__(client, server, self.pieces, DIALECT, nothing)
        self._limit = "max_tokens"

    @classmethod
    async def connect(
        cls,
        urls: str | Sequence[str],
        *,
        model: str | None = None,
        secret: str | None = None,
        context: int | None = None,
        deadlines: Deadlines | None = None,
        phase: Callable[[str], object] = str,
        **unused: Any,
    ) -> ChatEngine:
        """Asks the servers for their model.

        Arguments and errors are those of `OpenAIEngine.connect`.
        """
        addresses = [urls] if isinstance(urls, str) else urls
        client = ServerClient(addresses, secret=secret, deadlines=deadlines)
        try:
            phase(f"waiting for {client.name}")
            return cls(client, await inspect(client, model, context))
        finally:
            await client.aclose()

    async def complete(self, prefixes: Sequence[Ids], decoding: Decoding, *, key: str, stats: CallStats) -> list[list[Completion]]:
        """Returns `decoding.n` replies to each conversation."""
        if decoding.logprobs or decoding.top_logprobs or decoding.choices:
            raise EngineError(f"{self.name}: cannot give log-probabilities, it is a chat endpoint; use vLLM, SGLang or llama.cpp")
        found: list[list[Completion]] = [[Completion((), "length")] * decoding.n for _ in prefixes]
        if decoding.max_tokens < 1:
            return found

        async def reply(i: int, j: int) -> None:
            found[i][j] = await self._reply(prefixes[i], decoding, derive_seed(decoding.seed, i, j), key, stats)

        await gather_or_raise([reply(i, j) for i in range(len(prefixes)) for j in range(decoding.n)])
        return found

    async def stream(self, prefix: Ids, decoding: Decoding, *, key: str, stats: CallStats) -> AsyncIterator[Delta]:
        """Yields one reply when it is complete."""
        ((completion,),) = await self.complete([prefix], decoding, key=key, stats=stats)
        yield Delta(completion.ids)
        yield Delta((), completion)

    async def score(
        self, prefixes: Sequence[Ids], continuations: Sequence[Ids], *, key: str, stats: CallStats, top: int = 0
    ) -> list[Scores]:
        """Raises `EngineError`."""
        raise EngineError(f"{self.name}: cannot score given text, it is a chat endpoint; vLLM and SGLang can")

    async def _reply(self, prefix: Ids, decoding: Decoding, seed: int, key: str, stats: CallStats) -> Completion:
        if len(prefix) >= self.context:
            raise ContextExceededError(self.name, len(prefix) + 1, self.context, hint=self.client.hint)
        room = min(decoding.max_tokens, self.context - len(prefix))
        body: dict[str, Any] = {"model": self.server.model, "messages": self.messages(prefix)}
        body |= {"temperature": decoding.temperature, "top_p": decoding.top_p, "seed": seed & 0x7FFFFFFF}
        stats.requests += 1
        answer = await self._post(body, room, key)
        try:
            decoded = msgspec.json.decode(answer, type=_Answer)
            (choice,) = decoded.choices
        except (msgspec.DecodeError, ValueError) as error:
            raise EngineServerError(f"{self.name}: its reply must be a chat completion ({error}); it sent {answer[:80]!r}") from None
        usage = decoded.usage or _Usage(prompt_tokens=len(prefix))
        ended = choice.finish_reason != "length"
        ids = self.pieces.split(choice.message.content or "", max(1, usage.completion_tokens - ended))[:room]
        stats.prompt_tokens += usage.prompt_tokens
        stats.cached_tokens += (usage.prompt_tokens_details and usage.prompt_tokens_details.cached_tokens) or 0
        stats.produced_tokens += max(usage.completion_tokens, len(ids) + ended)
        builder = CompletionBuilder(decoding, room, self.pieces)
        try:
            builder.add(NewTokens(0, ids, reason="stop" if ended else "length"))
        except BadResponseError as error:
            raise error.typed(self.name, answer) from None
        return builder.completion()

    async def _post(self, body: dict[str, Any], room: int, key: str) -> bytes:
        """Posts a request. Some models take the limit under another name."""
        path = "chat/completions"
        try:
            return await self.client.post(path, {**body, self._limit: room}, key)
        except EngineRefusedError as error:
            if self._limit != "max_tokens" or "max_completion_tokens" not in str(error):
                raise
        self._limit = "max_completion_tokens"
        return await self.client.post(path, {**body, self._limit: room}, key)

    def messages(self, prefix: Ids) -> list[dict[str, str]]:
        """Returns the conversation of a prefix.

        Raises:
            EngineError: The last turn is not an empty one of the assistant.
        """
        turns: list[list[int]] = []
        for number in prefix:
            if number == self.pieces.special_tokens[TURN]:
                turns.append([])
            elif turns and number >= len(SPECIAL_TOKENS):
                turns[-1].append(number)
        texts = [self.pieces.to_bytes(turn).decode("utf-8", "replace") for turn in turns]
        messages = [{"role": role, "content": text.strip()} for role, _, text in (text.partition("\n") for text in texts)]
        if not messages or messages[-1] != {"role": "assistant", "content": ""}:
            raise EngineError(f"{self.name}: cannot continue a text, it is a chat endpoint; use it for methods that only ask its role")
        return [message for message in messages[:-1] if message["content"]]
