"""The words of SplitReason's library: its modes and keys, as its service, its scripts and its harness class spell them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from speculative.errors import UsageError
from speculative.methods.base import Method
from speculative.methods.registry import find

MODES = {
    "placeholder_mode": "placeholder",
    "small_model_only": "small_only",
    "big_model_only": "big_only",
    "logprob_subselect": "logprob_subselect",
    "spec_rewrite": "spec_rewrite",
    "random_switch": "random_switch",
}
"""Its modes and our methods. In the order in which its service takes the first true one."""

LEADING = re.compile(r"^(?:\\n|\s)+")
"""Its client sends a backslash and an n where it means a new line."""


def ending(told: Any) -> str | None:
    """Its `terminating_string` as our `answer_instruction`; None if none is told. Raises `UsageError`."""
    if told is None:
        return None
    if not isinstance(told, str):
        raise UsageError(f"terminating_string: {str(told)[:80]!r} is no text")
    return LEADING.sub("", told)


def params_of_mode(mode: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The keys that the mode's method has; all others are left out, as there. An `ltok` of 0 stands for the default."""
    kind: type[Method] = find(MODES[mode], paths=False)
    taken = {name: value for name, value in fields.items() if name in kind.model_fields}
    if not taken.get("ltok", 1):
        del taken["ltok"]
    return taken
