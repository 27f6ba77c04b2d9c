"""Parses and writes lists of methods with parameters and wrappers.

An example is `random_switch(big_share=0.2),vote(ballots=3)*small_only`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from speculative._plugins import parse_spec, split_spec
from speculative.errors import UsageError
from speculative.methods.base import Method
from speculative.methods.preset import is_file, read_preset
from speculative.methods.registry import build, find


class MethodSpec(Struct, frozen=True):
    """A method with its parameters, and the label that the user gave it.

    `label`: the method as the user spelled it. `control_of`: the label of the method that it is a control of.
    """

    label: str
    method: Method
    control_of: str | None = None

    @property
    def name(self) -> str:
        return self.method.full_name

    @property
    def params(self) -> dict[str, Any]:
        return self.method.params


def parse_methods(spec: str) -> list[MethodSpec]:
    """Parses a list of methods with commas between them.

    Raises `UnknownNameError` and `UsageError`.
    """
    found = [parse_method(part) for part in split_spec(spec, ",")]
    if not found:
        raise UsageError("methods: none is named; name some with commas between them, as in big_only,random_switch")
    labels = [made.label for made in found]
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice:
        raise UsageError(f"methods: {twice!r} is named twice")
    return found


def parse_method(spec: str) -> MethodSpec:
    """Parses a method with its parameters and wrappers.

    It is written `METHOD`, `METHOD(field=value,…)`, or `WRAPPER(…)*METHOD(…)`. The outermost wrapper comes first. `@FILE` is the
    method of a preset.
    """
    *wrappers, inner = split_spec(spec, "*")
    name, params = parse_spec("method", inner)
    made = build(name, params, wrappers[::-1])
    return MethodSpec(label_of(name, params, wrappers[::-1]) if is_file(name) else spec.strip(), made)


def label_of(name: str, params: Mapping[str, Any] | None = None, wrappers: Sequence[str] = ()) -> str:
    """Returns the label of a method, as it is spelled.

    A preset is spelled by its method and parameters.
    """
    if is_file(name):
        preset = read_preset(name)
        return format_method(preset.method, {**preset.params, **(params or {})}, [*preset.wrappers, *wrappers])
    return format_method(find(name).name(), params, wrappers)


def format_method(name: str, params: Mapping[str, Any] | None = None, wrappers: Sequence[str] = ()) -> str:
    """Writes a method as `parse_method` reads it.

    `wrappers`: the wrappers with their parameters, as they are spelled, the innermost first.
    """
    fields = ", ".join(f"{field}={_spell_value(value)}" for field, value in (params or {}).items())
    return "*".join([*reversed(wrappers), f"{name}({fields})" if fields else name])


def _spell_value(value: Any) -> str:
    """Spells a value; a text that would end its field stands in quotes."""
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value) if isinstance(value, str) and re.search(r'[,()="*]|^\s|\s$', value) else str(value)
