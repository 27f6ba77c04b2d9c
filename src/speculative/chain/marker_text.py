"""Special tokens of the thinking that are text where a model writes them."""

from __future__ import annotations

from collections.abc import Mapping

from speculative.engines.base import Ids, Tokenizer


class MarkerText:
    """Reads a tokenizer's ids, and spells the markers out.

    The bytes of any other token are the tokenizer's own.

    Args:
        markers: The ids of the markers, and their texts.
    """

    def __init__(self, tokenizer: Tokenizer, markers: Mapping[int, str]) -> None:
        self._to_bytes = tokenizer.to_bytes
        self._markers = {number: text.encode() for number, text in markers.items()}

    def to_bytes(self, ids: Ids) -> bytes:
        """Returns the exact bytes of the ids, in which a marker has those of its text."""
        markers = self._markers
        if markers.keys().isdisjoint(ids):
            return self._to_bytes(ids)
        parts, start = list[bytes](), 0
        for place, number in enumerate(ids):
            if number in markers:
                parts += [self._to_bytes(ids[start:place]), markers[number]]
                start = place + 1
        return b"".join([*parts, self._to_bytes(ids[start:])])
