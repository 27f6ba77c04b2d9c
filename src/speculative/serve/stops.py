"""Stop strings in streamed text."""

from __future__ import annotations

from collections.abc import Sequence


class StopFilter:
    """Passes text on up to a stop string, and holds back what may be the beginning of one.

    `strip` leaves out white space at both ends of the whole text. `done`: a stop string was found.
    """

    def __init__(self, stops: Sequence[str], *, strip: bool) -> None:
        self.done = False
        self._stops = tuple(stops)
        self._strip = strip
        self._held = ""
        self._begun = not strip

    @classmethod
    def cut(cls, text: str, stops: Sequence[str], *, strip: bool) -> str:
        """Filters a whole text."""
        stop_filter = cls(stops, strip=strip)
        return stop_filter.add(text) + stop_filter.end()

    def add(self, text: str) -> str:
        """Takes new text and returns the text that is certain."""
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
        size = len(held) - self._stop_prefix(held)
        if self._strip:
            size = len(held[:size].rstrip())
        self._held = held[size:]
        return held[:size]

    def end(self) -> str:
        """Returns the text that was held back."""
        rest, self._held, self.done = self._held, "", True
        return rest.rstrip() if self._strip else rest

    def _stop_prefix(self, text: str) -> int:
        """Counts the characters at the end that may begin a stop string."""
        longest = 0
        for stop in self._stops:
            for size in range(min(len(stop) - 1, len(text)), longest, -1):
                if text.endswith(stop[:size]):
                    longest = size
                    break
        return longest
