"""Server-sent events: cuts what arrives into payloads, for a reader that makes something of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

DONE = b"[DONE]"
BOM = b"\xef\xbb\xbf"

MAX_LINE = 1 << 24
"""Bytes of one line. The longest true ones hold all ids and log-probabilities of a completion: 100 bytes a token."""

T_co = TypeVar("T_co", covariant=True)


class Reader(Protocol[T_co]):
    """Makes something of the payloads of one answer."""

    @property
    def tokens(self) -> int:
        """How many token ids came so far."""
        ...

    @property
    def over(self) -> bool:
        """True if all that matters has come, however the answer ends."""
        ...

    def restart(self) -> None:
        """Forgets an attempt that failed before its first token."""
        ...

    def take(self, payloads: Sequence[bytes]) -> T_co | None: ...
    def end(self) -> T_co | None:
        """Closes the answer. Raises if it should not be over."""
        ...


class LongLineError(Exception):
    """A line of an event stream is longer than `MAX_LINE`."""


class Payloads:
    """Cuts an event stream into the payloads of its events. Comments, empty events and other fields give nothing."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._begun = False

    def feed(self, data: bytes) -> list[bytes]:
        """Returns the payloads that are whole now. Raises `LongLineError`."""
        if not self._rest and data[:6] == b"data: " and data.find(b"\n") == len(data) - 2 and data[-1:] == b"\n":
            self._begun = True
            return [payload] if (payload := data[6:-2].strip()) else []  # one event, as it nearly always is while a text is written
        end = data.rfind(b"\n") + 1
        if not end:
            self._rest += data
            self._check()
            return []
        lines, self._rest = self._rest + data[:end], bytearray(data[end:])
        self._check()
        if not self._begun:
            self._begun, lines = True, lines.removeprefix(BOM)
        return _payloads(bytes(lines))

    def end(self) -> list[bytes]:
        """Returns what the end of the stream makes whole."""
        return self.feed(b"\n")

    def _check(self) -> None:
        if len(self._rest) > MAX_LINE:
            raise LongLineError(f"a line of more than {MAX_LINE} bytes")


def _payloads(lines: bytes) -> list[bytes]:
    """Finds the payloads in whole lines. Lines that hold none are skipped without being cut out."""
    found: list[bytes] = []
    place = 0 if lines.startswith(b"data:") else _next(lines, 0)
    while place >= 0:
        end = lines.index(b"\n", place)
        if payload := lines[place + 5 : end].strip():
            found.append(payload)
        place = _next(lines, end)
    return found


def _next(lines: bytes, start: int) -> int:
    """Returns where the next line with data begins, or -1."""
    place = lines.find(b"\ndata:", start)
    return place + 1 if place >= 0 else -1
