"""Reads lists of words from a method's parameter, and counts them in texts."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Annotated

from pydantic import AfterValidator


def split_words(listed: str) -> tuple[str, ...]:
    """Returns the words of a list with semicolons between them."""
    return tuple(word for part in listed.split(";") if (word := part.strip()))


def check_words(listed: str) -> str:
    """Returns a list of fields. Raises `ValueError` if it is empty."""
    if not split_words(listed):
        raise ValueError("must hold at least one field")
    return listed


FieldList = Annotated[str, AfterValidator(check_words)]
"""A list of fields, with semicolons between them."""


def count_words(text: str, listed: str) -> int:
    """Counts the places where a word of the list begins in a text.

    Case does not matter. `check` is also found in `checking`.
    """
    pattern = _pattern(listed)
    return len(pattern.findall(text)) if pattern else 0


@lru_cache(256)
def _pattern(listed: str) -> re.Pattern[str] | None:
    words = sorted(split_words(listed), key=len, reverse=True)
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, words))})", re.IGNORECASE) if words else None
