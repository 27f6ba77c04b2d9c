"""Processor time of many open drafts: rounds of beams, and drafts in a line that are accepted one by one.

    python bench/beams.py [--json FILE]

Engines answer at once. Prints microseconds for one draft; exits with 1 if that grows with the number of drafts (`GROWTH`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

from overhead import Instant, taken

from speculative import Message, Pair, Problem
from speculative.chain.chain import Chain

BEAMS = (16, 64, 256, 1024)
LINES = (100, 400, 1600)
GROWTH = 2.5
"""Times that a draft among the most may cost one among the fewest."""


async def beams(count: int, rounds: int = 6) -> float:
    """Returns the microseconds of a round for each beam: extended by the small model and scored by the big one, half are kept."""
    pair = Pair(Instant("big"), Instant("small"))
    chain = Chain(Problem((Message("user", "6*7?"),), max_tokens=1 << 20), pair)
    kept = await chain.draft("small", count, max_tokens=16)
    start, engines = time.thread_time(), taken(pair)[0]
    for _ in range(rounds):
        grown = await chain.draft("small", after=kept, max_tokens=16)
        judged = await chain.draft("big", after=grown, max_tokens=16, temperature=0, logprobs=True)
        chain.reject(judged[::2])
        kept = [beam for beam in judged[1::2] for _ in range(2)]
    spent = time.thread_time() - start - (taken(pair)[0] - engines)
    await chain.close()
    return spent / rounds / count * 1e6


async def line(count: int) -> float:
    """Returns the microseconds for each of `count` drafts in a line, accepted one by one while the others stay open."""
    pair = Pair(Instant("big"), Instant("small"))
    chain = Chain(Problem((Message("user", "6*7?"),), max_tokens=1 << 20), pair)
    drafts, last = [], None
    for _ in range(count):
        last = await chain.draft("small", after=last, max_tokens=4)
        drafts.append(last)
    start = time.thread_time()
    for draft in drafts:
        await chain.accept(draft, keep_descendants=True)
    spent = time.thread_time() - start
    await chain.close()
    return spent / count * 1e6


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    flags.add_argument("--json", type=Path, help="where the figures go")
    given = flags.parse_args()
    found: dict[str, dict[int, float]] = {}
    for name, measure, sizes in (("beams in a round", beams, BEAMS), ("drafts in a line", line, LINES)):
        work: Any = measure
        found[name] = {size: min(asyncio.run(work(size)) for _ in range(3)) for size in sizes}
        for size, microseconds in found[name].items():
            print(f"{name}: {size:5}  {microseconds:8.1f} µs each")
    if given.json:
        given.json.write_text(json.dumps(found, indent=1))
    sys.exit(found["beams in a round"][BEAMS[-1]] > GROWTH * found["beams in a round"][BEAMS[0]])


if __name__ == "__main__":
    main()
