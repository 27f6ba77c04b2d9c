"""Counts cached prompt tokens that another chain computed."""

from __future__ import annotations

from speculative.trace.events import Call
from speculative.trace.trace import Trace


def shared_cache_tokens(trace: Trace) -> dict[str, int]:
    """Sums cached tokens that no earlier call of this chain sent or got.

    Each call counts them by the tokens that it sends (`PrefixMemory`). So a method that branches, rewinds or asks questions pays for
    all tokens that it would compute alone. Children share the sent tokens of their parent.
    """
    found: dict[str, int] = {}
    for event in trace.walk():
        call: Call | None = getattr(event, "call", None)
        if call:
            found[call.role] = found.get(call.role, 0) + call.shared_cache_tokens
    return found
