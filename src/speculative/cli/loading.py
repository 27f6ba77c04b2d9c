"""What is said while servers load."""

from __future__ import annotations

import sys
import time

PAUSE = 15.0
"""Seconds between two lines where they do not replace each other."""


class Loading:
    """Told how far a server is. A terminal shows one line that is gone at the end; a file gets a line now and then."""

    def __init__(self) -> None:
        self._shown = False
        self._said = time.monotonic()

    def __enter__(self) -> Loading:
        return self

    def __call__(self, line: str) -> None:
        if sys.stderr.isatty():
            self._shown = True
            sys.stderr.write(f"\r\033[K{line[:120]}")
            sys.stderr.flush()
        elif time.monotonic() - self._said >= PAUSE:
            self._said = time.monotonic()
            sys.stderr.write(f"speculative: {line[:200]}\n")
            sys.stderr.flush()

    def __exit__(self, *_: object) -> None:
        if self._shown:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()
