"""Holds events and text of calls until a stream takes them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec import structs

from speculative.trace.events import TextDelta

ChainPath = tuple[int, ...]
"""The way to a chain: the numbers of its children."""


class LiveNews:
    """Holds events and text of calls in their order.

    Text of one call is joined until the next event.
    """

    def __init__(self) -> None:
        self._items: list[tuple[ChainPath, Any]] = []
        self._open: dict[tuple[ChainPath, int, str], int] = {}

    def add_events(self, happened: Iterable[tuple[ChainPath, Any]]) -> None:
        """Adds events with the way to their chain."""
        before = len(self._items)
        self._items += happened
        if len(self._items) > before:
            self._open.clear()

    def add_text(self, delta: TextDelta) -> None:
        """Adds new text of a call."""
        place = self._open.setdefault((delta.chain, delta.draft, delta.role), len(self._items))
        if place == len(self._items):
            self._items.append((delta.chain, delta))
        else:
            text = self._items[place][1].text + delta.text
            self._items[place] = (delta.chain, structs.replace(delta, text=text))

    def take(self) -> list[tuple[ChainPath, Any]]:
        """Returns what was added, once."""
        taken, self._items = self._items, []
        self._open.clear()
        return taken
