"""Files that a command will write."""

from __future__ import annotations

import tempfile
from pathlib import Path

from speculative.errors import SpeculativeError


def check_writable(path: Path) -> None:
    """Finds out before any token is spent whether a file can be written. Raises `SpeculativeError`."""
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
