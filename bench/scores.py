"""Measures scores of given steps on a real vLLM: at flat cost, and by echo.

    python bench/scores.py --url http://127.0.0.1:8000/v1 [--tokenizer FOLDER] [--sizes 500 1000 2000 3900] [--repeats 7] [--out FILE.json]

A server has read a prefix. `flat` scores a step of 50 tokens behind it with the cache kept, `echo` as servers without
`--enable-scale-out` do. `token` writes one plain token behind prefix and step, `judge` asks for the log-probabilities of ten given tokens
behind prefix, step and a question. The four take turns, each with a fresh step, so none finds its step in the cache.

Times are medians in milliseconds, over HTTP, one call at a time. `flat / token` is the median over pairs of calls that follow each other,
and `fastest` the quotient of the fastest call of each, which other work on the machine moves less. The bar is 1.5 on vLLM's CPU build. The
last column is the largest difference of a log-probability between `flat` and `echo` for the same step, in nats: its bar is 0.001.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from speculative.engines.base import CallStats, Decoding
from speculative.engines.http.engine import OpenAIEngine

STEP, QUESTION = 50, 24
WORDS = "So there are 3 boxes of 12 pens, then 4 more come and he gives 5 away, what is left of it?"


async def timed(work: Callable[[], Awaitable[Any]]) -> tuple[float, Any]:
    """Returns the milliseconds of a call, and its result."""
    began = time.perf_counter()
    found = await work()
    return 1000 * (time.perf_counter() - began), found


class Scorer:
    """Makes the four kinds of calls on one server."""

    def __init__(self, engine: OpenAIEngine) -> None:
        self.engine, self._random = engine, Random()
        self._words = engine.tokenizer.encode(WORDS)
        self._choices = tuple(sorted(set(self._words))[:10])

    def ids(self, count: int) -> list[int]:
        return self._random.choices(self._words, k=count)

    async def score(self, prefix: list[int], step: list[int], *, flat: bool) -> list[float]:
        self.engine._protocol.flat = flat  # the engine itself takes echo only where the flat way is not open
        (found,) = await self.engine.score([prefix], [step], key="scores", stats=CallStats())
        return [*found]

    async def write(self, prompt: list[int], decoding: Decoding) -> None:
        await self.engine.complete([prompt], decoding, key="scores", stats=CallStats())

    async def row(self, size: int, repeats: int) -> dict[str, float]:
        """Measures one size of the prefix."""
        times: dict[str, list[float]] = {"flat": [], "echo": [], "token": [], "judge": []}
        apart = 0.0
        prefix = self.ids(size)
        await self.write(prefix, Decoding(1))
        for _ in range(repeats):
            step = self.ids(STEP)
            ms, flat = await timed(lambda step=step: self.score(prefix, step, flat=True))
            if not self.engine.scores_flat:
                raise SystemExit("the server scores by echo only: start it with --enable-scale-out")
            times["flat"].append(ms)
            ms, _ = await timed(lambda: self.write([*prefix, *self.ids(STEP)], Decoding(1)))
            times["token"].append(ms)
            ms, _ = await timed(lambda: self.write([*prefix, *self.ids(STEP + QUESTION)], Decoding(1, choices=self._choices)))
            times["judge"].append(ms)
            ms, echo = await timed(lambda step=step: self.score(prefix, step, flat=False))
            times["echo"].append(ms)
            apart = max(apart, *(abs(one - other) for one, other in zip(flat, echo, strict=True)))
        ratio = median(one / other for one, other in zip(times["flat"], times["token"], strict=True))
        fastest = min(times["flat"]) / min(times["token"])
        return {**{kind: median(several) for kind, several in times.items()}, "flat / token": ratio, "fastest": fastest, "apart": apart}


async def main(given: argparse.Namespace) -> None:
    engine = await OpenAIEngine.connect(given.url, **({"tokenizer": given.tokenizer} if given.tokenizer else {}))
    try:
        scorer = Scorer(engine)
        await scorer.row(64, 1)
        rows = {size: await scorer.row(size, given.repeats) for size in given.sizes}
    finally:
        await engine.aclose()
    table = Table("prefix", "flat ms", "echo ms", "token ms", "judge ms", "flat / token", "fastest", "apart")
    for size, row in rows.items():
        cells = [f"{row[kind]:.0f}" for kind in ("flat", "echo", "token", "judge")]
        table.add_row(f"{size:,}", *cells, f"{row['flat / token']:.2f}", f"{row['fastest']:.2f}", f"{row['apart']:.0e}")
    Console().print(table)
    if given.out:
        server = f"{engine.server.kind} {engine.server.version}"
        given.out.write_text(json.dumps({"server": server, "model": engine.server.model, "repeats": given.repeats, "rows": rows}, indent=1))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", required=True)
    parser.add_argument("--tokenizer")
    parser.add_argument("--sizes", type=int, nargs="+", default=[500, 1000, 2000, 3900])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--out", type=Path)
    asyncio.run(main(parser.parse_args()))
