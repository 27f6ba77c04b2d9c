"""Server-sent events: what arrives, cut into payloads, and who makes something of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

DONE = b"[DONE]"

T_co = TypeVar("T_co", covariant=True)


class Reader(Protocol[T_co]):
    """Makes something of the payloads of one answer."""

    @property
    def over(self) -> bool:
        """Whether all that matters is here, however the answer ends."""
        ...

    def take(self, payloads: Sequence[bytes]) -> T_co | None: ...
    def end(self) -> T_co | None:
        """The answer is over. Raises if it should not be."""
        ...


class Payloads:
    """Cuts what arrives into the payloads of server-sent events. Comments and other fields give nothing."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The payloads that are whole now."""
        if not self._rest and data[:6] == b"data: " and data.find(b"\n") == len(data) - 2 and data[-1:] == b"\n":
            return [data[6:-2].strip()]  # one event, as it nearly always is while a text is written
        *lines, self._rest = (self._rest + data if self._rest else data).split(b"\n")
        return [line[5:].strip() for line in lines if line[:5] == b"data:"]
