"""Describes methods, wrappers, presets and limits for the forms of the page."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET, Struct, UnsetType

from speculative.engines.options import BUNDLED
from speculative.errors import UnsupportedMethodError
from speculative.methods.base import Method
from speculative.methods.registry import names, parameter_schema, registered
from speculative.methods.wrapper import Wrapper
from speculative.pair import Pair
from speculative.problem import Sampling
from speculative.redaction import without_address
from speculative.settings import PREFIX, Settings
from speculative.stats.prices import Prices
from speculative.viewer.examples import Example, examples
from speculative.viewer.marks import Mark, mark_of
from speculative.viewer.prices import EXAMPLE, OWN, TokenPriceCard, token_prices


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
    `priced` says whose prices these are. `pair` has the flags of a command line for engines that are not the bundled default.
    `keyed`: whether requests need a key. `without_logprobs`: the roles whose engine gives none of what it writes.
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
    priced: str
    pair: dict[str, str]
    library: str
    loaded: bool
    keyed: bool
    without_logprobs: list[str]


def method_list(settings: Settings, pair: Pair | None, library: str) -> MethodList:
    """Describes all methods; `pair` is None while it loads.

    Raises `UsageError` if the file of prices cannot be read.
    """
    engines = {role: engine.name for role, engine in pair.items()} if pair is not None else dict[str, str]()
    own = Prices.load(settings.prices) if settings.prices else None
    currency, prices = token_prices(engines, own)
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
            "max_param": settings.max_param,
            "max_prompt": settings.max_prompt,
            "default_tokens": min(settings.default_tokens, settings.max_tokens),
        },
        temperature=Sampling().temperature,
        currency=currency,
        prices=prices,
        priced=OWN if own else EXAMPLE,
        pair=_flags(settings),
        library=library,
        loaded=pair is not None,
        keyed=bool(settings.keys()),
        without_logprobs=[] if pair is None else [role for role, engine in pair.items() if "logprobs" not in engine.abilities],
    )


def _flags(settings: Settings) -> dict[str, str]:
    """Returns the engines that a command line has to name.

    An address or a path is not told: the variable of the environment stands for it.
    """
    found: dict[str, str] = {}
    for role, specs in (("big", settings.big), ("small", settings.small), ("judge", settings.judge)):
        if specs != ([BUNDLED[role]] if role in BUNDLED else []):
            found[role] = specs[0] if len(specs) == 1 and specs[0].startswith("bundled:") else f"${PREFIX}{role.upper()}"
    return found


def _card(kind: type[Method], pair: Pair | None) -> MethodCard:
    schema = dict(parameter_schema(kind))
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
