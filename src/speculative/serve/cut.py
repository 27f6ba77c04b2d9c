"""Text up to a stop string, as it comes in: what may be the beginning of one is held back until that is clear."""

from __future__ import annotations

from collections.abc import Sequence


class Cut:
    """`add` gives what is certain, `end` the rest. `strip` leaves out white space at both ends of the whole text."""

    def __init__(self, stops: Sequence[str], *, strip: bool) -> None:
        self.done = False
        self._stops = tuple(stops)
        self._strip = strip
        self._held = ""
        self._begun = not strip

    @classmethod
    def all(cls, text: str, stops: Sequence[str], *, strip: bool) -> str:
        cut = cls(stops, strip=strip)
        return cut.add(text) + cut.end()

    def add(self, text: str) -> str:
        if self.done:
            return ""
        held = self._held + text
        if not self._begun:
            held = held.lstrip()
            self._begun = bool(held)
        places = [place for stop in self._stops if (place := held.find(stop)) >= 0]
        if places:
            self.done, self._held, held = True, "", held[: min(places)]
            return held.rstrip() if self._strip else held
        size = len(held) - self._maybe(held)
        if self._strip:
            size = len(held[:size].rstrip())
        self._held = held[size:]
        return held[:size]

    def end(self) -> str:
        rest, self._held, self.done = self._held, "", True
        return rest.rstrip() if self._strip else rest

    def _maybe(self, text: str) -> int:
        """How many characters at the end may be the beginning of a stop string."""
        longest = 0
        for stop in self._stops:
            for size in range(min(len(stop) - 1, len(text)), longest, -1):
                if text.endswith(stop[:size]):
                    longest = size
                    break
        return longest
