"""Measures the cost of chain, method and events for each engine call, with engines that reply at once.

    python bench/overhead.py [--calls N] [--repeats R] [--json FILE]

For every method: microseconds of processor time for one call, without the time of the engine and its tokenizer;
median and quartiles over the repeats. Prints a table and writes JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import statistics
import sys
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from speculative import Message, Pair, Problem
from speculative.engines.base import CallStats, Completion, Decoding, Delta, Ids
from speculative.methods.base import Method
from speculative.methods.registry import build
from speculative.runner import run
from speculative.testing import ScriptedEngine, ScriptedTokenizer
from speculative.trace.events import Cancelled

LIMIT = 100.0
"""Microseconds that a call may cost, whatever it gives."""

CASES: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    "random_switch, chunks of 16": ("random_switch", {"switch_chunk": 16}, []),
    "random_switch, steps": ("random_switch", {"unit": "step"}, []),
    "random_switch, step by step under early_exit": ("random_switch", {"unit": "step"}, ["early_exit(agree=9)"]),
    "logprob_subselect, up to 8 beams a call": ("logprob_subselect", {"sgen": 8, "lbound": 4, "max_iterations": 10}, []),
    "spec_rewrite, 100 rounds": ("spec_rewrite", {"thinking_n_ignore": 100}, []),
    "big_only, 200 rounds": ("big_only", {"sequential_scale": 200}, []),
}


class Timed(ScriptedTokenizer):
    """Knows how long it took: how fast a vocabulary is in Python is not the chain's doing."""

    seconds = 0.0

    def encode(self, text: str) -> list[int]:
        start = time.thread_time()
        ids = super().encode(text)
        self.seconds += time.thread_time() - start
        return ids

    def knows(self, ids: Ids) -> bool:
        start = time.thread_time()
        known = super().knows(ids)
        self.seconds += time.thread_time() - start
        return known

    def to_bytes(self, ids: Ids) -> bytes:
        start = time.thread_time()
        data = super().to_bytes(ids)
        self.seconds += time.thread_time() - start
        return data


class Instant(ScriptedEngine):
    """Answers at once with as many tokens as it may give, and knows how long it took itself."""

    def __init__(self, name: str) -> None:
        super().__init__("", name=name)
        self._tokenizer = self.timed = Timed()
        self.own, self.asked, self.completions = 0.0, 0, 0
        line = "Seven times six is 42 \U0001f600.\n\n"
        self._token_lists = [tuple(self.tokenizer.encode(f"{i}: {line}" * 8)) for i in range(64)]
        self.timed.seconds = 0.0

    @property
    def seconds(self) -> float:
        return self.own + self.timed.seconds

    async def complete(self, prefixes: Sequence[Ids], decoding: Decoding, *, key: str, stats: CallStats) -> list[list[Completion]]:
        start = time.thread_time()
        found = [[self._written(decoding, decoding.seed + i) for i in range(decoding.n)] for _ in prefixes]
        self.asked += 1
        self.completions += decoding.n * len(prefixes)
        stats.requests += 1
        stats.produced_tokens += sum(completion.produced for several in found for completion in several)
        self.own += time.thread_time() - start
        return found

    async def stream(self, prefix: Ids, decoding: Decoding, *, key: str, stats: CallStats) -> AsyncIterator[Delta]:
        ((completion,),) = await self.complete([prefix], decoding, key=key, stats=stats)
        yield Delta(completion.ids, completion)

    def _written(self, decoding: Decoding, seed: int) -> Completion:
        ids = self._token_lists[seed % len(self._token_lists)]
        if decoding.stop and decoding.max_tokens >= 37:
            return Completion(ids[:37], "stop")
        cut = ids[: min(decoding.max_tokens, 64)]
        logprobs = tuple(-0.1 for _ in cut) if decoding.logprobs else None
        if len(cut) < decoding.max_tokens:
            return Completion(cut, "end", decoding.stop_ids[0], logprobs)
        return Completion(cut, "length", None, logprobs)


async def once(pair: Pair, method: Method, calls: int, listening: bool) -> tuple[float, int, int]:
    """Microseconds a call, how many calls there were, and how many completions they gave."""
    problem = Problem((Message("user", "6*7?"),), max_tokens=calls * 16)
    heard: list[Any] = []
    start, engines, asked, given = time.thread_time(), *taken(pair)
    result = await run(problem, method, pair, heard.append if listening else None)
    spent = time.thread_time() - start
    engines, asked, given = (after - before for after, before in zip(taken(pair), (engines, asked, given), strict=True))
    assert not any(isinstance(event, Cancelled) for event in result.trace)
    return (spent - engines) / asked * 1e6, int(asked), int(given)


def taken(pair: Pair) -> tuple[float, int, int]:
    """The work of a pair's engines so far: seconds of processor time, calls, completions."""
    engines: list[Any] = list(pair.values())
    return sum(e.seconds for e in engines), sum(e.asked for e in engines), sum(e.completions for e in engines)


def measure(calls: int, repeats: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    pair = Pair(Instant("big"), Instant("small"))
    for label, (name, params, wrappers) in CASES.items():
        method = build(name, params, wrappers)
        for listening in (False, True):
            asyncio.run(once(pair, method, calls, listening))  # warms caches
            found = [asyncio.run(once(pair, method, calls, listening)) for _ in range(repeats)]
            low, median, high = statistics.quantiles([microseconds for microseconds, _, _ in found], n=4)
            _, asked, given = found[0]
            figures = {"median": median, "quartiles": [low, high], "each": median * asked / given}
            rows.append({"case": label, "listener": listening, "calls": asked, "completions": given, **figures})
    return rows


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    flags.add_argument("--calls", type=int, default=500, help="chunks of 16 tokens that the budget allows")
    flags.add_argument("--repeats", type=int, default=15)
    flags.add_argument("--json", type=Path, help="where the figures go")
    given = flags.parse_args()
    rows = measure(given.calls, given.repeats)
    print(f"{'case':46} {'listener':8} {'calls':>5} {'completions':>11} {'µs/call':>8} {'quartiles':>14} {'µs/completion':>14}")
    for row in rows:
        low, high = row["quartiles"]
        case = f"{row['case']:46} {'yes' if row['listener'] else 'no':8} {row['calls']:5} {row['completions']:11}"
        print(f"{case} {row['median']:8.1f} {low:6.1f}, {high:6.1f} {row['each']:14.1f}")
    if given.json:
        found = {"python": platform.python_version(), "limit": LIMIT, "unit": "microseconds a call", "rows": rows}
        given.json.write_text(json.dumps(found, indent=1))
    sys.exit(any(row["median"] > LIMIT for row in rows))


if __name__ == "__main__":
    main()
