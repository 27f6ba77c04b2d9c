"""What a hand-over costs on real servers: the time to the first token after it, and the tokens that are computed again.

    python bench/handover.py --url http://127.0.0.1:8000/v1 [--tokenizer FOLDER] [--repeats 7] [--out handover.json]

One model has written so many tokens; now the other goes on. `cold`: it has seen none of them. `warm`: `Chain.warm` gave it all but the last
step while the first one wrote. `cached`: it has just seen exactly this prefix, which is the best that its server can do.
Times are medians in milliseconds, over HTTP, one call at a time; a fresh text for each, so that nothing is cached by chance.
"""

import argparse
import asyncio
import json
import random
import statistics
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from speculative.engines.base import Decoding, Tally
from speculative.engines.openai import OpenAIEngine

SIZES = (500, 1000, 2000, 4000, 8000)
STEP = 24
"""Tokens of the last step, which a model that was warmed has not seen."""


async def first_token(engine, prefix):
    """Milliseconds to the first token, and how many tokens of the prefix were computed."""
    tally, start, first = Tally(), time.perf_counter(), None
    async for _ in engine.stream(prefix, Decoding(1), key="handover", tally=tally):
        first = first or time.perf_counter()
    return 1000 * (first - start), tally.prompt_tokens - tally.cached_tokens


async def measure(engine, size, repeats):
    """One row: cold, warm and cached, in turn for each text."""
    draws, rows = random.Random(size), {"cold": [], "warm": [], "cached": []}
    ordinary = engine.vocabulary.encode("So there are 3 boxes of 12 pens, then 4 more come and he gives 5 away, what is left of it?\n\n")
    for _ in range(repeats):
        for kind in rows:
            prefix = [draws.choice(ordinary) for _ in range(size)]
            if kind != "cold":
                await first_token(engine, prefix if kind == "cached" else prefix[:-STEP])
            rows[kind].append(await first_token(engine, prefix))
    return {
        kind: {"ms": statistics.median(ms for ms, _ in found), "recomputed": statistics.median(n for _, n in found)}
        for kind, found in rows.items()
    }


async def main(given):
    engine = await OpenAIEngine.connect(given.url, tokenizer=given.tokenizer)
    sizes = [size for size in SIZES if size < engine.context]
    await measure(engine, 64, 2)
    rows = {size: await measure(engine, size, given.repeats) for size in sizes}
    await engine.aclose()
    table = Table("tokens", *(f"{kind} {unit}" for kind in ("cold", "warm", "cached") for unit in ("ms", "new")), "warm-cached")
    for size, row in rows.items():
        cells = [f"{row[kind][unit]:.{digits}f}" for kind in row for unit, digits in (("ms", 1), ("recomputed", 0))]
        table.add_row(str(size), *cells, f"{row['warm']['ms'] - row['cached']['ms']:.1f}")
    Console().print(f"{engine.name}, {engine.server.kind} {engine.server.version}, {given.repeats} repeats")
    Console().print(table)
    if given.out:
        given.out.write_text(
            json.dumps({"engine": engine.name, "server": f"{engine.server.kind} {engine.server.version}", "rows": rows}, indent=1)
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", required=True)
    parser.add_argument("--tokenizer")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--out", type=Path)
    asyncio.run(main(parser.parse_args()))
