"""Describes methods, wrappers, presets and limits for the forms of the page."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET, Struct, UnsetType

from speculative.errors import UnsupportedMethodError
from speculative.methods.base import Method, Wrapper
from speculative.methods.registry import names, registered
from speculative.pair import Pair
from speculative.problem import Sampling
from speculative.redaction import without_address
from speculative.settings import Settings
from speculative.viewer.examples import Example, examples
from speculative.viewer.marks import Mark, mark_of
from speculative.viewer.prices import TokenPriceCard, token_prices


class MethodCard(Struct, kw_only=True):
    """A method or a wrapper, with the schema of its parameters.

    `missing`: the reason why the pair cannot serve it. `training`: whether it needs models trained for it.
    """

    name: str
    about: str
    schema: dict[str, Any]
    mark: Mark
    append_only: bool = True
    training: bool = False
    missing: str | UnsetType = UNSET


class PresetCard(Struct, kw_only=True):
    """A preset of the service. `wrappers` are spelled as in a request's `with`."""

    name: str
    method: str
    params: dict[str, Any]
    wrappers: list[str]


class MethodList(Struct, kw_only=True):
    """Reply of `GET /v1/methods`.

    `engines` and `prices` are by role; `prices` holds the roles whose price is known. `limits` are those of a request.
    `keyed`: whether requests need a key.
    """

    methods: list[MethodCard]
    wrappers: list[MethodCard]
    presets: list[PresetCard]
    default: str
    engines: dict[str, str]
    examples: list[Example]
    limits: dict[str, float]
    temperature: float
    currency: str
    prices: dict[str, TokenPriceCard]
    library: str
    loaded: bool
    keyed: bool


def method_list(settings: Settings, pair: Pair | None, library: str) -> MethodList:
    """Describes all methods; `pair` is None while it loads."""
    engines = {role: engine.name for role, engine in pair.items()} if pair is not None else dict[str, str]()
    currency, prices = token_prices(engines)
    return MethodList(
        methods=[_card(registered()[name], pair) for name in names()],
        wrappers=[_card(registered()[name], None) for name in names(wrappers=True)],
        presets=[
            PresetCard(name=name, method=preset.method, params=preset.params, wrappers=preset.wrappers)
            for name, preset in settings.presets.items()
        ],
        default=settings.method,
        engines={role: without_address(name) for role, name in engines.items()},
        examples=examples(engines.values()),
        limits={
            "max_tokens": settings.max_tokens,
            "max_seconds": settings.max_seconds,
            "default_tokens": min(settings.default_tokens, settings.max_tokens),
        },
        temperature=Sampling().temperature,
        currency=currency,
        prices=prices,
        library=library,
        loaded=pair is not None,
        keyed=bool(settings.keys()),
    )


def _card(kind: type[Method], pair: Pair | None) -> MethodCard:
    schema = kind.model_json_schema()
    if issubclass(kind, Wrapper):
        schema["properties"] = {name: field for name, field in schema["properties"].items() if name != "inner"}
        schema.pop("$defs", None)
    card = MethodCard(
        name=kind.name(),
        about=kind.summary(),
        schema=schema,
        mark=mark_of(kind.name(), kind.name()),
        append_only=kind.append_only,
        training=kind.training,
    )
    if pair is not None:
        try:
            pair.check(kind.model_validate({}))
        except UnsupportedMethodError as error:
            card.missing = without_address(str(error))
    return card
