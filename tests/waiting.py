"""Waits in tests for what has no event."""

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], object]) -> None:
    """Waits until a condition holds. Raises `TimeoutError` after a minute."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 (counters of engines and servers have no events)
            await asyncio.sleep(0.001)
