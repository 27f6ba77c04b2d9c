"""Measures methods at several loads through the library, on servers that run already.

    python bench/gpu/table.py OUT.jsonl --big URL [--big URL] --small URL [--layouts a,c,f,e-mps] [--seconds 400]

One more row is added to OUT for each layout, method and load as soon as it is measured, the most valuable first; rows that are there are
not measured again, so the same command continues after its time is over. A row that would not end in time is not begun. The second big
server shares the small one's GPU. `a` takes both big servers, `c` the first and small, `f` all, `e-mps` the second and small. `c-spec` is
`c` with a first server that speculates tokens by itself. `raw_loop` is `likelihood_verify,pipeline=accept` by bare calls, and `swing` one
chain after another with a burst beside them. Costs of single calls go to OUT with `.calls`: `raw_ms` is a bare request like that of
`cached_ms`. With `--page FILE` the table of docs/planner.md is written from the rows, beside the planner's predictions.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from forced import ForcedAuto, ForcedCascade, ForcedCueSwitch, ForcedLikelihoodVerify, ForcedStepVerify
from raw import RawLoop

from speculative.engines.base import CallStats, Decoding, Engine
from speculative.engines.http.engine import OpenAIEngine
from speculative.engines.options import EngineOptions
from speculative.methods.base import Method
from speculative.methods.big_only import BigOnly
from speculative.methods.random_switch import RandomSwitch
from speculative.pair import Pair
from speculative.plan.clock import VirtualClock
from speculative.plan.layout import LAYOUTS, Layout
from speculative.plan.profile import load_profile
from speculative.plan.programs import PROGRAMS, Drawn
from speculative.problem import Problem, Sampling
from speculative.result import Result
from speculative.runner import run

ANSWER = 16
STEP = 50
RAW, SWING, PIPED = "raw_loop", "swing", "likelihood_verify,pipeline=accept"
FIRST = ("big_only", RAW, PIPED, "auto")
"""The methods that the bars of the page are about."""
PREFIXES = (1024, 4096, 16384)
ROLES = {"a": ("both", None), "c": ("first", "small"), "c-spec": ("first", "small"), "f": ("both", "small"), "e-mps": ("second", "small")}
BEGIN, END = "<!-- measured -->\n", "<!-- end of measured -->"


def methods(acceptance: float, layout: str = "c") -> dict[str, Method]:
    forced: dict[str, Any] = {"acceptance": acceptance}
    steps: dict[str, Any] = {"step_tokens": STEP, **forced}
    return {
        "big_only": BigOnly(sequential_scale=0, answer_by="big"),
        "likelihood_verify": ForcedLikelihoodVerify(**steps),
        "likelihood_verify,pipeline=accept": ForcedLikelihoodVerify(pipeline="accept", **steps),
        "step_verify,pipeline=accept": ForcedStepVerify(pipeline="accept", **steps),
        "random_switch": RandomSwitch(big_share=0.2, switch_chunk=16),  # pyright: ignore[reportCallIssue]
        "cue_switch": ForcedCueSwitch(answer_by="big"),  # pyright: ignore[reportCallIssue]
        "cascade": ForcedCascade(**forced),
        "auto": ForcedAuto(check="score", optimize="batch", layout="c" if layout in ("a", "c-spec") else layout, **steps),
    }


def plan_rows(layouts: list[str], loads: list[int], names: list[str]) -> list[tuple[str, str, int]]:
    """Returns the rows in the order of their worth: layout, method, load."""

    def rows(wanted: str, methods: list[str], counts: list[int]) -> list[tuple[str, str, int]]:
        return [(wanted, name, count) for count in counts for name in methods] if wanted in layouts else []

    alone, few, many = ["big_only"], [load for load in loads if load <= 16], [load for load in loads if load > 16]
    middle = [load for load in loads if load <= 64]
    order = [
        *rows("c", [*FIRST], few),
        *rows("a", alone, loads),
        *rows("c", [*FIRST], many),
        *rows("c", [SWING], [1]),
        *rows("e-mps", ["big_only", PIPED, "auto"], middle),
        *rows("c-spec", ["big_only", PIPED], middle),
        *rows("c", names, middle),
        *rows("f", ["big_only", PIPED], [load for load in loads if load >= 16]),
        *(row for layout in ("c", "e-mps", "f") for row in rows(layout, names, loads)),
    ]
    return [*dict.fromkeys(order)]


def place(layout: str) -> Layout:
    """Returns where the servers of a layout are."""
    return LAYOUTS[layout.removesuffix("-spec")]


def problem(seed: int, tokens: int) -> Problem:
    text = f"Case {seed}: " + " ".join(f"{seed * 7919 + place * 104729:x}" for place in range(40))
    return Problem.of(text, seed=seed, max_tokens=tokens + ANSWER, answer_tokens=ANSWER, sampling=Sampling(0.6, 0.95))


async def measure(pair: Pair, method: Method, chains: int, tokens: int, gpus: int) -> dict[str, Any]:
    """One row: chains that begin at once. A listener hears every token, as in a stream of the service."""
    began, cpu = time.perf_counter(), time.process_time()

    async def chain(seed: int) -> tuple[float, Result]:
        start = time.perf_counter()
        result = await run(problem(seed, tokens), method, pair, lambda _: None)
        return time.perf_counter() - start, result

    found = await asyncio.gather(*(chain(seed) for seed in range(chains)))
    wall, used = time.perf_counter() - began, time.process_time() - cpu
    kept = sum(usage.kept_tokens for _, result in found for usage in result.usage.values())
    produced = sum(usage.produced_tokens for _, result in found for usage in result.usage.values())
    return {
        "chains": chains,
        "tokens": tokens,
        "tokens_s": round(kept / wall, 1),
        "latency_s": round(median(seconds for seconds, _ in found), 3),
        "wall_s": round(wall, 2),
        "gpu_s": round(gpus * wall / chains, 3),
        "kept": kept,
        "produced": produced,
        "cpu_us_token": round(1e6 * used / max(1, produced), 1),
    }


def servers(layout: str, bigs: list[str], small: str) -> tuple[list[str], str]:
    which, _ = ROLES[layout]
    if which != "first" and len(bigs) < 2:
        raise SystemExit(f"layout {layout} needs a second --big, on the GPU of the small model")
    return {"both": bigs, "first": bigs[:1], "second": bigs[1:2]}[which], small


async def measure_raw(pair: Pair, chains: int, tokens: int, acceptance: float) -> dict[str, Any]:
    """One row of bare calls, which begin at once. Raises `TypeError` where the engines are not servers."""
    big, small = pair["big"], pair["small"]
    if not isinstance(big, OpenAIEngine) or not isinstance(small, OpenAIEngine):
        raise TypeError("bare calls need two servers")
    began, cpu = time.perf_counter(), time.process_time()
    prompts = [big.tokenizer.encode(problem(seed, tokens).messages[0].content) for seed in range(chains)]
    async with RawLoop(big.client.replicas.urls[0], small.client.replicas.urls[0], big.server.model) as loop:

        async def chain(seed: int) -> tuple[float, int]:
            start = time.perf_counter()
            return await loop.chain(seed, prompts[seed], tokens, STEP, ANSWER, acceptance), time.perf_counter() - start

        found = await asyncio.gather(*(chain(seed) for seed in range(chains)))
    wall, kept = time.perf_counter() - began, sum(count for count, _ in found)
    row = {
        "chains": chains,
        "tokens": tokens,
        "tokens_s": round(kept / wall, 1),
        "wall_s": round(wall, 2),
        "gpu_s": round(2 * wall / chains, 3),
    }
    row |= {"latency_s": round(median(seconds for _, seconds in found), 3), "kept": kept, "produced": kept}
    return row | {"cpu_us_token": round(1e6 * (time.process_time() - cpu) / kept, 1)}


async def measure_swing(pair: Pair, table: dict[str, Method], tokens: int, burst: int) -> dict[str, Any]:
    """One row: one chain after another, and a burst beside them, once with each way. Tells the mean latency of a chain with each."""
    found: dict[str, Any] = {"chains": 1, "tokens": tokens, "burst": burst}
    for name in ("auto", "big_only", PIPED):
        took: list[float] = []

        async def chain(seed: int, method: Method = table[name], took: list[float] = took) -> None:
            start = time.perf_counter()
            await run(problem(seed, tokens), method, pair)
            took.append(time.perf_counter() - start)

        async def one_by_one(chain: Any = chain) -> None:
            for turn in range(3):
                await chain(9000 + turn)

        began = time.perf_counter()
        alone = asyncio.create_task(one_by_one())
        await asyncio.sleep(1)
        await asyncio.gather(alone, *(chain(seed) for seed in range(burst)))
        found[name] = {"mean_s": round(sum(took) / len(took), 3), "wall_s": round(time.perf_counter() - began, 2)}
    return found | {"wall_s": round(sum(found[name]["wall_s"] for name in ("auto", "big_only", PIPED)), 2)}


async def measure_calls(engine: Engine, out: Path, known: set[int]) -> None:
    """Writes the milliseconds of single calls behind prefixes: a score of a step, one token as a judgement, and hand-overs."""
    for size in PREFIXES:
        if size in known or size + 2 * STEP + 32 > engine.context:
            continue
        ids = (engine.tokenizer.encode(problem(size, 1).messages[0].content) * (size // 100 + 1))[:size]

        def step(number: int, size: int = size) -> list[int]:
            """Returns a step that no call before had: else its rows would come from the cache."""
            return engine.tokenizer.encode(problem(1000 * size + number, 1).messages[0].content[6:])[:STEP]

        async def timed(work: Any) -> float:
            start = time.perf_counter()
            await work
            return 1000 * (time.perf_counter() - start)

        def token(prefix: list[int], number: int) -> Any:
            return engine.complete([prefix], Decoding(1, seed=number), key="calls", stats=CallStats())

        row = {"prefix": size, "cold_ms": await timed(token(ids, 0))}
        row["cached_ms"] = median([await timed(token([*ids, *step(number)[:24]], number)) for number in range(5)])
        if isinstance(engine, OpenAIEngine):
            async with RawLoop(url := engine.client.replicas.urls[0], url, engine.server.model) as bare:
                row["raw_ms"] = median([await timed(bare.write("big", [*ids, *step(number)[:24]], 1)) for number in range(5, 10)])
        row["judge_ms"] = median([await timed(token([*ids, *step(number)], number)) for number in range(10, 15)])
        if "score" in engine.abilities:
            some = [step(number) for number in range(15, 22)]
            row["score_ms"] = median([await timed(engine.score([ids], [one], key="calls", stats=CallStats())) for one in some])
        with out.open("a") as file:
            file.write(json.dumps({name: round(value, 2) for name, value in row.items()}) + "\n")
        print(json.dumps(row), flush=True)


def read_rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


class Rows:
    """The rows that are measured so far, and the pairs that measure more."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.known = {(row["layout"], row["method"], row["chains"]) for row in read_rows(options.out)}
        self.calls = options.out.with_suffix(".calls")
        self.prefixes = {row["prefix"] for row in read_rows(self.calls)}
        self._warm: set[tuple[str, int]] = set()

    async def measure(self, pair: Pair, layout: str, name: str, chains: int) -> None:
        """Measures one row and writes it. Batches that are new to the servers are warmed up before."""
        tokens, table = STEP * self.options.steps, methods(self.options.acceptance, layout)
        if (layout, chains) not in self._warm:
            self._warm.add((layout, chains))
            await measure(pair, table["big_only" if layout == "a" else "likelihood_verify"], chains, STEP, 1)
        if name == RAW:
            row = await measure_raw(pair, chains, tokens, self.options.acceptance)
        elif name == SWING:
            row = await measure_swing(pair, table, tokens, self.options.burst)
        else:
            row = await measure(pair, table[name], chains, tokens, place(layout).gpus)
        row = {"layout": layout, "method": name, "acceptance": self.options.acceptance, **row}
        with self.options.out.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(json.dumps(row), flush=True)

    def seconds(self, layout: str, name: str, chains: int) -> float:
        """Returns the seconds that a row may take, by the planner, with a warm-up and a margin."""
        if name == SWING:
            return 3 * self.seconds(layout, PIPED, self.options.burst)
        drawn = Drawn(length=STEP * (self.options.steps + 1), acceptance=self.options.acceptance, prompt=200, answer=ANSWER)
        clock = VirtualClock(load_profile(self.options.profile), place(layout))
        clock.run(PROGRAMS[PIPED if name in (RAW, "auto") else name](drawn, seed) for seed in range(chains))
        return 1.5 * clock.now + 2


