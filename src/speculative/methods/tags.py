"""Checks the tags between which a small model marks a part of its text."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, ValidationInfo


def check_close_tag(close: str, info: ValidationInfo) -> str:
    """Returns a closing tag. Raises `ValueError` if it is also the opening one."""
    if close == info.data.get("open_tag"):
        raise ValueError(f"must differ from open_tag, got {close!r}")
    return close


CloseTag = Annotated[str, AfterValidator(check_close_tag)]
"""A closing tag beside the field `open_tag`."""
