"""Stop strings, matched on bytes over token boundaries, and stop ids."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from speculative.engines.base import Tokenizer

STRING, ID = 1, 2


class Stops:
    """Finds the end of a decoding.

    `flags` [V] marks tokens that are a stop id or may complete a stop string.
    """

    def __init__(self, strings: tuple[str, ...], ids: tuple[int, ...], tokenizer: Tokenizer, size: int) -> None:
        self._tokenizer = tokenizer
        self._strings = [text.encode() for text in strings if text]
        self._longest = max((len(text) for text in self._strings), default=0)
        self.flags: NDArray[np.uint8] = np.zeros(size, np.uint8)
        if self._strings:
            for token in range(size):
                text = tokenizer.to_bytes([token])
                self.flags[token] = STRING * any(ends_in(stop, text) for stop in self._strings)
        for token in ids:
            if 0 <= token < size:
                self.flags[token] = ID
        self.flag_bytes = self.flags.tobytes()
        self.any = bool(self.flags.any())

    def completed(self, ids: list[int]) -> bool:
        """Returns whether a stop string ends in the last of the ids."""
        text = b""
        first = len(ids) - 1
        last = len(self._tokenizer.to_bytes(ids[-1:]))
        while first >= 0 and len(text) < last + self._longest - 1:
            text = self._tokenizer.to_bytes(ids[first : first + 1]) + text
            first -= 1
        return any(text.rfind(stop) + len(stop) > len(text) - last for stop in self._strings if stop in text)


def ends_in(stop: bytes, token: bytes) -> bool:
    """Returns whether `stop` could end inside a token of these bytes."""
    return stop in token or any(token.startswith(stop[-size:]) for size in range(1, min(len(stop), len(token)) + 1))
