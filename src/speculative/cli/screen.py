"""Standard output: what is drawn on a screen, what is plain text, what is JSON."""

from __future__ import annotations

import io
import sys
from typing import Any

from rich.console import Console, RenderableType

WIDTH = 100
"""Columns of a chain at most: longer lines are hard to read."""

TABLE = 80
"""Columns of a table of numbers at least."""


class Screen(Console):
    """A console that leaves a closed pipe to whoever prints: it has its own exit code."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def screen() -> Console:
    """The console of standard output; no control codes where it is no terminal."""
    _forgive()
    console = Screen(highlight=False, markup=False, emoji=False)
    console.width = min(console.width, WIDTH) if console.is_terminal else WIDTH
    return console


def put_whole(console: Console, part: RenderableType) -> None:
    """Draws it, beyond the screen's edge if it must be: a number that is cut off is another number."""
    width, console.width = console.width, max(console.width, TABLE)
    console.print(part, crop=False)
    console.width = width


def put(text: str) -> None:
    """A line on standard output, as it is."""
    _forgive()
    sys.stdout.write(f"{text}\n")


def put_json(value: Any) -> None:
    """One JSON value on standard output."""
    import msgspec

    put(msgspec.json.encode(value).decode())


def _forgive() -> None:
    """An output that knows few characters shows others as `?` instead of failing."""
    output: Any = sys.stdout
    if isinstance(output, io.TextIOWrapper):
        output.reconfigure(errors="replace")
