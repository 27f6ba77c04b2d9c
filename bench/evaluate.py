"""Throughput of `speculative eval stories` on the bundled pair against --chains, through inspect-ai and through the loop of `compare`.

python bench/evaluate.py [--method random_switch] [--limit 40] [--rounds 3] [--chains 1,2,4,8,16,32] [--json FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

from speculative import Pair, Problem
from speculative.evaluate.cells import Cell, Desk
from speculative.evaluate.compare import Comparison
from speculative.evaluate.inspect_run import run
from speculative.evaluate.problems import spread
from speculative.evaluate.tasks import load, task
from speculative.methods.spec import contender
from speculative.runs.folder import RunFolder


async def through_inspect(method: str, stated: list, chains: int) -> float:
    """Chains a second, with everything that the command keeps on the disk."""
    with tempfile.TemporaryDirectory() as folder:
        async with Pair.open() as pair:
            with RunFolder(Path(folder) / "run") as kept:
                cell = Cell(task("stories"), contender(method), stated, Problem.of("x"))
                begin = time.perf_counter()
                await run([cell], Desk(pair, kept, lambda *_: None, chains=chains))
                return cell.size / (time.perf_counter() - begin)


async def through_compare(method: str, stated: list, chains: int) -> float:
    """The same chains in the loop of `compare`, kept in the same way."""
    with tempfile.TemporaryDirectory() as folder:
        async with Pair.open() as pair:
            with RunFolder(Path(folder) / "run") as kept:
                begin = time.perf_counter()
                compared = Comparison(stated, Problem.of("x"), {}, chains=chains, on_sample=kept.append)
                await compared.run(pair, [contender(method)])
                return len(stated) / (time.perf_counter() - begin)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", default="random_switch")
    parser.add_argument("--limit", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--chains", default="1,2,4,8,16,32")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    stated, levels = spread(load(task("stories")), arguments.limit), [int(number) for number in arguments.chains.split(",")]
    await through_inspect(arguments.method, stated[:4], 2)  # warm-up
    found: dict[int, list[tuple[float, float]]] = {chains: [] for chains in levels}
    for _ in range(arguments.rounds):  # each round holds all levels: ratios are of neighbours in time
        for chains in levels:
            pace = await through_inspect(arguments.method, stated, chains), await through_compare(arguments.method, stated, chains)
            found[chains].append(pace)
    first = found[levels[0]]
    rows = []
    for chains, paces in found.items():
        growth = [pace[0] / base[0] for pace, base in zip(paces, first, strict=True)]
        share = [pace[0] / pace[1] for pace in paces]
        rows.append({"chains": chains, "paces": [pace[0] for pace in paces], "growth": growth, "of_compare": share})
    print(f"{'chains':>6}{'chains a second':>17}{f'against {levels[0]}':>24}{'of the loop of compare':>28}")
    for row in rows:
        told = [f"{statistics.median(row[name]):.2f} ({min(row[name]):.2f}-{max(row[name]):.2f})" for name in ("growth", "of_compare")]
        print(f"{row['chains']:>6}{statistics.median(row['paces']):>17.1f}{told[0]:>24}{told[1]:>28}")
    if arguments.json:
        arguments.json.write_text(json.dumps({"command": sys.argv, "rows": rows}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    asyncio.run(main())