async def measure_all(options: argparse.Namespace) -> int:
    until, rows, failed, late = time.monotonic() + options.seconds, Rows(options), 0, 0
    layouts = options.layouts.split(",")
    async with AsyncExitStack() as stack:
        pairs: dict[str, Pair] = {}
        for layout, name, chains in plan_rows(layouts, [int(load) for load in options.chains.split(",")], [*methods(options.acceptance)]):
            if (layout, name, chains) in rows.known:
                continue
            if time.monotonic() + rows.seconds(layout, name, chains) > until:
                late += 1
                continue
            try:
                if layout not in pairs:
                    bigs, small = servers(layout, options.big, options.small)
                    given = {role: EngineOptions(tokenizer=options.tokenizer, dialect=options.dialect) for role in ("big", "small")}
                    pairs[layout] = await stack.enter_async_context(
                        await Pair.connect(bigs[0] if len(bigs) == 1 else bigs, small, options=given)
                    )
                    if layout == "c":
                        await measure_calls(pairs[layout]["big"], rows.calls, rows.prefixes)
                await rows.measure(pairs[layout], layout, name, chains)
            except TypeError as error:
                print(f"{layout} {name} {chains}: left out, {error}", flush=True)
            except Exception as error:  # noqa: BLE001 (the other rows are worth their time)
                failed += 1
                print(f"{layout} {name} {chains}: failed, {type(error).__name__}: {str(error)[:300]}", flush=True)
    print(f"{late} rows are left for the same command" if late else "all rows were tried")
    return 3 if late else 4 if failed else 0


