"""Standard output and files: text, tables, JSON, and files written whole."""

from __future__ import annotations

import io
import os
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType

from speculative.errors import SpeculativeError, UsageError

CHAIN_WIDTH = 100
"""Columns of a chain at most: longer lines are hard to read."""

TABLE_WIDTH = 80
"""Columns of a table of numbers at least."""


class PipeAwareConsole(Console):
    """A console that raises `BrokenPipeError`, which has an exit code of its own."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def open_console() -> Console:
    """Returns the console of standard output.

    Without a terminal it writes no control codes.
    """
    _replace_unencodable()
    console = PipeAwareConsole(highlight=False, markup=False, emoji=False)
    console.width = min(console.width, CHAIN_WIDTH) if console.is_terminal else CHAIN_WIDTH
    return console


def print_uncropped(console: Console, part: RenderableType) -> None:
    """Prints a table, beyond the screen's edge if necessary.

    A number that is cut off would read as another number.
    """
    width, asked = console.width, os.environ.get("COLUMNS", "")
    piped = int(asked) if asked.isdecimal() else TABLE_WIDTH
    console.width = max(width if console.is_terminal else piped, TABLE_WIDTH)
    console.print(part, crop=False)
    console.width = width


def write_line(text: str) -> None:
    """Writes a line to standard output as it is."""
    _replace_unencodable()
    sys.stdout.write(f"{text}\n")


def write_json(value: Any) -> None:
    """Writes one JSON value to standard output."""
    import msgspec

    write_line(msgspec.json.encode(value).decode())


def check_writable(path: Path) -> None:
    """Checks that a file can be written, before any token is spent.

    Raises `SpeculativeError`.
    """
    if str(path) == "-":
        raise UsageError("a file to write must have a name, got -; name a file")
    if path.is_dir():
        raise SpeculativeError(f"{path} is a folder; name a file in it")
    try:
        if path.exists():
            with path.open("ab"):
                return
        with tempfile.TemporaryFile(dir=path.parent):
            return
    except OSError as error:
        raise SpeculativeError(f"{path} cannot be written: {error.strerror}; name another file") from None


def write_file(path: Path, data: bytes | Iterable[bytes], content: str) -> None:
    """Writes the whole file or nothing.

    `content` names it in the error. Raises `SpeculativeError`.
    """
    from speculative import files

    try:
        files.write_file(path, data)
    except OSError as error:
        raise SpeculativeError(f"{path}: {error.strerror}; the {content} is not saved, nothing was written there") from None


def _replace_unencodable() -> None:
    """Shows characters that the output cannot encode as `?`."""
    output: Any = sys.stdout
    if isinstance(output, io.TextIOWrapper):
        output.reconfigure(errors="replace")
