"""Finds the prices of tokens that the viewer shows."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from speculative.stats.prices import default_prices


class TokenPriceCard(Struct):
    """The price of a million tokens of a role."""

    prompt: float
    cached: float
    produced: float


def token_prices(engines: Mapping[str, str]) -> tuple[str, dict[str, TokenPriceCard]]:
    """Returns the currency, and the prices of the roles whose engines have one."""
    api = default_prices().api
    if api is None:
        return "", {}
    found = {role: api.prices[name] for role, name in engines.items() if name in api.prices}
    return api.currency, {role: TokenPriceCard(price.prompt, price.cached, price.produced) for role, price in found.items()}
