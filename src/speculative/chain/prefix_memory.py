"""Remembers the token sequences that a chain has given to each role's engine.

They decide which tokens of a new prompt are the chain's own.
"""

from __future__ import annotations

from collections.abc import Sequence

Ids = Sequence[int]

KEPT = 64
"""Sequences that are kept for a role; the oldest is forgotten first. One that goes on from another takes its place."""


class PrefixMemory:
    """Remembers what a chain and its children have sent and got back, by role."""

    def __init__(self) -> None:
        self._known: dict[str, Sequences] = {}

    def begin(self, role: str, prefixes: Sequence[Ids]) -> int:
        """Counts the prefix tokens that the role's engine has seen from this chain.

        It remembers the prefixes. A later prefix of the same call may share its beginning with an earlier one. The last token of a prefix
        never counts: an engine computes it again to have something to go on from.
        """
        known, seen = self._known.setdefault(role, Sequences()), 0
        for prefix in map(tuple, prefixes):
            seen += min(known.shared(prefix), max(0, len(prefix) - 1))
            known.add(prefix)
        return seen

    def add(self, role: str, ids: tuple[int, ...]) -> None:
        """Remembers a whole sequence: a prefix, or one with what followed it."""
        self._known.setdefault(role, Sequences()).add(ids)


class Sequences:
    """Keeps the last `KEPT` sequences.

    They are found by their length and their last token, so that most need no comparison.
    """

    def __init__(self) -> None:
        self._all: dict[int, tuple[int, ...]] = {}
        self._by_end: dict[int, dict[int, list[int]]] = {}
        self._added = 0

    def add(self, ids: tuple[int, ...]) -> None:
        """Adds a sequence in place of those that it goes on from."""
        if not ids:
            return
        for size, ends in list(self._by_end.items()):
            if size <= len(ids):
                for number in [number for number in ends.get(ids[size - 1], ()) if self._all[number] == ids[:size]]:
                    self._remove(number)
        self._added += 1
        self._all[self._added] = ids
        self._by_end.setdefault(len(ids), {}).setdefault(ids[-1], []).append(self._added)
        if len(self._all) > KEPT:
            self._remove(next(iter(self._all)))

    def shared(self, ids: tuple[int, ...]) -> int:
        """Returns the length of the longest beginning that a sequence has, too."""
        longest, size = 0, len(ids)
        for other in reversed(self._all.values()):
            if longest < size and longest < len(other) and ids[longest] == other[longest]:
                longest = max(longest, _common(ids, other))
        return longest

    def _remove(self, number: int) -> None:
        ids = self._all.pop(number)
        ends = self._by_end[len(ids)]
        ends[ids[-1]].remove(number)
        if not ends[ids[-1]]:
            del ends[ids[-1]]
        if not ends:
            del self._by_end[len(ids)]


def _common(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    """Returns the length of the common beginning, by halving.

    Slices are compared faster than tokens.
    """
    low, high = 0, min(len(one), len(other))
    if one[:high] == other[:high]:
        return high
    while high - low > 1:  # the first `low` are alike, the first `high` are not
        middle = (low + high) // 2
        low, high = (middle, high) if one[low:middle] == other[low:middle] else (low, middle)
    return low
