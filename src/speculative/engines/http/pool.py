"""One pooled HTTP client for an event loop, shared by all who call servers from it."""

from __future__ import annotations

import asyncio
from weakref import WeakSet

import aiohttp

KEEP_ALIVE = 3.0
"""Seconds for which an idle connection is kept. Servers drop theirs after 5: a call must not meet a connection that is just closing."""


class _Pool:
    def __init__(self, client: aiohttp.ClientSession) -> None:
        self.client = client
        self.users: WeakSet[object] = WeakSet()


_POOLS: dict[asyncio.AbstractEventLoop, _Pool] = {}


def session(user: object) -> aiohttp.ClientSession:
    """The client of the running loop; the user is to `leave` it."""
    loop = asyncio.get_running_loop()
    for other in [other for other in _POOLS if other.is_closed()]:
        del _POOLS[other]
    pool = _POOLS.get(loop)
    if pool is None:
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE)
        pool = _POOLS[loop] = _Pool(aiohttp.ClientSession(connector=connector, read_bufsize=1 << 18))
    pool.users.add(user)
    return pool.client


async def leave(user: object) -> None:
    """The last one out closes the client."""
    loop = asyncio.get_running_loop()
    pool = _POOLS.get(loop)
    if pool is None:
        return
    pool.users.discard(user)
    if not pool.users:
        del _POOLS[loop]
        await pool.client.close()
