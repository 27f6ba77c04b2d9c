"""What is said while servers load."""

from __future__ import annotations

import logging
import sys
import time
from shutil import get_terminal_size

from speculative.cli.errors import warn

PAUSE = 15.0
"""Seconds between two lines where they do not replace each other."""


ENGINES = logging.getLogger("speculative.engines")


class Loading(logging.Handler):
    """Told how far a server is. A terminal shows one line that is gone at the end; a file gets a line now and then.

    What the engines warn of meanwhile is shown as every warning is.
    """

    def __init__(self) -> None:
        super().__init__()
        self._shown = False
        self._said = time.monotonic()

    def __enter__(self) -> Loading:
        ENGINES.addHandler(self)
        return self

    def emit(self, record: logging.LogRecord) -> None:
        self._clear()
        warn(record.getMessage())

    def __call__(self, line: str) -> None:
        if sys.stderr.isatty():
            self._shown = True
            sys.stderr.write(f"\r\033[K{line[: get_terminal_size().columns - 1]}")  # one that wraps could not be taken away again
            sys.stderr.flush()
        elif time.monotonic() - self._said >= PAUSE:
            self._said = time.monotonic()
            sys.stderr.write(f"speculative: {line[:200]}\n")
            sys.stderr.flush()

    def __exit__(self, *_: object) -> None:
        ENGINES.removeHandler(self)
        self._clear()

    def _clear(self) -> None:
        if self._shown:
            self._shown = False
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()
