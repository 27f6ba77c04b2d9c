"""Files that a command will write."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

from speculative.errors import SpeculativeError, UsageError
from speculative.files import write_file


def check_writable(path: Path) -> None:
    """Finds out before any token is spent whether a file can be written. Raises `SpeculativeError`."""
    if str(path) == "-":
        raise UsageError("- is not taken as a file to write; name a file")
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


def write(path: Path, data: bytes | Iterable[bytes], what: str) -> None:
    """Writes the whole file or nothing. Raises `SpeculativeError` with its name."""
    try:
        write_file(path, data)
    except OSError as error:
        raise SpeculativeError(f"{path}: {error.strerror}; the {what} is not saved, nothing was written there") from None
