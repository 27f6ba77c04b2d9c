"""Usage of several chains together, and the big model's share of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import structs

from speculative.problem import Usage


def added(usages: Iterable[Mapping[str, Usage]]) -> dict[str, Usage]:
    """The sum of several chains' usage, by role."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    for usage in usages:
        for role, cost in usage.items():
            found.setdefault(role, []).append(structs.astuple(cost))
    return {role: Usage(*map(sum, zip(*found[role], strict=True))) for role in sorted(found)}


def summed(usage: Mapping[str, Usage], field: str) -> float:
    """A field of all roles together."""
    return sum(getattr(cost, field) for cost in usage.values())


def share(usage: Mapping[str, Usage], field: str) -> float | None:
    """What part of the tokens of that field is the big model's; None if there are none."""
    total = summed(usage, field)
    return getattr(usage["big"], field) / total if total and "big" in usage else (0.0 if total else None)
