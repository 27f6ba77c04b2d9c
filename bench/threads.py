"""Measures two engines on two cores, alone and concurrently, with different numbers of threads.

    python bench/threads.py [--runs 7] [--json FILE]

On two free cores with one thread a model, both together take as long as the slower one alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from pathlib import Path

from speculative.engines.base import CallStats, Decoding
from speculative.engines.local import BundledEngine

CHAINS, TOKENS = {"big": 4, "small": 32}, {"big": 100, "small": 150}
"""About the same time for both."""


async def work(engine: BundledEngine, role: str, number: int) -> None:
    """Decodes some chains of the role's size."""
    prefixes = [engine.tokenizer.encode(f"{number} {chain} " * 10)[:40] for chain in range(CHAINS[role])]
    await engine.complete(prefixes, Decoding(TOKENS[role], temperature=1.0, seed=number), key="bench", stats=CallStats())


async def timed(*works: object) -> float:
    begin = time.perf_counter()
    await asyncio.gather(*works)  # pyright: ignore[reportArgumentType]
    return time.perf_counter() - begin


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    kinds = {count: {role: BundledEngine.open(role, threads=count) for role in ("big", "small")} for count in (1, 2, 0)}
    rows: list[dict[str, float]] = []
    for run in range(arguments.runs + 1):
        for count, engines in kinds.items():
            alone = [await timed(work(engine, role, run)) for role, engine in engines.items()]
            together = await timed(*(work(engine, role, run + 1000) for role, engine in engines.items()))
            if run:  # the first warms up
                rows.append({"threads": count, "big": alone[0], "small": alone[1], "together": together})
    print(f"{'threads':10}{'big alone':>12}{'small alone':>12}{'together':>12}{'of the slower':>15}{'low':>7}{'high':>7}   (ms; medians)")
    for count in kinds:
        own = [row for row in rows if row["threads"] == count]
        ratios = [row["together"] / max(row["big"], row["small"]) for row in own]
        columns = [1e3 * statistics.median(row[name] for row in own) for name in ("big", "small", "together")]
        told = "".join(f"{value:>12.1f}" for value in columns)
        print(f"{count or 'default':<10}{told}{statistics.median(ratios):>15.2f}{min(ratios):>7.2f}{max(ratios):>7.2f}")
    if arguments.json:
        arguments.json.write_text(json.dumps({"command": sys.argv, "rows": rows}, indent=2) + "\n", encoding="utf-8")
    for engines in kinds.values():
        for engine in engines.values():
            await engine.aclose()


if __name__ == "__main__":
    asyncio.run(main())
