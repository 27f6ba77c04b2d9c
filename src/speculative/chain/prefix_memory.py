"""Remembers the token sequences that a chain has given to each role's engine.

They decide which tokens of a new prompt are the chain's own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from msgspec import Struct

Ids = Sequence[int]

KEPT = 64
"""Sequences that are kept for a role; the oldest is forgotten first. One that goes on from another takes its place."""


NEAR = 16
"""Tokens that are compared before all of two long texts are."""


class SeenPrefixes(Struct, frozen=True, gc=False):
    """The prefixes of one call.

    `tokens` counts those that the role's engine has seen before. `entries` are the places at which the prefixes are remembered.
    """

    tokens: int
    entries: tuple[int, ...]


class Sent(Struct, frozen=True, gc=False):
    """Holds a prefix as it was sent, and what followed it.

    The prefix never changes, so it is not copied: with a long chain, a copy would take most of the time of a call.
    """

    prefix: list[int]
    rest: list[int]
    size: int
    last: int

    @classmethod
    def of(cls, prefix: list[int], rest: list[int]) -> Sent:
        ids = rest or prefix
        return cls(prefix, rest, len(prefix) + len(rest), ids[-1] if ids else -1)

    def begins(self, ids: list[int]) -> bool:
        """Returns True if other tokens, at least as many, begin with all of these."""
        size = len(self.prefix)
        return ids[size : self.size] == self.rest and ids[:size] == self.prefix

    def at(self, place: int) -> int:
        """Returns the token at a place."""
        size = len(self.prefix)
        return self.prefix[place] if place < size else self.rest[place - size]

    def shared(self, ids: list[int], least: int) -> int:
        """Returns the length of the beginning that other tokens have, too.

        It is `least` where the tokens before that place are not alike. Those near it are compared first. The token there must be alike.
        """
        size = len(self.prefix)
        if least >= size:
            place = least - size
            if ids[size:least] != self.rest[:place] or ids[:size] != self.prefix:
                return least
            return least + _common(ids[least : self.size], self.rest[place:])
        near = max(0, least - NEAR)
        if least and (self.prefix[near:least] != ids[near:least] or self.prefix[:near] != ids[:near]):
            return least
        common = least + _common(ids[least:size], self.prefix[least:]) if least else _common(ids, self.prefix)
        return common if common < size else size + _common(ids[size : self.size], self.rest)


class PrefixMemory:
    """Remembers what a chain and its children have sent and got back, by role."""

    def __init__(self) -> None:
        self._known = defaultdict[str, Sequences](Sequences)

    def begin(self, role: str, prefixes: Sequence[Ids]) -> SeenPrefixes:
        """Counts the prefix tokens that the role's engine has seen from this chain.

        It remembers the prefixes. A later prefix of the same call may share its beginning with an earlier one. The last token of a prefix
        never counts: an engine computes it again to have something to go on from.
        """
        known, seen, entries = self._known[role], 0, list[int]()
        for prefix in map(_as_list, prefixes):
            shared, passed = known.shared(prefix)
            seen += min(shared, max(0, len(prefix) - 1))
            entries.append(known.add(Sent.of(prefix, []), passed))
        return SeenPrefixes(seen, tuple(entries))

    def extend(self, role: str, entry: int, prefix: Ids, rest: Ids) -> None:
        """Remembers a prefix of `begin` together with what followed it."""
        self._known[role].extend(entry, Sent.of(_as_list(prefix), _as_list(rest)))


class Sequences:
    """Keeps the last `KEPT` sequences."""

    def __init__(self) -> None:
        self._all: dict[int, Sent] = {}
        self._added = 0

    def add(self, sent: Sent, passed: Sequence[int]) -> int:
        """Adds a sequence in place of those that it goes on from.

        Returns its place.
        """
        for place in passed:
            self._all.pop(place, None)
        self._added += 1
        self._all[self._added] = sent
        if len(self._all) > KEPT:
            del self._all[next(iter(self._all))]
        return self._added

    def extend(self, place: int, sent: Sent) -> None:
        """Puts a longer sequence in a place, or beside one that was extended already."""
        known = self._all.get(place)
        if known and not known.rest:
            self._all[place] = sent
        else:
            self.add(sent, ())

    def shared(self, ids: list[int]) -> tuple[int, list[int]]:
        """Returns the length of the longest beginning that a sequence has, too.

        With it go the places of the sequences that are beginnings themselves, as far as they were compared. These are looked for first,
        because one comparison finds them.
        """
        longest, passed, size = 0, list[int](), len(ids)
        for place, other in reversed(self._all.items()):  # the last token first: siblings differ at their ends
            if longest < other.size <= size and ids[other.size - 1] == other.last and other.begins(ids):
                longest = other.size
                passed.append(place)
        for other in reversed(self._all.values()):
            if longest < other.size and longest < size and other.at(longest) == ids[longest]:
                longest = other.shared(ids, longest)
        return longest, passed


def _common(one: list[int], other: list[int]) -> int:
    """Returns the length of the common beginning, by halving.

    Slices are compared faster than tokens.
    """
    for short, long in ((other, one), (one, other)):
        if long[: len(short)] == short:
            return len(short)
    low, high = 0, min(len(one), len(other))
    while high - low > 1:  # the first `low` are alike, the first `high` are not
        middle = (low + high) // 2
        low, high = (middle, high) if one[low:middle] == other[low:middle] else (low, middle)
    return low


def _as_list(ids: Ids) -> list[int]:
    """Returns ids as a list, which other lists can be compared with; a list as it is."""
    return ids if isinstance(ids, list) else list(ids)
