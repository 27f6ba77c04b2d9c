"""Writes to standard output (text, tables, JSON), and writes whole files."""

from __future__ import annotations

import inspect
import io
import os
import re
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType

from speculative.errors import SpeculativeError, UsageError

CHAIN_WIDTH = 100
"""The largest width of a chain in columns."""

WIDEST = 1000
"""The largest width of a table that is printed whole."""

TABLE_WIDTH = 80
"""The smallest width of a table in columns."""


LINE_END = re.compile(r"(?<=\S)\n(?=\S)(?!(?:Cost|Source): )")
"""A line's end within a paragraph of a docstring."""


class PipeAwareConsole(Console):
    """A console that raises `BrokenPipeError`, which has an exit code of its own."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def join_lines(described: object) -> str:
    """Returns a docstring with one line for each paragraph.

    The terminal breaks the lines at its own width.
    """
    return LINE_END.sub(" ", inspect.cleandoc(described.__doc__ or ""))


def open_console() -> Console:
    """Returns the console of standard output."""
    _replace_unencodable()
    console = PipeAwareConsole(highlight=False, markup=False, emoji=False)
    console.width = min(console.width, CHAIN_WIDTH) if console.is_terminal else CHAIN_WIDTH
    return console


def print_uncropped(console: Console, part: RenderableType) -> None:
    """Prints a table without cutting off its numbers."""
    width, asked = console.width, os.environ.get("COLUMNS", "")
    piped = int(asked) if asked.isdecimal() else TABLE_WIDTH
    console.width = max(width if console.is_terminal else piped, TABLE_WIDTH)
    console.print(part, crop=False)
    console.width = width


def print_whole(console: Console, table: RenderableType) -> None:
    """Prints a table in its own width, also if the terminal is narrower."""
    width = console.width
    console.width = WIDEST
    console.width = max(width, console.measure(table).maximum)
    console.print(table, crop=False)
    console.width = width


def write_line(text: str) -> None:
    """Writes a line to standard output."""
    _replace_unencodable()
    sys.stdout.write(f"{text}\n")


def write_json(value: Any) -> None:
    """Writes one JSON value to standard output."""
    import msgspec

    write_line(msgspec.json.encode(value).decode())


def check_writable(path: Path) -> None:
    """Raises `SpeculativeError` if a file cannot be written."""
    if str(path) == "-":
        raise UsageError("a file to write must have a name, got -; name a file")
    if path.is_dir():
        raise SpeculativeError(f"{path} must be a file, got a folder; name a file in it")
    try:
        if path.exists():
            with path.open("ab"):
                return
        with tempfile.TemporaryFile(dir=path.parent):
            return
    except OSError as error:
        raise SpeculativeError(f"{path} cannot be written: {error.strerror}; name another file") from None


def write_file(path: Path, data: bytes | Iterable[bytes], content: str) -> None:
    """Writes a whole file or nothing.

    Raises `SpeculativeError` that names the `content`.
    """
    from speculative import files

    try:
        files.write_file(path, data)
    except OSError as error:
        raise SpeculativeError(f"{path}: {error.strerror}; the {content} is not saved") from None


def _replace_unencodable() -> None:
    """Shows characters that the output cannot encode as `?`."""
    output: Any = sys.stdout
    if isinstance(output, io.TextIOWrapper):
        output.reconfigure(errors="replace")
