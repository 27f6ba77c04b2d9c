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
        self._strings = frozenset(text.encode() for text in strings if text)
        self._sizes = sorted({len(text) for text in self._strings})
        self.flags: NDArray[np.uint8] = np.zeros(size, np.uint8)
        if self._strings:
            texts = [tokenizer.to_bytes([token]) for token in range(size)]
            longest = max(map(len, texts))
            tails = {stop[-count:] for stop in self._strings for count in range(1, min(len(stop), longest) + 1)}
            for token, text in enumerate(texts):
                self.flags[token] = STRING * (self._ends_in(text, 0) or any(text[:count] in tails for count in range(1, len(text) + 1)))
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
        while first >= 0 and len(text) < last + max(self._sizes, default=0) - 1:
            text = self._tokenizer.to_bytes(ids[first : first + 1]) + text
            first -= 1
        return self._ends_in(text, len(text) - last)

    def _ends_in(self, text: bytes, start: int) -> bool:
        """Returns whether a stop string ends in the bytes from `start` on."""
        ends = range(start + 1, len(text) + 1)
        return any(text[end - size : end] in self._strings for end in ends for size in self._sizes if size <= end)
