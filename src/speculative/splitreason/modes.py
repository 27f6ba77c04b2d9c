"""SplitReason's modes and keys, as its service and harness class spell them."""

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
    "spec_reason": "offload",
}
"""Its modes and our methods, in the order in which its service takes the first true one. `spec_reason` came later."""

LEADING = re.compile(r"^(?:\\n|\s)+")
"""Its client sends a backslash and an n where it means a new line."""


def instruction_from(value: Any) -> str | None:
    """Translates its `terminating_string` to our `answer_instruction`.

    Raises:
        UsageError: the value is not a text.
    """
    if value is None:
        return None
    if not isinstance(value, str):
        raise UsageError(f"terminating_string must be a text, got {str(value)[:80]!r}")
    return LEADING.sub("", value)


def params_of_mode(mode: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Picks the keys that the mode's method has.

    An `ltok` of 0 stands for the default.
    """
    kind: type[Method] = find(MODES[mode], paths=False)
    taken = {name: value for name, value in fields.items() if name in kind.model_fields}
    if not taken.get("ltok", 1):
        del taken["ltok"]
    return taken
