"""Measures the throughput of the evaluation loop on the bundled pair against --chains, with all files.

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
from speculative.evaluate.problems import spread
from speculative.evaluate.runner import EvalCell, EvalRunner
from speculative.evaluate.tasks import load, task
from speculative.methods.spec import parse_method
from speculative.runs.folder import RunFolder


async def chains_a_second(method: str, problems: list, chains: int) -> float:
    """Runs a cell and returns its chains a second."""
    with tempfile.TemporaryDirectory() as folder:
        async with Pair.open() as pair:
            with RunFolder(Path(folder) / "run") as kept:
                cell = EvalCell(task("tunnel"), parse_method(method), problems, Problem.of("x"))
                begin = time.perf_counter()
                await EvalRunner.on(pair, kept, chains=chains).run_cells([cell])
                return cell.size / (time.perf_counter() - begin)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", default="random_switch")
    parser.add_argument("--limit", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--chains", default="1,2,4,8,16,32")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    problems, levels = spread(load(task("tunnel")), arguments.limit), [int(number) for number in arguments.chains.split(",")]
    await chains_a_second(arguments.method, problems[:4], 2)  # warm-up
    paces: dict[int, list[float]] = {chains: [] for chains in levels}
    for _ in range(arguments.rounds):  # each round holds all levels: ratios are of neighbours in time
        for chains in levels:
            paces[chains].append(await chains_a_second(arguments.method, problems, chains))
    rows = []
    print(f"{'chains':>6}{'chains a second':>17}{f'against {levels[0]}':>24}")
    for chains, found in paces.items():
        growth = [pace / base for pace, base in zip(found, paces[levels[0]], strict=True)]
        rows.append({"chains": chains, "paces": found, "growth": growth})
        told = f"{statistics.median(growth):.2f} ({min(growth):.2f}-{max(growth):.2f})"
        print(f"{chains:>6}{statistics.median(found):>17.1f}{told:>24}")
    if arguments.json:
        arguments.json.write_text(json.dumps({"command": sys.argv, "rows": rows}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    asyncio.run(main())
