"""Measures the cost of a token of big in tokens of small, in interleaved runs.

python bench/cost.py [--runs 12] [--json FILE]
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

BEFORE, TOKENS = 100, 100


async def seconds_a_token(engine: BundledEngine, number: int) -> float:
    """Time of one decoded token, after a prefix of `BEFORE` tokens that is in the cache."""
    prefix = engine.tokenizer.encode(f"{number} " * BEFORE)[:BEFORE]
    await engine.complete([prefix], Decoding(1), key="bench", stats=CallStats())
    begin = time.perf_counter()
    ((completion,),) = await engine.complete([prefix], Decoding(TOKENS, temperature=1.0, seed=number), key="bench", stats=CallStats())
    assert len(completion.ids) == TOKENS
    return (time.perf_counter() - begin) / TOKENS


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=12)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    big, small = BundledEngine.open("big"), BundledEngine.open("small")
    for number in range(2):  # warm-up
        await seconds_a_token(big, number), await seconds_a_token(small, number)
    pairs = [(await seconds_a_token(big, 2 + n), await seconds_a_token(small, 2 + n)) for n in range(arguments.runs)]
    ratios = [b / s for b, s in pairs]
    table = {"big_us": [b * 1e6 for b, _ in pairs], "small_us": [s * 1e6 for _, s in pairs], "ratio": ratios}
    print(f"{'':10}{'median':>9}{'low':>9}{'high':>9}")
    for name, values in table.items():
        print(f"{name:10}{statistics.median(values):>9.1f}{min(values):>9.1f}{max(values):>9.1f}")
    if arguments.json:
        arguments.json.write_text(json.dumps({"command": sys.argv, **table}, indent=2) + "\n", encoding="utf-8")
    await big.aclose()
    await small.aclose()


if __name__ == "__main__":
    asyncio.run(main())
