"""Rules by which the phases of a raw completion become one text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from msgspec import Struct

from speculative.trace.events import Phase
from speculative.trace.state import Piece


class RawText(Struct, frozen=True):
    """Rules by which a raw completion becomes one text.

    `close` gives the text that closes a thinking which ends in a given text, `open` is the text that opens one. `ends`: by role, the ids
    that end a text; None where the prompt opened the thinking, so that an answer follows.
    """

    close: Callable[[str], str]
    open: str
    ends: Mapping[str, frozenset[int]] | None

    def join(self, pieces: Iterable[Piece]) -> str:
        """Returns all pieces as one text."""
        joined = RawJoiner(self)
        return "".join(joined.add(piece.phase, piece.text) for piece in pieces)


class RawJoiner:
    """Joins the texts of one completion as they come."""

    def __init__(self, raw: RawText) -> None:
        self._raw = raw
        self._phase: Phase = "thinking"
        self._last = ""

    def add(self, phase: Phase, text: str) -> str:
        """Returns a text, with the marker before it where a phase begins."""
        if not text:
            return ""
        marker = "" if phase == self._phase else self._raw.open if phase == "thinking" else self._raw.close(self._last)
        self._phase, self._last = phase, text
        return marker + text
