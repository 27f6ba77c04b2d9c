"""The size of a request's body, checked while it is read and before anything is built from it."""

from __future__ import annotations

import re

from speculative.serve.errors import Refusal, Unread

MAX_VALUES = 32_768
"""Names and values in a body at most: a conversation of 256 turns with a hundred tools has about 20,000."""
STRING = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
"""The rest of a string, up to its closing quote or to an escape that is cut in two."""
MARKS = (b",", b":", b"[", b"{")


class BodyMeter:
    """Counts the bytes and the JSON values of one body.

    It finds where strings begin and end and counts what separates values outside them. A streaming parser would also work, but it
    would have to agree with the parser that reads the body afterwards, or a body that only one of them takes would slip through.
    """

    def __init__(self, max_bytes: int, max_values: int = MAX_VALUES) -> None:
        self._max_bytes, self._max_values = max_bytes, max_values
        self._bytes = self._values = 0
        self._in_string = self._escaped = False

    def add(self, data: bytes) -> None:
        """Counts a chunk. Raises `Unread` (413) when the body has too many bytes or values."""
        self._bytes += len(data)
        if self._bytes > self._max_bytes:
            raise Unread(body_too_large(self._max_bytes))
        place, self._escaped = (1 if self._escaped and data else 0), self._escaped and not data
        while place < len(data):
            place = self._skip_string(data, place) if self._in_string else self._count_values(data, place)
            if self._values > self._max_values:
                raise Unread(Refusal(413, f"the body must have at most {self._max_values} values; send less", code="too_many_values"))

    def _skip_string(self, data: bytes, place: int) -> int:
        found = STRING.match(data, place)
        end = found.end() if found else place
        if end < len(data):
            self._escaped = data[end] == ord("\\")  # only as the last byte: its other half begins the next chunk
            self._in_string = self._escaped
        return end + 1

    def _count_values(self, data: bytes, place: int) -> int:
        quote = data.find(b'"', place)
        end = len(data) if quote < 0 else quote
        self._values += (quote >= 0) + sum(data.count(mark, place, end) for mark in MARKS)
        self._in_string = quote >= 0
        return end + 1


def body_too_large(max_bytes: int) -> Refusal:
    """Makes the error for a body of too many bytes."""
    return Refusal(413, f"the body is larger than the {max_bytes} bytes that the service takes", code="body_too_large")
