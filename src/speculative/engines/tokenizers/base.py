"""What every vocabulary that is read from a file has: its tokens' bytes and its markers."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from speculative.engines.base import Ids
from speculative.errors import UnknownMarker, UsageError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

LONG_TEXT = 4096
"""Characters from which on `encode_text` lets other threads run meanwhile."""


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
            known = ", ".join(self.markers) or "none"
            raise UnknownMarker(f"{self.path}: no marker {text!r} (known: {known}); the dialect belongs to another model") from None

    def to_bytes(self, ids: Ids) -> bytes:
        """The exact bytes of the ids; markers and padding give nothing."""
        try:
            return b"".join(map(self._bytes.__getitem__, ids))
        except KeyError:  # a marker is among them
            return b"".join([self._bytes.get(number, b"") for number in ids])


def check_whole(text: str) -> None:
    """Raises `UsageError` for a lone surrogate, which no bytes can say."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = f"U+{ord(text[error.start]):04X}"
        raise UsageError(f"the text has half a character ({half}) at {error.start}; give valid Unicode") from None


def encode_text(tokenizer: Tokenizer, text: str) -> list[int]:
    """Encodes plain text. A long text does not hold the interpreter's lock meanwhile."""
    if len(text) < LONG_TEXT:
        return tokenizer.encode(text, add_special_tokens=False).ids
    return tokenizer.encode_batch_fast([text], add_special_tokens=False)[0].ids  # `encode` holds the lock for seconds a megabyte
