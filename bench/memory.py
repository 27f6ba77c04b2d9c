"""Measures the resident memory of a process over many chains, with and without a tower.

    python bench/memory.py [--chains N]

Scripted engines, four methods in turn. Prints MiB after every fifth of the chains; Linux only.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from speculative import Pair, Problem
from speculative.methods.registry import build
from speculative.runner import run
from speculative.testing import ScriptedEngine
from speculative.tower import TowerEngine

SCRIPT = "Six is 6.\n\nSeven is 7.\n\nSo 42.\n\n</think>\n\nThe answer is \\boxed{42}."


def resident() -> float:
    """Returns the resident memory of this process in MiB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


async def measure(kind: str, chains: int) -> None:
    models = [ScriptedEngine(SCRIPT, name=name) for name in ("big", "small", "inner big", "inner small")]
    tower = TowerEngine(build("random_switch", {"switch_chunk": 8}), Pair(*models[2:]))
    pair = Pair(models[0], tower if kind == "tower" else models[1])
    methods = [
        build("random_switch", {"unit": "step"}),
        build("spec_rewrite"),
        build("lookahead"),
        build("small_only", {}, ["vote(ballots=2)"]),
    ]
    for number in range(1, chains + 1):
        await run(Problem.of("6*7?", seed=number, max_tokens=200), methods[number % 4], pair)
        for model in models:
            model.calls.clear()
        if number % (chains // 5) == 0:
            sys.stdout.write(f"{kind:<6} {number:>6} chains {resident():6.1f} MiB\n")


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--chains", type=int, default=5000)
    chains = flags.parse_args().chains
    for kind in ("plain", "tower"):
        asyncio.run(measure(kind, chains))


if __name__ == "__main__":
    main()
