"""Finds the prices of tokens that the viewer shows."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from speculative.stats.prices import Prices, default_prices

EXAMPLE = "at the example prices of the bundled pair"
OWN = "at the service's own prices"


class TokenPriceCard(Struct):
    """The price of a million tokens of a role."""

    prompt: float
    cached: float
    produced: float


def token_prices(engines: Mapping[str, str], prices: Prices | None = None) -> tuple[str, dict[str, TokenPriceCard]]:
    """Returns the currency, and the prices of the roles whose engines have one.

    `engines`: names by role. `prices`: those of the bundled pair if there are no others.
    """
    api = (prices or default_prices()).api
    if api is None:
        return "", {}
    found = {role: price for role, name in engines.items() if (price := api.prices.get(name) or api.prices.get(role))}
    return api.currency, {role: TokenPriceCard(price.prompt, price.cached, price.produced) for role, price in found.items()}
