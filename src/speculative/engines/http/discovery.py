"""Asks a server once for its kind, its model and its abilities."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import Struct, structs

from speculative.engines.base import Ability, Tokenizer
from speculative.engines.http.client import ServerClient
from speculative.engines.http.protocols.base import ServerProtocol
from speculative.errors import CONTEXT_FLAGS, EngineError, EngineRefusedError, EngineServerError, UnknownNameError, UsageError
from speculative.redaction import without_login

T = TypeVar("T")
Kind = Literal["vllm", "sglang", "llama.cpp", "other"]

OWNERS: dict[str, Kind] = {"vllm": "vllm", "sglang": "sglang", "llamacpp": "llama.cpp"}
"""The owner that each kind names in the list of its models."""

OURS = "speculative"
"""The owner that `speculative serve` names in its list."""

UNKNOWN_CONTEXT = 1 << 15
"""Positions that a model is taken to have when its server does not say."""

LOG = logging.getLogger("speculative.engines")


class _Card(Struct):
    """A model in a server's list.

    `parent`: the card of the model that it adapts (LoRA). Servers spell its positions in many ways.
    """

    id: str
    owned_by: str | None = None
    root: str | None = None
    parent: str | None = None
    max_model_len: Any = None
    context_length: Any = None
    context_window: Any = None
    max_context_length: Any = None
    meta: Any = None

    @property
    def context(self) -> int | None:
        """Positions, if the card names them."""
        said = self.max_model_len, self.context_length, self.context_window, self.max_context_length
        return _positions(*said, _within(self.meta, "n_ctx"))


class _Models(Struct):
    data: list[_Card]


class Server(Struct, frozen=True):
    """One model behind one address.

    `source`: the folder or the name that its tokenizer can be found under. `context`: in tokens. `assumed`: the server does
    not say its context.
    """

    kind: Kind
    version: str
    model: str
    source: str
    context: int
    template: str | None = None
    assumed: bool = False

    def protocol(self, tokenizer: Tokenizer) -> ServerProtocol:
        """Returns the protocol of this kind of server."""
        if self.kind == "sglang":
            from speculative.engines.http.protocols.sglang import SglangProtocol

            return SglangProtocol()
        if self.kind == "llama.cpp":
            from speculative.engines.http.protocols.llamacpp import LlamaCppProtocol

            return LlamaCppProtocol(tokenizer)
        from speculative.engines.http.protocols.vllm import VllmProtocol

        return VllmProtocol(self.model, genuine=self.kind == "vllm")

    @property
    def abilities(self) -> frozenset[Ability]:
        """Abilities that are known without a call."""
        base: frozenset[Ability] = frozenset({"continue", "ids", "logprobs", "top", "choices", "stream"})
        scoring: frozenset[Ability] = frozenset({"score"}) if self.kind in ("vllm", "sglang") else frozenset()
        return base | scoring


async def inspect(client: ServerClient, model: str | None = None, context: int | None = None) -> Server:
    """Asks the servers of a client what they are.

    All have to run the same model. `context` counts instead of what they say.

    Raises `EngineError` and `UsageError`.
    """
    links = [ServerClient([url], secret=client.secret, deadlines=client.deadlines) for url in client.replicas.urls]
    found = [await _inspect(one, model, context) for one in links]
    first = found[0]
    for url, other in zip(client.replicas.urls, found, strict=True):
        if (other.kind, other.model, other.context) != (first.kind, first.model, first.context):
            raise UsageError(
                f"{without_login(url)} runs {_what(other)}, but {without_login(client.replicas.urls[0])} {_what(first)}; "
                "replicas have to be alike"
            )
    if first.assumed:
        LOG.warning(
            "%s does not say how long its context is; %d tokens are assumed, set the true number with %s",
            f"{first.model} at {client.name}",
            first.context,
            CONTEXT_FLAGS,
        )
    return first


async def _inspect(client: ServerClient, model: str | None, context: int | None) -> Server:
    try:
        cards = (await _json(client, "models", _Models)).data
        if any(card.owned_by == OURS for card in cards):
            raise UsageError(
                f"{client.name} is a `speculative serve`, which writes whole chains with its own pair and gives no token ids back, "
                "so it cannot be a model of a pair; name the model servers behind it"
            )
        card = _chosen(cards, model, client.name)
        server = await _of_kind(client, card, _base(card, cards))
        if context:
            return structs.replace(server, context=context)
        if server.context:
            return server
        asked = await _asked_context(client, card)
        return structs.replace(server, context=asked or UNKNOWN_CONTEXT, assumed=asked is None)
    finally:
        await client.aclose()


async def _of_kind(client: ServerClient, card: _Card, base: _Card) -> Server:
    """Asks a server of each kind in its own way.

    `base`: the card of the model that `card` adapts, or `card` itself.
    """
    source, context = base.root or base.id, card.context or base.context or 0
    match OWNERS.get((card.owned_by or base.owned_by or "").lower(), "other"):
        case "vllm":
            version = (await _page(client, "/version", optional=True)).get("version", "")
            return Server("vllm", str(version), card.id, source, context)
        case "sglang":
            about, info = await asyncio.gather(
                _page(client, "/model_info", "/get_model_info"), _page(client, "/server_info", "/get_server_info", optional=True)
            )
            source = str(about.get("tokenizer_path") or about.get("model_path") or card.id)
            return Server("sglang", str(info.get("version", "")), card.id, source, context or _positions(info.get("context_length")) or 0)
        case "llama.cpp":
            props = await _page(client, "/props")
            # (its card tells the positions of all slots together, where it does)
            positions, build = _positions(_within(props, "default_generation_settings", "n_ctx")), str(props.get("build_info", ""))
            source = str(props.get("model_path") or card.id)
            return Server("llama.cpp", build, card.id, source, positions or context, props.get("chat_template"))
        case _:
            return Server("other", "", card.id, source, context)


async def _asked_context(client: ServerClient, card: _Card) -> int | None:
    """Asks for the positions in the ways of vLLM, llama.cpp, TGI and SGLang."""
    with suppress(EngineError, msgspec.DecodeError):
        answer = await client.post("/tokenize", {"model": card.id, "prompt": "1"}, "")
        if positions := _positions(_within(msgspec.json.decode(answer), "max_model_len")):
            return positions
    pages = ("/props", "default_generation_settings", "n_ctx"), ("/info", "max_total_tokens"), ("/server_info", "context_length")
    for path, *steps in pages:
        with suppress(EngineError):
            if positions := _positions(_within(await _page(client, path, optional=True), *steps)):
                return positions
    return None


def _positions(*said: Any) -> int | None:
    """Returns the first that is a number of positions."""
    return next((one for one in said if isinstance(one, int) and not isinstance(one, bool) and one > 0), None)


def _within(page: Any, *steps: str) -> Any:
    for step in steps:
        page = page.get(step) if isinstance(page, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return page  # pyright: ignore[reportUnknownVariableType]


def _chosen(cards: list[_Card], model: str | None, name: str) -> _Card:
    if not cards:
        raise UsageError(f"{name}: the server has no model; start it with one")
    if model is None:
        if len({card.root or card.id for card in cards}) > 1:  # (several names of one model have one root)
            raise UsageError(
                f"{name}: the server has several models ({', '.join(card.id for card in cards)}); name one (--big-model, --small-model)"
            )
        return cards[0]
    for card in cards:
        if card.id == model:
            return card
    raise UnknownNameError(f"model of {name}", model, [card.id for card in cards])


def _base(card: _Card, cards: list[_Card]) -> _Card:
    """Returns the card of an adapter's model, which has the tokenizer and the context."""
    return next((other for other in cards if other.id == card.parent and other is not card), card)


async def _json(client: ServerClient, path: str, shape: type[T]) -> T:
    answer = await client.get(path)
    try:
        return msgspec.json.decode(answer, type=shape)
    except msgspec.DecodeError as error:
        raise EngineServerError(
            f"{client.name}: {path} answers {answer[:60]!r}, which no model server says ({error}); see whether the address is right"
        ) from None


async def _page(client: ServerClient, *paths: str, optional: bool = False) -> dict[str, Any]:
    """Reads the first of these pages that the server has."""
    failed: EngineError | None = None
    for path in paths:
        try:
            return await _json(client, path, dict[str, Any])
        except (EngineRefusedError, EngineServerError) as error:
            failed = failed or error
    if optional:
        return {}
    raise EngineError(f"{failed}; the server is of a version that is not known here")


def _what(server: Server) -> str:
    return f"{server.kind} with {server.model!r} and {server.context} positions"
