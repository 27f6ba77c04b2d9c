"""Measures how hand-overs slow down with the length of the chain: `random_switch` against bare sessions.

    python bench/growth.py [--runs 5] [--json FILE]

The models alternate every 16 tokens. The bare loop appends the same 16 tokens and decodes 16 by the same rule. The result is the growth
of the method's hand-over, from the start of the chain to 1,500 tokens, relative to that of the bare loop in the same run.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import structs

from speculative.chain.chain import Chain
from speculative.engines.base import CallStats, Completion, Decoding, Ids
from speculative.engines.local import BundledEngine
from speculative.engines.local.model import Rows
from speculative.engines.local.sampler import Rule, Sampler, stream_key, uniforms
from speculative.methods.random_switch import RandomSwitch
from speculative.problem import Problem, Sampling

CHUNK, LATE, CHUNKS = 16, 1500, 12
TOTAL = LATE + CHUNK * CHUNKS
HOT = 20.0
"""A temperature at which the text goes round in no loop."""


class Endless:
    """An engine whose model never ends its text: the length of the chain is what is measured."""

    abilities = frozenset({"continue", "ids"})

    def __init__(self, engine: BundledEngine) -> None:
        self.inner = engine
        self.name, self.tokenizer, self.dialect, self.context = engine.name, engine.tokenizer, engine.dialect, engine.context

    async def complete(self, prefixes: Sequence[Ids], decoding: Decoding, *, key: str, stats: CallStats) -> list[list[Completion]]:
        return await self.inner.complete(prefixes, structs.replace(decoding, stop_ids=()), key=key, stats=stats)


class Alternately:
    """A coin that falls on the other side every time."""

    def __init__(self) -> None:
        self._sides = itertools.cycle((0.0, 1.0))

    def random(self) -> float:
        return next(self._sides)


async def method_times(engines: dict[str, Endless], seed: int) -> list[float]:
    """Seconds of each hand-over of one chain."""
    problem = Problem.of(f"Problem {seed}.", sampling=Sampling(temperature=HOT, top_p=1), seed=seed, max_tokens=2 * TOTAL)
    begins: list[float] = []

    class Timed(Chain):
        async def write(self, *args: Any, **kwargs: Any) -> Any:
            begins.append(time.perf_counter())
            if self.tokens >= TOTAL:
                self.stop("measured")
            return await super().write(*args, **kwargs)

    chain = Timed(problem, engines)
    chain.random = Alternately()  # pyright: ignore[reportAttributeAccessIssue]
    await RandomSwitch(switch_chunk=CHUNK).think(chain)
    if chain.tokens < TOTAL:
        raise SystemExit(f"the chain ended after {chain.tokens} tokens ({chain.finish})")
    return [after - before for before, after in itertools.pairwise(begins)]


def bare_times(engines: dict[str, Endless], seed: int) -> list[float]:
    """Seconds of each hand-over of two bare sessions."""
    turns: list[Turn] = [Turn(engines[role].inner, seed) for role in ("big", "small")]
    times: list[float] = []
    handed = np.zeros(CHUNK, np.int32) + 40
    for number in range(TOTAL // CHUNK):
        begin = time.perf_counter()
        handed = turns[number % 2].run(handed)
        times.append(time.perf_counter() - begin)
    return times


class Turn:
    """One model: appends what it was handed, decodes a chunk."""

    def __init__(self, engine: BundledEngine, seed: int) -> None:
        self.model = engine._worker.model  # pyright: ignore[reportPrivateUsage]
        self.kv, self.rows, rule = self.model.buffers(1, 2048), Rows(1, self.model.shape.vocabulary), Rule(1)
        rule.set(0, self.model.shape.vocabulary, HOT, 1.0, 0)
        self.sampler = Sampler(rule, 0, 1, self.rows.logits)
        self.binding, self.length, self.seed = self.model.bind_rows(self.kv, 0, 1, self.rows), 0, seed
        self.rows.lengths[:] = 2
        self.last = np.zeros(0, np.int32)

    def run(self, handed: Any) -> Any:
        new = np.concatenate([self.last, handed])
        self.rows.logits[:] = self.model.append(self.kv, 0, self.length, new)[-1]
        self.length += len(new)
        u = uniforms(np.array([stream_key(self.seed, self.length, 0)], np.uint64), np.zeros(1, np.int64), CHUNK)
        out = np.zeros(CHUNK, np.int32)
        for step in range(CHUNK):
            out[step] = self.sampler.draw_one(u[step, 0])
            if step + 1 < CHUNK:
                self.rows.ids[0, 0], self.rows.last[0] = out[step], self.length
                self.model.run(self.binding.io)
                self.length += 1
        self.last = out[-1:]
        return out


def growth(times: list[float]) -> float:
    """Median of the hand-overs behind `LATE` tokens over the median of the first ones (the very first pays the prompt)."""
    return statistics.median(times[-CHUNKS:]) / statistics.median(times[2 : 2 + CHUNKS])


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    engines = {role: Endless(BundledEngine.open(role)) for role in ("big", "small")}
    rows: list[dict[str, float]] = []
    for run in range(arguments.runs + 1):
        method, bare = growth(await method_times(engines, run)), growth(bare_times(engines, run))
        if run:  # the first warms up
            rows.append({"method": method, "bare": bare, "ratio": method / bare})
    print(f"{'growth':10}{'median':>9}{'low':>9}{'high':>9}")
    for name in ("method", "bare", "ratio"):
        values = [row[name] for row in rows]
        print(f"{name:10}{statistics.median(values):>9.3f}{min(values):>9.3f}{max(values):>9.3f}")
    if arguments.json:
        arguments.json.write_text(json.dumps({"command": sys.argv, "rows": rows}, indent=2) + "\n", encoding="utf-8")
    for engine in engines.values():
        await engine.inner.aclose()


if __name__ == "__main__":
    asyncio.run(main())
