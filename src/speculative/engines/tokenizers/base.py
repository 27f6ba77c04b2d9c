"""What every vocabulary that is read from a file has: its tokens' bytes and its markers."""

from __future__ import annotations

import hashlib
import json
from difflib import get_close_matches
from pathlib import Path

from speculative.engines.base import Ids
from speculative.errors import UnknownMarker, UsageError

SHOWN = 12
"""Markers that an error lists."""


class TokenTable:
    """The tokens of a `tokenizer.json`: `_bytes` says what each id stands for, `markers` are those that stand for no text."""

    path: Path
    markers: dict[str, int]
    _bytes: dict[int, bytes]
    _fingerprint: str = ""

    @property
    def fingerprint(self) -> str:
        """Hash of every id with its bytes, and of every marker with its id; computed when it is first asked for."""
        if not self._fingerprint:
            texts = [(number, token.hex()) for number, token in sorted(self._bytes.items())]
            self._fingerprint = hashlib.sha256(json.dumps([texts, sorted(self.markers.items())]).encode()).hexdigest()[:32]
        return self._fingerprint

    def marker(self, text: str) -> int:
        """The id of a marker."""
        try:
            return self.markers[text]
        except KeyError:
            raise UnknownMarker(
                f"{self.path}: no marker {text!r} (known: {_some(self.markers, text)}); the dialect belongs to another model"
            ) from None

    def to_bytes(self, ids: Ids) -> bytes:
        """The exact bytes of the ids; markers and padding give nothing."""
        try:
            return b"".join(map(self._bytes.__getitem__, ids))
        except KeyError:  # a marker is among them
            return b"".join([self._bytes.get(number, b"") for number in ids])


def _some(markers: dict[str, int], text: str) -> str:
    """Lists a dozen markers, the most alike first: a vocabulary may have thousands."""
    alike = get_close_matches(text, markers, SHOWN, 0.0)
    more = len(markers) - len(alike)
    return (", ".join(alike) or "none") + (f", and {more} more" if more else "")


def check_whole(text: str) -> None:
    """Raises `UsageError` for a lone surrogate, which no bytes can say."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = f"U+{ord(text[error.start]):04X}"
        raise UsageError(f"the text has half a character ({half}) at {error.start}; give valid Unicode") from None
