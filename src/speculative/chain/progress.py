"""Bounds the verbs of a chain that does not grow."""

from __future__ import annotations

from speculative.errors import ChainStateError

IDLE = 4096
"""Verbs in a row that a method may call while its chain does not grow."""


class IdleBound:
    """Counts the verbs since the chain last grew longer than ever before.

    A draft at its end counts as part of it. Without this a method that drafts and rejects, or writes and rewinds, would never end
    unless a budget or a deadline ended it. A new child is a verb of its parent. Its own verbs are counted in the child.
    """

    def __init__(self) -> None:
        self.idle = 0
        self._longest = 0

    def reach(self, tokens: int) -> None:
        """Notes the length of the chain, or of the chain with a draft."""
        if tokens > self._longest:
            self._longest, self.idle = tokens, 0

    def count(self, verb: str, finish: str | None) -> None:
        """Counts a verb. Raises `ChainStateError` for the first one above the bound."""
        self.idle += 1
        if self.idle > IDLE:
            raise ChainStateError(
                f"{verb}: the chain must grow within {IDLE} verbs in a row, got {self.idle} (finish: {finish}); "
                "end the loop, as `while chain.thinking` does"
            )
