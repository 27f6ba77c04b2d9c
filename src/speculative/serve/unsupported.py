"""Ignores or refuses fields of other servers, as `unsupported.toml` lists them."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel

from speculative.errors import shown_value
from speculative.methods.registry import registered
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
    like: type[BaseModel] | None = None,
) -> list[str]:
    """Lists the fields that are ignored.

    Args:
        where: the place of the fields in the request, for messages.
        known: fields that the caller reads.
        neutral: fields that cannot be honoured.
        drop: ignore also what would change the reply (`drop_params`).
        like: the class with the fields that could be meant by an unknown one.

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
            raise _error(f"{where}{name}", name, value, neutral, like)
    return ignored


def _is_neutral(name: str, value: Any, neutral: Neutral) -> bool:
    return name in neutral and any(_same(value, one) for one in neutral[name][1])


def _error(place: str, name: str, value: Any, neutral: Neutral, like: type[BaseModel] | None) -> ApiError:
    place = place[:80]
    if name in NESTED:
        return ApiError(400, f"{place} must be an object, got {shown_value(value)}", param=place)
    if name in neutral:
        return unsupported_value(place, f"{_shorten(value)} cannot be honoured: {neutral[name][0]}; leave it out")
    fields = [field.alias or label for label, field in like.model_fields.items()] if like else []
    close = get_close_matches(name[:80], fields, n=1, cutoff=0.6)
    hint = f"did you mean {close[0]!r}?" if close else "leave it out"
    if place == name and any(name in kind.model_fields for kind in registered().values()):
        hint = "parameters of a method stand in `params`"
    return ApiError(400, f"{place}: the service has no such field; {hint}", code="unknown_field", param=place)


def _same(value: Any, other: Any) -> bool:
    """Compares by value, but keeps false and 0 apart."""
    return isinstance(value, bool) == isinstance(other, bool) and value == other


def _shorten(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "…"
