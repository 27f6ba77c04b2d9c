"""What a server is and can do: vLLM, SGLang, llama.cpp or another, asked once."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import Struct

from speculative.engines.base import Ability, Vocabulary
from speculative.engines.http.client import Link
from speculative.engines.http.protocols.base import Wire
from speculative.errors import EngineError, EngineFault, EngineRefused, UnknownName, UsageError
from speculative.hiding import bare

T = TypeVar("T")
Kind = Literal["vllm", "sglang", "llama.cpp", "other"]

OWNERS: dict[str, Kind] = {"vllm": "vllm", "sglang": "sglang", "llamacpp": "llama.cpp"}
"""How each kind signs the list of its models."""

UNKNOWN_CONTEXT = 1 << 15
"""Positions that a model is taken to have when its server does not say."""


class _Card(Struct):
    id: str
    owned_by: str = ""
    root: str | None = None
    max_model_len: int | None = None


class _Models(Struct):
    data: list[_Card]


class Server(Struct, frozen=True):
    """One model behind one address. `source` is the folder or the name that its tokenizer can be found under; `context` in tokens."""

    kind: Kind
    version: str
    model: str
    source: str
    context: int
    template: str | None = None

    def wire(self, vocabulary: Vocabulary) -> Wire:
        """How to speak with it."""
        if self.kind == "sglang":
            from speculative.engines.http.protocols.sglang import SglangWire

            return SglangWire()
        if self.kind == "llama.cpp":
            from speculative.engines.http.protocols.llamacpp import LlamaWire

            return LlamaWire(vocabulary)
        from speculative.engines.http.protocols.vllm import VllmWire

        return VllmWire(self.model)

    @property
    def abilities(self) -> frozenset[Ability]:
        """What it can do, but for what only a call can tell (whether it reports cached tokens)."""
        base: frozenset[Ability] = frozenset({"continue", "ids", "logprobs", "stream"})
        scoring: frozenset[Ability] = frozenset({"score"}) if self.kind in ("vllm", "sglang") else frozenset()
        return base | scoring


async def inspect(link: Link, model: str | None = None) -> Server:
    """Asks the servers of a link what they are; all have to run the same. Raises `EngineError` and `UsageError`."""
    found = [await _inspect(Link([url], secret=link.secret, deadlines=link.deadlines), model) for url in link.replicas.urls]
    first = found[0]
    for url, other in zip(link.replicas.urls, found, strict=True):
        if (other.kind, other.model, other.context) != (first.kind, first.model, first.context):
            raise UsageError(
                f"{bare(url)} runs {_what(other)}, but {bare(link.replicas.urls[0])} {_what(first)}; replicas have to be alike"
            )
    return first


async def _inspect(link: Link, model: str | None) -> Server:
    try:
        cards = await _json(link, "models", _Models)
        card = _chosen(cards.data, model, link.name)
        match OWNERS.get(card.owned_by.lower(), "other"):
            case "vllm":
                version = (await _page(link, "/version")).get("version", "")
                return Server("vllm", str(version), card.id, card.root or card.id, _context(card.max_model_len))
            case "sglang":
                about, info = await asyncio.gather(_page(link, "/get_model_info"), _page(link, "/get_server_info", optional=True))
                source = str(about.get("tokenizer_path") or about.get("model_path") or card.id)
                context = _context(card.max_model_len, info.get("context_length"))
                return Server("sglang", str(info.get("version", "")), card.id, source, context)
            case "llama.cpp":
                props = await _page(link, "/props")
                positions, build = None, str(props.get("build_info", ""))
                with suppress(KeyError, TypeError):
                    positions = props["default_generation_settings"]["n_ctx"]
                context = _context(positions)
                return Server("llama.cpp", build, card.id, str(props.get("model_path") or card.id), context, props.get("chat_template"))
            case _:
                return Server("other", "", card.id, card.root or card.id, _context(card.max_model_len))
    finally:
        await link.aclose()


def _context(*said: Any) -> int:
    """The first that is a number of positions."""
    return next((one for one in said if isinstance(one, int) and one > 0), UNKNOWN_CONTEXT)


def _chosen(cards: list[_Card], model: str | None, name: str) -> _Card:
    if not cards:
        raise UsageError(f"{name}: the server has no model; start it with one")
    if model is None:
        if len(cards) > 1:
            raise UsageError(
                f"{name}: the server has several models ({', '.join(card.id for card in cards)}); name one (--big-model, --small-model)"
            )
        return cards[0]
    for card in cards:
        if card.id == model:
            return card
    raise UnknownName(f"model of {name}", model, [card.id for card in cards])


async def _json(link: Link, path: str, shape: type[T]) -> T:
    answer = await link.get(path)
    try:
        return msgspec.json.decode(answer, type=shape)
    except msgspec.DecodeError as error:
        raise EngineFault(
            f"{link.name}: {path} answers {answer[:60]!r}, which no model server says ({error}); see whether the address is right"
        ) from None


async def _page(link: Link, path: str, *, optional: bool = False) -> dict[str, Any]:
    try:
        return await _json(link, path, dict[str, Any])
    except (EngineRefused, EngineFault) as error:
        if optional or path == "/version":
            return {}
        raise EngineError(f"{error}; the server is of a version that is not known here") from None


def _what(server: Server) -> str:
    return f"{server.kind} with {server.model!r} and {server.context} positions"
