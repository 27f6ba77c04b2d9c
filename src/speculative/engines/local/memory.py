"""Finds the memory that a bundled engine may use."""

from __future__ import annotations

from pathlib import Path

from psutil import virtual_memory

CACHE_BYTES = (512 << 20, 3 << 30)
"""The least and the most bytes of a cache whose size was not given. Too small, it computes the prompts of many chains again and again."""
CACHE_SHARE = 0.125
"""A cache whose size was not given takes this share of the free memory: two or three engines usually share it."""
CGROUPS = Path("/sys/fs/cgroup")
CONTAINER_FILES = (("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"))
"""The files with the limit and the use of a container, of both versions of cgroups. The machine's free memory ignores the limit."""


def default_cache_bytes() -> int:
    """Returns the bytes of a cache whose size was not given."""
    least, most = CACHE_BYTES
    return min(most, max(least, int(free_memory() * CACHE_SHARE)))


def free_memory() -> int:
    """Returns the free bytes of the machine, or of the container if it has fewer."""
    free = virtual_memory().available
    for limit, used in CONTAINER_FILES:
        try:
            free = min(free, int((CGROUPS / limit).read_text()) - int((CGROUPS / used).read_text()))
        except (OSError, ValueError):  # there is no such file, or its text is `max`
            continue
    return free
