"""Finds stop strings in streamed text."""

from __future__ import annotations

from collections.abc import Sequence


class StopFilter:
    """Passes text on up to a stop string, and holds back a possible beginning of one.

    `strip` leaves out white space at both ends of the whole text. `done`: a stop string was found.
    """

    def __init__(self, stops: Sequence[str], *, strip: bool) -> None:
        self.done = False
        self._stops, self._strip = tuple(stops), strip
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
        if places := [place for stop in self._stops if (place := held.find(stop)) >= 0]:
            self.done, self._held, held = True, "", held[: min(places)]
            return held.rstrip() if self._strip else held
        certain = held[: len(held) - max((_overlap(held, stop) for stop in self._stops), default=0)]
        certain = certain.rstrip() if self._strip else certain
        self._held = held[len(certain) :]
        return certain

    def end(self) -> str:
        """Returns the text that was held back."""
        rest, self._held, self.done = self._held, "", True
        return rest.rstrip() if self._strip else rest


def _overlap(text: str, stop: str) -> int:
    """Counts the characters at the end of a text with which a stop string begins."""
    return next((size for size in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:size])), 0)
