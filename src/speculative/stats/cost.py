"""Computes costs of chains in three price views."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from msgspec import Struct, structs

from speculative.runs.sample import Sample
from speculative.stats.prices import Prices, default_prices
from speculative.trace.usage import Usage, single_models, total_usage

View = Literal["api", "gpu", "flops"]
MILLION, HOUR = 1_000_000, 3600


class Cost(Struct, frozen=True):
    """The cost of a method's chains in one view.

    Attributes:
        unit: the currency, or FLOP.
        chain: the mean cost of a chain.
        right: the cost of each right answer; null without a right answer.
        parts: the mean cost of a chain by role, or by device in the view `gpu`.
        hardware: the description of each device, in the view `gpu` only.
    """

    unit: str
    chain: float
    right: float | None
    parts: dict[str, float]
    hardware: dict[str, str]


def costs(samples: Sequence[Sample], prices: Prices | None = None) -> dict[View, Cost]:
    """Computes the costs of a method's samples, by price view.

    `prices` are those of the bundled pair unless given.

    `api`: each role's prompt, cached and produced tokens at their prices; scored tokens have the price of a prompt.
    `gpu`: a chain occupies the devices of all roles that the method uses, for its wall time over the chains that ran at once.
    `flops`: 2 x parameters x tokens that were computed: prompt less cached, produced, and scored.
    In each view a chain pays for its whole text, also for cached text of other chains. In a tower the models of its pair are paid for.
    """
    if not samples:
        return {}
    prices = prices or default_prices()
    usage = single_models(_alone(samples))
    names = {role: (str(samples[0].settings.get(role, role)), role) for role in usage}
    right = sum(sample.correct for sample in samples)
    found: dict[View, Cost] = {}
    totals: dict[View, Total | None] = {
        "api": _api(usage, names, prices),
        "gpu": _gpu(samples, names, prices),
        "flops": _flops(usage, names, prices),
    }
    for view, total in totals.items():
        if total is not None:
            unit, parts, hardware = total
            spent = sum(parts.values())
            each = {part: cost / len(samples) for part, cost in parts.items()}
            found[view] = Cost(unit, spent / len(samples), spent / right if right else None, each, hardware)
    return found


def view_unit(view: View, prices: Prices | None = None) -> str:
    """Returns the unit of a price view, or an empty text if it has no prices."""
    prices = prices or default_prices()
    if view == "flops":
        return "FLOP"
    table = prices.api if view == "api" else prices.gpu
    return table.currency if table else ""


def _alone(samples: Sequence[Sample]) -> dict[str, Usage]:
    """Returns the usage without cache hits on tokens of other chains."""
    usage = total_usage(sample.usage for sample in samples)
    shared = {role: sum(sample.shared_cache_tokens.get(role, 0) for sample in samples) for role in usage}
    return {role: structs.replace(cost, cached_tokens=max(0, cost.cached_tokens - shared[role])) for role, cost in usage.items()}


Names = Mapping[str, tuple[str, str]]
"""The names that a price may have by role, the model's first."""

Total = tuple[str, dict[str, float], dict[str, str]]
"""The unit, the cost of the parts, and the hardware."""


def _entries(table: Mapping[str, Any], names: Names) -> dict[str, Any] | None:
    """Returns the entries of a table by role, or None if one is missing."""
    found = {role: table[name] for role, known in names.items() for name in reversed(known) if name in table}
    return found if len(found) == len(names) else None


def _api(usage: Mapping[str, Usage], names: Names, prices: Prices) -> Total | None:
    entries = _entries(prices.api.prices, names) if prices.api else None
    if prices.api is None or entries is None:
        return None
    parts = {
        role: (
            (cost.prompt_tokens - cost.cached_tokens + cost.scored_tokens) * entries[role].prompt
            + cost.cached_tokens * entries[role].cached
            + cost.produced_tokens * entries[role].produced
        )
        / MILLION
        for role, cost in usage.items()
    }
    return prices.api.currency, parts, {}


def _gpu(samples: Sequence[Sample], names: Names, prices: Prices) -> Total | None:
    entries = _entries(prices.gpu.occupies, names) if prices.gpu else None
    if prices.gpu is None or entries is None:
        return None
    occupied = [name for name in prices.gpu.devices if any(name in devices for devices in entries.values())]
    hours = sum(sample.seconds / sample.mean_concurrency for sample in samples) / HOUR
    devices = prices.gpu.devices
    return prices.gpu.currency, {name: hours * devices[name].hour for name in occupied}, {name: devices[name].hardware for name in occupied}


def _flops(usage: Mapping[str, Usage], names: Names, prices: Prices) -> Total | None:
    entries = _entries(prices.flops.parameters, names) if prices.flops else None
    if entries is None:
        return None
    parts = {role: 2 * entries[role] * computed(cost) for role, cost in usage.items()}
    return "FLOP", parts, {}


def computed(cost: Usage) -> int:
    """Returns the number of tokens that a model computed: all but the cached ones."""
    return cost.prompt_tokens - cost.cached_tokens + cost.produced_tokens + cost.scored_tokens
