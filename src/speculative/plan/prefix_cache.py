"""Keeps the books of a simulated server's prefix cache."""

from __future__ import annotations

from collections import OrderedDict

from speculative.plan.calls import PlannedCall

Key = tuple[int, int]
"""A chain and one of its texts that go on side by side."""


class PrefixCache:
    """Holds texts up to a number of tokens, and drops the least recently used one.

    Running calls reserve room, which no other text can take. Their chain's other calls find their prompts here.

    Args:
        tokens: tokens that fit.
        block: tokens of a block; only whole blocks are found.
    """

    def __init__(self, tokens: int, block: int) -> None:
        self.tokens, self.block = tokens, block
        self.reserved = 0
        """Tokens of room that running calls have reserved."""
        self._idle: OrderedDict[Key, int] = OrderedDict()
        self._idle_tokens = 0
        self._running: dict[int, dict[int, int]] = {}
        """The prompts of running calls in tokens, by chain and call."""
        self._branches: dict[int, set[int]] = {}
        """The texts that each chain has had."""

    def remember(self, chain: object, tokens: int) -> None:
        """Puts a text into the cache, as if the chain had been read before."""
        while self._idle and self.reserved + self._idle_tokens + tokens > self.tokens:
            self._idle_tokens -= self._idle.popitem(last=False)[1]
        self._idle[id(chain), 0] = tokens
        self._idle_tokens += tokens
        self._branches.setdefault(id(chain), set()).add(0)

    def begin(self, call: PlannedCall) -> int | None:
        """Reserves room for a call, and returns the cached tokens of its prompt.

        Returns None if there is no room. Texts that were used longest ago are dropped for it, after the look for its own.
        """
        wanted = min(call.prompt + call.room, self.tokens)
        if self.reserved and self.reserved + wanted > self.tokens:
            return None
        self.reserved += wanted
        call.pinned = wanted
        key = id(call.chain), call.branch
        held, found = self._find(call, key)
        self._drop(found)
        self._running.setdefault(key[0], {})[id(call)] = call.prompt
        return min(min(call.known, held) // self.block * self.block, (call.prompt - 1) // self.block * self.block)

    def pass_on(self, before: PlannedCall, call: PlannedCall) -> None:
        """Gives the room of a call to the call that goes on with its stream."""
        call.pinned, before.pinned = before.pinned, 0
        mates = self._running[id(call.chain)]
        del mates[id(before)]
        mates[id(call)] = call.prompt

    def end(self, call: PlannedCall, length: int) -> None:
        """Frees the room of a call. Its text of `length` tokens stays until it is dropped."""
        if not call.pinned:
            return
        self.reserved -= call.pinned
        call.pinned = 0
        key = id(call.chain), call.branch
        mates = self._running[key[0]]
        del mates[id(call)]
        if not mates:
            del self._running[key[0]]
        known = self._idle.get(key, 0)
        self._idle_tokens += max(0, length - known)
        self._idle[key] = max(length, known)
        self._idle.move_to_end(key)
        self._branches.setdefault(key[0], set()).add(call.branch)

    def _find(self, call: PlannedCall, key: Key) -> tuple[int, Key | None]:
        """Returns the known tokens of a call, and the other idle text that has them.

        The call takes over its own idle text.
        Where its own text does not reach, the chain's other texts are looked through: calls side by side have a beginning in common.
        """
        own = self._idle.pop(key, 0)
        self._idle_tokens -= own
        if own >= call.known:
            return own, None
        running = max(own, *self._running.get(key[0], {}).values(), 0)
        others = [other for branch in self._branches.get(key[0], ()) if (other := (key[0], branch)) in self._idle]
        longest = max(others, key=self._idle.__getitem__, default=None)
        if longest is None or self._idle[longest] <= running:
            return running, None
        self._idle.move_to_end(longest)
        return self._idle[longest], longest

    def _drop(self, found: Key | None) -> None:
        """Drops idle texts until all fits, but keeps of the one that was found what fits."""
        while self._idle and self.reserved + self._idle_tokens > self.tokens:
            oldest, tokens = self._idle.popitem(last=False)
            self._idle_tokens -= tokens
            if oldest == found:  # it is the last one
                self._idle[oldest] = self._idle_tokens = self.tokens - self.reserved
