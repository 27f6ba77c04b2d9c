"""The tokens of one completion of a tower, and the token at which they end."""

from __future__ import annotations

from typing import Literal

from speculative.engines.base import Authors, Completion, Decoding, Ids, Tokenizer

METHOD = "method"
"""The author of text that no model wrote."""


class WrittenIds:
    """Collects the tokens of a completion with their authors.

    `finish` is set at the token that ends it: a stop id, the last token of a stop string, or the last one that is allowed. Later tokens
    are ignored.
    """

    def __init__(self, tokenizer: Tokenizer, decoding: Decoding) -> None:
        self.ids: list[int] = []
        self.finish: Literal["stop", "end", "length", "context", "loop"] | None = None
        self.end_id: int | None = None
        self._authors: list[tuple[str, int]] = []
        self._tokenizer, self._decoding = tokenizer, decoding
        self._stops = [stop.encode() for stop in decoding.stop]
        self._held = max(map(len, self._stops), default=1) - 1
        self._tail = b""

    def copy(self) -> WrittenIds:
        """Returns a copy, to which more tokens can be added."""
        other = WrittenIds(self._tokenizer, self._decoding)
        other.ids, other.finish, other.end_id = self.ids.copy(), self.finish, self.end_id
        other._authors, other._tail = self._authors.copy(), self._tail
        return other

    @property
    def authors(self) -> Authors:
        """The roles that wrote the tokens, with their numbers."""
        return tuple(self._authors)

    @property
    def completion(self) -> Completion:
        """The tokens as a completion. One without a finish reason was cut off."""
        return Completion(tuple(self.ids), self.finish or "cut", self.end_id, authors=self.authors)

    def add(self, ids: Ids, authors: Authors) -> None:
        """Adds tokens. `authors` has them all, in order."""
        left = iter(ids)
        for author, count in authors:
            for _ in range(count):
                if (token := next(left, None)) is None or self.finish:
                    return
                self._add(token, author)

    def end(self, end_id: int | None, author: str) -> None:
        """Ends the completion with a stop id, if there is one."""
        self.finish, self.end_id = "end", end_id
        if end_id is not None:
            self._credit(author)

    def _add(self, token: int, author: str) -> None:
        if token in self._decoding.stop_ids:
            self.end(token, author)
            return
        self.ids.append(token)
        self._credit(author)
        if self._stops:
            seen = self._tail + self._tokenizer.to_bytes((token,))
            if any(stop in seen for stop in self._stops):
                self.finish = "stop"
                return
            self._tail = seen[-self._held :] if self._held else b""
        if len(self.ids) >= self._decoding.max_tokens:
            self.finish = "length"

    def _credit(self, author: str) -> None:
        if self._authors and self._authors[-1][0] == author:
            self._authors[-1] = (author, self._authors[-1][1] + 1)
        else:
            self._authors.append((author, 1))
