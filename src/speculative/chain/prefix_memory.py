"""The token sequences that a chain's calls have given to each role's engine: which of a new prompt's tokens are its own."""

from __future__ import annotations

from collections.abc import Sequence

Ids = Sequence[int]

KEPT = 64
"""Sequences that are kept for a role; the oldest is forgotten first. One that goes on from another takes its place."""


class PrefixMemory:
    """Remembers what a chain and its children have sent and got back, by role."""

    def __init__(self) -> None:
        self._known: dict[str, list[tuple[int, ...]]] = {}

    def begin(self, role: str, prefixes: Sequence[Ids]) -> int:
        """Counts the tokens of the prefixes that the role's engine has seen from this chain, and remembers the prefixes.

        A later prefix of the same call may share its beginning with an earlier one. The last token of a prefix never counts: an engine
        computes it again to have something to go on from.
        """
        seen = 0
        for prefix in map(tuple, prefixes):
            seen += min(self._shared(role, prefix), max(0, len(prefix) - 1))
            self.add(role, prefix)
        return seen

    def add(self, role: str, ids: tuple[int, ...]) -> None:
        """Remembers a whole sequence: a prefix, or one with what followed it."""
        known = [other for other in self._known.get(role, []) if ids[: len(other)] != other]
        self._known[role] = [*known, ids][-KEPT:]

    def _shared(self, role: str, ids: tuple[int, ...]) -> int:
        """Returns the length of the longest beginning that a known sequence has, too."""
        longest = 0
        for other in reversed(self._known.get(role, [])):
            if ids[: longest + 1] == other[: longest + 1]:
                longest = max(longest, _common(ids, other))
        return longest


def _common(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    """Returns the length of the common beginning, by halving: slices are compared faster than tokens."""
    low, high = 0, min(len(one), len(other))
    if one[:high] == other[:high]:
        return high
    while high - low > 1:  # the first `low` are alike, the first `high` are not
        middle = (low + high) // 2
        low, high = (middle, high) if one[low:middle] == other[low:middle] else (low, middle)
    return low