def predicted(row: dict[str, Any], profile: str) -> float:
    layout: Layout = LAYOUTS[row["layout"]]
    clock = VirtualClock(load_profile(profile), layout)
    drawn = Drawn(length=row["tokens"], acceptance=row["acceptance"], prompt=200, answer=ANSWER)
    clock.run(PROGRAMS[PIPED if row["method"] == RAW else row["method"]](drawn, seed) for seed in range(row["chains"]))
    return row["kept"] / clock.now


def table(rows: list[dict[str, Any]], profile: str) -> str:
    head = ("layout", "method", "chains", "tokens/s", "predicted", "latency, s", "GPU s a chain", "our CPU, us a token")
    text = f"| {' | '.join(head)} |\n|{'---|' * 2}{'---:|' * 6}\n"
    swings = [row for row in rows if row["method"] == SWING]
    for row in sorted((row for row in rows if row["method"] != SWING), key=lambda row: (row["layout"], row["chains"], -row["tokens_s"])):
        foreseen = row["method"] != "auto" and row["layout"] in LAYOUTS
        guess = f"{predicted(row, profile):,.0f}" if foreseen else ""
        cells = [row["layout"], row["method"], row["chains"], f"{row['tokens_s']:,.0f}", guess]
        cells += [f"{row['latency_s']:.2f}", f"{row['gpu_s']:.2f}", f"{row['cpu_us_token']:.0f}"]
        text += f"| {' | '.join(map(str, cells))} |\n"
    for row in swings:
        told = ", ".join(f"{name} {row[name]['mean_s']:.2f} s" for name in ("auto", "big_only", PIPED))
        text += f"\nOne chain after another and a burst of {row['burst']} beside them, the mean of all chains: {told}.\n"
    return text


