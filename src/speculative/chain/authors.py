"""Finds the line of a method's author in an error."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from pathlib import Path
from sysconfig import get_paths
from traceback import extract_tb
from types import FrameType

LIBRARY = Path(__file__).parents[1]
INSTALLED = frozenset(("site-packages", "dist-packages"))

Place = tuple[str, int]
"""A file and a line in it."""


def is_authors(filename: str, homes: Iterable[Path] = ()) -> bool:
    """Returns True if a file belongs to an author of methods.

    Such a file is in one of `homes`, or it is not installed. `homes`: files and folders that count as the author's wherever they lie.
    """
    file = Path(filename)
    if any(file.is_relative_to(home) for home in homes):
        return True
    if filename.startswith("<frozen ") or file.is_relative_to(LIBRARY) or not INSTALLED.isdisjoint(file.parts):
        return False
    return not any(file.is_relative_to(get_paths()[kind]) for kind in ("stdlib", "platstdlib"))


def home_of(filename: str) -> Path:
    """Returns the package of an installed file, or the file itself."""
    file = Path(filename)
    place = next((place for place, part in enumerate(file.parts) if part in INSTALLED), None)
    return file if place is None else Path(*file.parts[: place + 2])


def line_of(error: BaseException, homes: Iterable[Path] = ()) -> Place | None:
    """Returns the last line in the author's files that an error passed through."""
    own = [frame for frame in extract_tb(error.__traceback__) if is_authors(frame.filename, homes)]
    return (own[-1].filename, own[-1].lineno or 0) if own else None


def line_at_work() -> Place | None:
    """Returns the author's line that is being executed."""
    frame: FrameType | None = inspect.currentframe()
    while frame and not is_authors(frame.f_code.co_filename):
        frame = frame.f_back
    place = (frame.f_code.co_filename, frame.f_lineno) if frame else None
    del frame  # a frame keeps all that its function holds
    return place
