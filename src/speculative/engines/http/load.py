"""Reads the load of a model server from its Prometheus page."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress

from msgspec import Struct

RUNNING = ("vllm:num_requests_running", "sglang:num_running_reqs", "llamacpp:requests_processing")
WAITING = ("vllm:num_requests_waiting", "sglang:num_queue_reqs", "llamacpp:requests_deferred")
FIRST_TOKEN = ("vllm:time_to_first_token_seconds", "sglang:time_to_first_token_seconds")
MOST = 1e12
"""A number on a page is taken if it is below this."""
_CACHE = re.compile(r"vllm:cache_config_info\{[^\n]*\}")
_LABEL = re.compile(r'(\w+)="(\d+)"')
_SAMPLE = re.compile(r"^([\w:]+)(?:\{.*\})? ([^ \n]+)", re.MULTILINE)


class ServerLoad(Struct, frozen=True):
    """The load of a server, or of all replicas of one together.

    Attributes:
        running: requests that it works on.
        waiting: requests in its queue.
        first_token_s: seconds to the first token of all requests so far, added up.
        first_tokens: the number of those requests.
        cache_tokens: tokens that its cache can hold, 0 if it does not say.
        block: tokens of a block of its cache, 0 if it does not say.
    """

    running: float
    waiting: float
    first_token_s: float = 0.0
    first_tokens: float = 0.0
    cache_tokens: int = 0
    block: int = 0


def read_load(page: str) -> ServerLoad | None:
    """Returns the load on a page of metrics, or None if the page does not tell it."""
    found: dict[str, float] = {}
    for name, text in _SAMPLE.findall(page):
        with suppress(ValueError):
            if 0 <= (value := float(text)) < MOST:  # no load is negative, infinite or no number
                found[name] = found.get(name, 0.0) + value
    running = _first(found, RUNNING)
    if running is None:
        return None
    labels = dict(_LABEL.findall(cache[0])) if (cache := _CACHE.search(page)) else {}
    block, blocks = (int(labels.get(name, 0)) for name in ("block_size", "num_gpu_blocks"))
    if block * blocks >= MOST:
        block = blocks = 0
    return ServerLoad(
        running,
        _first(found, WAITING) or 0.0,
        _first(found, (f"{name}_sum" for name in FIRST_TOKEN)) or 0.0,
        _first(found, (f"{name}_count" for name in FIRST_TOKEN)) or 0.0,
        block * blocks,
        block,
    )


def add_loads(loads: Iterable[ServerLoad]) -> ServerLoad | None:
    """Returns the load of replicas together, or None without any."""
    known = list(loads)
    if not known:
        return None
    totals = [sum(getattr(one, name) for one in known) for name in ServerLoad.__struct_fields__[:5]]
    return ServerLoad(totals[0], totals[1], totals[2], totals[3], int(totals[4]), known[0].block)


def _first(found: dict[str, float], names: Iterable[str]) -> float | None:
    return next((found[name] for name in names if name in found), None)
