"""What was cut off a row: the keys and values of a tail that was rewound, kept in case somebody comes back to it."""

from __future__ import annotations

from collections import OrderedDict

from speculative.engines.local.model import Ints
from speculative.engines.local.weights import Array

Twig = tuple[int, bytes, Array]  # where it begins, all tokens from the row's beginning (int32), keys and values from there on


class Twigs:
    """At most `budget` bytes of tails; the least recently used goes first. A twig fits any row that holds what it grew on."""

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._twigs: OrderedDict[bytes, Twig] = OrderedDict()
        self.nbytes = 0

    def keep(self, tokens: Ints, start: int, kv: Array) -> None:
        """Store the tail of `tokens` from `start` on; `kv` [.., len(tokens) - start, ..] is copied."""
        name = tokens.tobytes()
        if kv.nbytes > self._budget or name in self._twigs:
            return
        self._twigs[name] = (start, name, kv.copy())
        self.nbytes += kv.nbytes
        while self.nbytes > self._budget:
            _, (_, _, oldest) = self._twigs.popitem(last=False)
            self.nbytes -= oldest.nbytes

    def find(self, ids: Ints, shared: int, most: int) -> tuple[int, Array] | None:
        """The twig that takes a row holding ids[:shared] furthest, to `end` <= most: (end, keys and values of shared..end)."""
        if most <= shared:
            return None
        wanted, next_one = ids.tobytes(), 4 * (shared + 1)
        head = wanted[:next_one]
        best, found = shared, None
        for start, name, kv in self._twigs.values():
            if start <= shared and name[:next_one] == head:
                end = agreement(name, wanted, shared + 1, min(len(name) // 4, most))
                if end > best:
                    best, found = end, (name, kv[:, :, shared - start : end - start])
        if found is None:
            return None
        self._twigs.move_to_end(found[0])
        return best, found[1]


def agreement(one: bytes, other: bytes, low: int, high: int) -> int:
    """How many int32 both begin with, when the first `low` agree and no more than `high` count."""
    while low < high:
        middle = (low + high + 1) // 2
        if one[4 * low : 4 * middle] == other[4 * low : 4 * middle]:
            low = middle
        else:
            high = middle - 1
    return low
