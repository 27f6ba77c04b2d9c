"""Compares the bundled engine with a bare loop over the same ONNX session and sampler.

    python bench/engine.py [--folder big=DIR] [--tokens 100] [--runs 12] [--json FILE]

Ratios are taken within one interleaved run; each figure is the median, with the lowest and highest.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from speculative.engines.base import CallStats, Decoding
from speculative.engines.local import BundledEngine
from speculative.engines.local.model import Rows
from speculative.engines.local.sampler import Rule, Sampler, stream_key, uniforms

TEMPERATURE, TOP_P = 0.6, 0.95
PROMPT = 64
WARM_UP = 2


class Clock:
    """Wall seconds, and processor seconds of the whole process (which a busy machine disturbs less)."""

    def __init__(self) -> None:
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def stop(self) -> Clock:
        self.wall, self.cpu = time.perf_counter() - self.wall, time.process_time() - self.cpu
        return self


class Bare:
    """Append once, copy the row, then: run, draw, feed. No stops, no cache, no calls."""

    def __init__(self, engine: BundledEngine, chains: int, tokens: int, prompt: list[int]) -> None:
        self.model = engine._worker.model  # pyright: ignore[reportPrivateUsage]
        self.kv = self.model.buffers(chains, 512)
        self.rows = Rows(chains, self.model.shape.vocabulary)
        rule = Rule(chains)
        for row in range(chains):
            rule.set(row, self.model.shape.vocabulary, TEMPERATURE, TOP_P, 0)
        self.sampler = Sampler(rule, 0, chains, self.rows.logits)
        self.prompt, self.tokens, self.chains = np.array(prompt, np.int32), tokens, chains
        self.binding = self.model.bind_rows(self.kv, 0, chains, self.rows)

    def timed(self) -> tuple[Clock, list[list[int]]]:
        clock = Clock()
        out = self.run()
        return clock.stop(), out

    def run(self) -> list[list[int]]:
        logits = self.model.append(self.kv, 0, 0, self.prompt)
        self.kv[:, 1:, :, : len(self.prompt)] = self.kv[:, :1, :, : len(self.prompt)]
        self.rows.logits[:] = logits[-1]
        self.rows.lengths[:] = 2
        self.rows.last[:] = len(self.prompt)
        keys = np.array([stream_key(1, 0, j) for j in range(self.chains)], np.uint64)
        u = uniforms(keys, np.zeros(self.chains, np.int64), self.tokens)
        rows, sampler, out, many = self.rows, self.sampler, [], self.chains > 1
        run, binding, ids = self.model.run, self.binding.io, self.rows.ids[:, 0]
        for step in range(self.tokens):
            tokens = sampler.draw(u[step]) if many else sampler.draw_one(u[step, 0])
            out.append(tokens)
            if step + 1 < self.tokens:
                ids[:] = tokens
                rows.last += 1
                run(binding)
        return np.array(out).reshape(self.tokens, self.chains).T.tolist()


async def timed(engine: BundledEngine, prompt: list[int], chains: int, tokens: int) -> tuple[Clock, list[list[int]]]:
    """The cost, and the ids, of one call."""
    decoding = Decoding(tokens, temperature=TEMPERATURE, top_p=TOP_P, seed=1, n=chains, stop=("\n\nnever said\n\n",))
    clock = Clock()
    found = await engine.complete([prompt], decoding, key="bench", stats=CallStats())
    return clock.stop(), [list(completion.ids) for completion in found[0]]


async def measure(engine: BundledEngine, chains: int, tokens: int, runs: int) -> dict[str, Any]:
    """Microseconds a step, bare and engine, each time on a prompt that is not in the cache."""
    pairs: list[tuple[Clock, Clock]] = []
    random = np.random.default_rng(0)
    for number in range(runs + WARM_UP):
        prompt = [int(i) for i in random.integers(3, 500, PROMPT)]
        bare = Bare(engine, chains, tokens, prompt)
        if number % 2:
            (a, x), (b, y) = bare.timed(), await timed(engine, prompt, chains, tokens)
        else:
            (b, y), (a, x) = await timed(engine, prompt, chains, tokens), bare.timed()
        if x != y:
            raise SystemExit("the engine and the bare loop wrote different tokens")
        if number >= WARM_UP:
            pairs.append((a, b))
    return {
        "chains": chains,
        "bare_us": spread([a.wall / tokens * 1e6 for a, _ in pairs]),
        "engine_us": spread([b.wall / tokens * 1e6 for _, b in pairs]),
        "added_us": spread([(b.wall - a.wall) / tokens * 1e6 for a, b in pairs]),
        "ratio": spread([a.wall / b.wall for a, b in pairs]),
        "cpu_ratio": spread([a.cpu / b.cpu for a, b in pairs]),
    }


def spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def told(values: dict[str, float], digits: int) -> str:
    return f"{values['median']:.{digits}f} ({values['low']:.{digits}f}-{values['high']:.{digits}f})"


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", action="append", default=[], metavar="NAME=DIR", help="measure another folder under this name")
    parser.add_argument("--tokens", type=int, default=100)
    parser.add_argument("--runs", type=int, default=12)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    folders = dict(item.split("=", 1) for item in arguments.folder) or {"small": "small", "big": "big"}
    rows: list[dict[str, Any]] = []
    titles = {"bare_us": ("bare us/step", 0), "engine_us": ("engine us/step", 0), "added_us": ("added us/step", 0)}
    titles |= {"ratio": ("bare / engine", 2), "cpu_ratio": ("in processor time", 2)}
    print(f"{'model':8}{'chains':>7}" + "".join(f"{title:>22}" for title, _ in titles.values()))
    for name, folder in folders.items():
        begin = time.perf_counter()
        engine = BundledEngine.open(folder)
        opened = time.perf_counter() - begin
        for chains in (1, 32):
            row = {"model": name, "open_seconds": opened, **await measure(engine, chains, arguments.tokens, arguments.runs)}
            rows.append(row)
            cells = [f"{told(row[part], digits):>22}" for part, (_, digits) in titles.items()]
            print(f"{name:8}{chains:>7}{''.join(cells)}", flush=True)
        await engine.aclose()
    if arguments.json:
        arguments.json.write_text(json.dumps({"command": sys.argv, "rows": rows}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    asyncio.run(main())
