"""Keeps the tokenizing of long texts off the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from speculative._sync import PerProcess

T = TypeVar("T")

SHORT_TEXT = 4096
"""Characters that are tokenized on the event loop: a few milliseconds of work."""
LONG_TEXT = 1 << 16
"""Characters above which one text is tokenized at a time, so that long texts do not take all cores."""

_one_at_a_time = PerProcess(lambda: ThreadPoolExecutor(1, "speculative-tokenizer"))


async def tokenize_off_loop(characters: int, work: Callable[[], T]) -> T:
    """Tokenizes a short text here, and a longer one in a thread."""
    if characters <= SHORT_TEXT:
        return work()
    executor = _one_at_a_time() if characters > LONG_TEXT else None
    return await asyncio.get_running_loop().run_in_executor(executor, work)
