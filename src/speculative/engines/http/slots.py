"""Pins chains to slots of a llama.cpp server, so that each finds its own cache."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager

from msgspec import Struct

ANY = -1
"""The slot number that leaves the choice to the server."""


class Slot(Struct):
    """Describes one slot.

    `chain`: the chain that used it last. `last_call`: the number of its last call, of all calls. `busy`: True while that call goes on.
    """

    number: int
    chain: str | None = None
    last_call: int = 0
    busy: bool = False


class ChainSlots:
    """The slots of one server, each with the text of one chain in its cache.

    The server by itself takes an idle slot whose text begins like the prompt, so chains with one beginning take each other's. Here a chain
    keeps its slot. A new chain gets the slot that was unused for the longest time. If all slots are busy, the server chooses.

    Args:
        count: The number of slots.
        first: The slot of the first chain: another one in each process, since they may share a server.
    """

    def __init__(self, count: int, first: int | None = None) -> None:
        begin = os.getpid() if first is None else first
        self._slots = [Slot((begin + place) % count) for place in range(count)]
        self._calls = 0

    @contextmanager
    def reserve(self, chain: str) -> Generator[int]:
        """Reserves a slot for one call of a chain. Yields its number, or `ANY`."""
        slot = self._find(chain)
        if slot is None:
            yield ANY
            return
        self._calls += 1
        slot.chain, slot.last_call, slot.busy = chain, self._calls, True
        try:
            yield slot.number
        finally:
            slot.busy = False

    def _find(self, chain: str) -> Slot | None:
        idle = [slot for slot in self._slots if not slot.busy]
        own = [slot for slot in idle if slot.chain == chain]
        if own:
            return max(own, key=lambda slot: slot.last_call)
        return min(idle, key=lambda slot: slot.last_call, default=None)
