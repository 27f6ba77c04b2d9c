"""Counts the cost of chains by role, and the big model's share of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct, structs


class Usage(Struct):
    """Tokens and seconds of one role.

    `seconds` is the sum of its calls. Produced tokens = kept + discarded. The usage of a tower in the role `small` has rows of its own for
    the roles of its pair, such as `small/big`; they are parts of the row `small`.
    """

    requests: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    produced_tokens: int = 0
    kept_tokens: int = 0
    discarded_tokens: int = 0
    scored_tokens: int = 0
    seconds: float = 0.0

    def __add__(self, other: Usage) -> Usage:
        return Usage(*(getattr(self, field) + getattr(other, field) for field in Usage.__struct_fields__))


def total_usage(usages: Iterable[Mapping[str, Usage]]) -> dict[str, Usage]:
    """Adds up the usage of several chains, by role."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    for usage in usages:
        for role, cost in usage.items():
            found.setdefault(role, []).append(structs.astuple(cost))
    return {role: Usage(*map(sum, zip(*found[role], strict=True))) for role in sorted(found)}


def single_models(usage: Mapping[str, Usage]) -> dict[str, Usage]:
    """Returns the rows of single models: of a tower's pair in place of the tower."""
    return {role: cost for role, cost in usage.items() if not any(other.startswith(f"{role}/") for other in usage)}


def all_roles(usage: Mapping[str, Usage], field: str) -> float:
    """Adds up one field over all roles. The roles inside a tower are parts of its own."""
    return sum(getattr(cost, field) for role, cost in usage.items() if "/" not in role)


def big_model_share(usage: Mapping[str, Usage], field: str) -> float | None:
    """Returns the big model's part of one field's tokens, or None without tokens."""
    total = all_roles(usage, field)
    return getattr(usage["big"], field) / total if total and "big" in usage else (0.0 if total else None)
