"""Measures hand-overs on real servers: the time to the first token, and the tokens that are computed again.

    python bench/handover.py --url http://127.0.0.1:8000/v1 [--tokenizer FOLDER] [--repeats 7] [--out handover.json]

One model has written a number of tokens, and the other continues. `cold`: it has read none of them. `warm`: it read all but the last
step while the first one wrote. `cached`: it has just read exactly this prefix, which is the best case of its server.

Then the same in whole chains: a scripted model writes at a steady pace, and the model behind the server reads the text in the background
every N tokens (`prefill_every`; 0: never) until the hand-over.

Times are medians in milliseconds, over HTTP, one call at a time, with a fresh text for each to avoid cache hits.
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

from speculative.chain.chain import Chain
from speculative.engines.base import CallStats, Completion, Decoding, Delta
from speculative.engines.http.engine import OpenAIEngine
from speculative.pair import Pair
from speculative.problem import Problem
from speculative.trace.events import Prefilled

SIZES = (500, 1000, 2000, 4000, 8000)
STEP = 24
"""Tokens of the last step, which a model that was warmed has not seen."""
WORDS = "So there are 3 boxes of 12 pens, then 4 more come and he gives 5 away, what is left of it?"
AT_ONCE = 8


class Typist:
    """An engine that writes random words at a steady pace, in the other one's vocabulary."""

    name, abilities = "typist", frozenset({"continue", "ids", "stream"})

    def __init__(self, like, pace):
        self.tokenizer, self.dialect, self.context = like.tokenizer, like.dialect, 1 << 20
        self._pace, self._draws, self._words = pace, random.Random(), like.tokenizer.encode(WORDS)

    async def complete(self, prefixes, decoding, *, key, stats):
        return [[[delta async for delta in self.stream(prefix, decoding, key=key, stats=stats)][-1].completion] for prefix in prefixes]

    async def stream(self, prefix, decoding, *, key, stats):
        stats.requests += 1
        ids = [self._draws.choice(self._words) for _ in range(decoding.max_tokens)]
        begun = time.perf_counter()
        for place in range(0, len(ids), AT_ONCE):
            await asyncio.sleep(begun + (place + AT_ONCE) / self._pace - time.perf_counter())
            stats.produced_tokens += len(ids[place : place + AT_ONCE])
            yield Delta(tuple(ids[place : place + AT_ONCE]))
        yield Delta((), Completion(tuple(ids), "length"))

    async def aclose(self):
        """Nothing is open."""


async def first_token(engine, prefix):
    """Milliseconds to the first token, and how many tokens of the prefix were computed."""
    stats, start, first = CallStats(), time.perf_counter(), None
    async for _ in engine.stream(prefix, Decoding(1), key="handover", stats=stats):
        first = first or time.perf_counter()
    return 1000 * (first - start), stats.prompt_tokens - stats.cached_tokens


async def measure(engine, size, repeats):
    """One row: cold, warm and cached, in turn for each text."""
    draws, rows = random.Random(), {"cold": [], "warm": [], "cached": []}
    ordinary = engine.tokenizer.encode(WORDS)
    for _ in range(repeats):
        for kind in rows:
            prefix = [draws.choice(ordinary) for _ in range(size)]
            if kind != "cold":
                await first_token(engine, prefix if kind == "cached" else prefix[:-STEP])
            rows[kind].append(await first_token(engine, prefix))
    return {kind: medians(found) for kind, found in rows.items()}


async def chain_handover(engine, size, every, pace):
    """Milliseconds that the first call of the other model takes in a chain, the tokens that it computed, and how often it was warmed."""
    pair = Pair(engine, Typist(engine, pace if every else 1e9))
    chain = Chain(Problem.of("Go on.", seed=random.getrandbits(40), max_tokens=2 * size + 4096, prefill_every=every), pair)
    await chain.write("small", max_tokens=size)
    start = time.perf_counter()
    await chain.write("big", max_tokens=1)
    taken = 1000 * (time.perf_counter() - start)
    call = chain.trace.events[-1].call
    await chain.close()
    return taken, call.prompt_tokens - call.cached_tokens, sum(isinstance(event, Prefilled) for event in chain.trace)


async def in_chains(engine, size, given):
    """One row: for each `prefill_every`, in turn."""
    rows = {every: [] for every in given.every}
    for _ in range(given.repeats):
        for every, found in rows.items():
            found.append(await chain_handover(engine, size, every, given.pace))
    return {every: medians(found) for every, found in rows.items()}


def medians(found):
    """Of milliseconds, tokens computed again, and warm-ups."""
    return dict(zip(("ms", "recomputed", "warm_ups"), map(statistics.median, zip(*found, strict=True)), strict=False))


def table(rows, heads, title):
    made = Table("tokens", *(f"{head} {unit}" for head in heads for unit in ("ms", "new")), title=title)
    for size, row in rows.items():
        made.add_row(str(size), *(f"{cell[unit]:.{digits}f}" for cell in row.values() for unit, digits in (("ms", 1), ("recomputed", 0))))
    return made


async def main(given):
    engine = await OpenAIEngine.connect(given.url, tokenizer=given.tokenizer)
    sizes = [size for size in given.sizes if size + 256 < engine.context]
    await measure(engine, 64, 2)
    console = Console()
    console.print(f"{engine.name}, {engine.server.kind} {engine.server.version}, {given.repeats} repeats")
    calls = {size: await measure(engine, size, given.repeats) for size in sizes}
    console.print(table(calls, ("cold", "warm", "cached"), "calls"))
    console.print("warm minus cached, ms:", {size: round(row["warm"]["ms"] - row["cached"]["ms"], 1) for size, row in calls.items()})
    chains = {size: await in_chains(engine, size, given) for size in sizes}
    heads = [f"every {every}" if every else "never" for every in given.every]
    console.print(table(chains, heads, f"chains, {given.pace:g} tokens/s, warmed"))
    await engine.aclose()
    if given.out:
        about = {"engine": engine.name, "server": f"{engine.server.kind} {engine.server.version}", "pace": given.pace}
        given.out.write_text(json.dumps({**about, "calls": calls, "chains": chains}, indent=1))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", required=True)
    parser.add_argument("--tokenizer")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--every", type=int, nargs="+", default=[0, 512, 128, 32])
    parser.add_argument("--pace", type=float, default=500.0, help="tokens a second of the model that writes")
    parser.add_argument("--out", type=Path)
    asyncio.run(main(parser.parse_args()))
