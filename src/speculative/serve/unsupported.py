"""Ignores or refuses fields of other servers, as `unsupported.toml` lists them."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from speculative.serve.errors import ApiError, unsupported_value

_TABLE: dict[str, Any] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
Neutral = Mapping[str, tuple[str, list[Any]]]
NEUTRAL: Neutral = {name: (reason, values) for reason, fields in _TABLE["refused"].items() for name, values in fields.items()}
"""Fields that cannot be honoured: the reason, and the values that ask for what happens anyway."""
HINTS, TURN_HINTS, PART_HINTS = (frozenset[str](_TABLE["hints"][place]) for place in ("request", "turn", "part"))
"""Fields that change no reply."""
CHOICES = {"tools": "tool_choice", "functions": "function_call"}
"""Fields that change no reply where another field is `none`."""
NESTED = frozenset(("chat_template_kwargs",))
"""Fields that hold other fields."""


def ignored_fields(
    fields: Mapping[str, Any],
    where: str = "",
    *,
    hints: frozenset[str] = HINTS,
    known: frozenset[str] = frozenset(),
    neutral: Neutral = NEUTRAL,
    drop: bool = False,
) -> list[str]:
    """Lists the fields that are ignored.

    Args:
        where: the place of the fields in the request, for messages.
        known: fields that the caller reads.
        neutral: fields that cannot be honoured.
        drop: ignore also what would change the reply (`drop_params`).

    Raises:
        ApiError: (400) names a field that would change the reply.
    """
    ignored: list[str] = []
    for name, value in fields.items():
        if value is None or name in known or _is_neutral(name, value, neutral):
            continue
        if name in NESTED and isinstance(value, dict):
            inside = cast("dict[str, Any]", value)
            ignored += ignored_fields(inside, f"{where}{name}.", hints=frozenset(), drop=drop)
        elif name in hints or drop or fields.get(CHOICES.get(name, name)) == "none":
            ignored.append(f"{where}{name}")
        else:
            raise _error(f"{where}{name}", name, value, neutral)
    return ignored


def _is_neutral(name: str, value: Any, neutral: Neutral) -> bool:
    return name in neutral and any(_same(value, one) for one in neutral[name][1])


def _error(place: str, name: str, value: Any, neutral: Neutral) -> ApiError:
    place = place[:80]
    if name not in neutral:
        return ApiError(400, f"{place}: the service has no such field; leave it out", code="unknown_field", param=place)
    return unsupported_value(place, f"{_shorten(value)} cannot be honoured: {neutral[name][0]}; leave it out")


def _same(value: Any, other: Any) -> bool:
    """Compares by value, but keeps false and 0 apart."""
    return isinstance(value, bool) == isinstance(other, bool) and value == other


def _shorten(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "…"
