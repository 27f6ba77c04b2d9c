"""Cached prompt tokens that another chain computed."""

from __future__ import annotations

from speculative.trace.events import Call
from speculative.trace.trace import Trace


def shared_cache_tokens(trace: Trace) -> dict[str, int]:
    """Sums, by role, the cached tokens that other chains had computed: those that no call of this chain had sent or got back before.

    Each call counts them when it is made (`PrefixMemory`), by the very tokens that it sends; so a method that branches, goes back or
    asks side questions is charged for what it computes alone. Children share what their parent has sent.
    """
    found: dict[str, int] = {}
    for event in trace.walk():
        call: Call | None = getattr(event, "call", None)
        if call:
            found[call.role] = found.get(call.role, 0) + call.shared_cache_tokens
    return found
