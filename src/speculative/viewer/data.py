"""Packs data into a page, as deflated JSON in base64.

A page holds thousands of chains and shows a few, so each chain is a block of its own.
"""

from __future__ import annotations

import binascii
import zlib
from typing import Any

import msgspec

LEVEL = 9
"""The compression level of zlib."""


def pack(value: Any) -> bytes:
    """Returns base64 of the deflated JSON, which is safe in a page for every value."""
    return binascii.b2a_base64(zlib.compress(msgspec.json.encode(value), LEVEL), newline=False)