def bars(rows: list[dict[str, Any]], calls: list[dict[str, Any]]) -> str:
    """Holds rows against the bars of the project. A bar whose rows lack is left out."""
    rates = {(row["layout"], row["method"], row["chains"]): row["tokens_s"] for row in rows if "tokens_s" in row}
    cpu = {row["method"]: row["cpu_us_token"] for row in rows if (row["layout"], row["chains"]) == ("c", 64) and "cpu_us_token" in row}
    found: list[tuple[str, float, float, bool]] = []
    for name, one, other, least in (
        ("piped steps over bare calls, 1 chain", ("c", PIPED, 1), ("c", RAW, 1), 0.97),
        ("piped steps over two replicas of big, 16 chains", ("c", PIPED, 16), ("a", "big_only", 16), 1.4),
    ):
        if one in rates and other in rates:
            found.append((name, rates[one] / rates[other], least, rates[one] >= least * rates[other]))
    for load in sorted({chains for layout, name, chains in rates if (layout, name) == ("c", "auto")}):
        own = {name: rate for (layout, name, chains), rate in rates.items() if (layout, chains) == ("c", load)}
        single = max((rate for name, rate in own.items() if name in (PIPED, "likelihood_verify", "big_only")), default=0.0)
        if single:
            found.append((f"auto over the best of its ways, {load} chains", own["auto"] / single, 0.97, own["auto"] >= 0.97 * single))
    for row in calls:
        if "score_ms" in row and row["prefix"] > 4000:
            ratio = row["score_ms"] / row["judge_ms"]
            found.append((f"a score over a judgement behind {row['prefix']:,} tokens", ratio, 1.0, ratio <= 1.0))
        if "raw_ms" in row:
            more = row["cached_ms"] - row["raw_ms"]
            found.append((f"a hand-over behind {row['prefix']:,} cached tokens, ms more than a bare request", more, 3.0, more <= 3))
    for name, most in (("big_only", 45.0), ("random_switch", 75.0)):
        if name in cpu:
            found.append((f"our CPU, us a token of {name}, 64 chains", cpu[name], most, cpu[name] <= most))
    lines = [f"| {name} | {value:.2f} | {bar:g} | {'kept' if kept else 'missed'} |\n" for name, value, bar, kept in found]
    return f"\n| bar | measured | wanted | |\n|---|---:|---:|---|\n{''.join(lines)}" if lines else ""


def main(given: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--big", action="append", default=[])
    parser.add_argument("--small")
    parser.add_argument("--tokenizer")
    parser.add_argument("--dialect")
    parser.add_argument("--layouts", default="c,a,f,e-mps")
    parser.add_argument("--chains", default="1,16,64,256")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--burst", type=int, default=127)
    parser.add_argument("--acceptance", type=float, default=0.8)
    parser.add_argument("--seconds", type=float, default=400.0)
    parser.add_argument("--profile", default="h200-32b-1.5b")
    parser.add_argument("--page", type=Path)
    options = parser.parse_args(given)
    if options.page:
        rows = read_rows(options.out)
        text = table(rows, options.profile) + bars(rows, read_rows(options.out.with_suffix(".calls")))
        before, _, rest = options.page.read_text().partition(BEGIN)
        options.page.write_text(before + BEGIN + "\n" + text + "\n" + END + rest.partition(END)[2])
        return 0
    if not options.big or not options.small:
        parser.error("name --big and --small")
    return asyncio.run(measure_all(options))


if __name__ == "__main__":
    sys.exit(main())
