"""Measures methods at several loads through the library, on servers that run already.

    python bench/gpu/table.py OUT.jsonl --big URL [--big URL] --small URL [--layouts a,c,f,e-mps] [--seconds 400]

One more row is added to OUT for each layout, method and load; rows that are there are not measured again, so the same command continues
after its time is over. The second big server shares the small one's GPU. `a` takes both big servers, `c` the first and small, `f` all,
`e-mps` the second and small. With `--page FILE` the table of docs/planner.md is written from the rows, beside the planner's predictions.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from forced import ForcedCascade, ForcedCueSwitch, ForcedLikelihoodVerify, ForcedStepVerify

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
ROLES = {"a": ("both", None), "c": ("first", "small"), "f": ("both", "small"), "e-mps": ("second", "small")}
BEGIN, END = "<!-- measured -->\n", "<!-- end of measured -->"


def methods(acceptance: float) -> dict[str, Method]:
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
    }


def problem(seed: int, tokens: int) -> Problem:
    text = f"Case {seed}: " + " ".join(f"{seed * 7919 + place * 104729:x}" for place in range(40))
    return Problem.of(text, seed=seed, max_tokens=tokens + ANSWER, answer_tokens=ANSWER, sampling=Sampling(0.6, 0.95))


async def measure(pair: Pair, method: Method, chains: int, tokens: int, gpus: int) -> dict[str, Any]:
    """One row: chains that begin at once."""
    began, cpu = time.perf_counter(), time.process_time()

    async def chain(seed: int) -> tuple[float, Result]:
        start = time.perf_counter()
        result = await run(problem(seed, tokens), method, pair)
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


async def measure_all(options: argparse.Namespace) -> int:
    until = time.monotonic() + options.seconds
    done = [json.loads(line) for line in options.out.read_text().splitlines()] if options.out.exists() else []
    known = {(row["layout"], row["method"], row["chains"]) for row in done}
    table = methods(options.acceptance)
    for layout in options.layouts.split(","):
        bigs, small = servers(layout, options.big, options.small)
        roles = {"big": bigs, "small": [small]}
        given = {role: EngineOptions(tokenizer=options.tokenizer, dialect=options.dialect) for role in roles}
        wanted = [(name, chains) for chains in map(int, options.chains.split(",")) for name in table if layout != "a" or name == "big_only"]
        wanted = [one for one in wanted if (layout, *one) not in known]
        if not wanted:
            continue
        pair = await Pair.connect(bigs[0] if len(bigs) == 1 else bigs, small, options=given)
        async with pair:
            await measure(pair, table["big_only"] if layout == "a" else table["likelihood_verify"], 2, 100, 1)  # warm
            for name, chains in wanted:
                if time.monotonic() > until:
                    print("the time is over; the same command continues")
                    return 3
                row = await measure(pair, table[name], chains, STEP * options.steps, LAYOUTS[layout].gpus)
                row = {"layout": layout, "method": name, "acceptance": options.acceptance, **row}
                with options.out.open("a") as file:
                    file.write(json.dumps(row) + "\n")
                print(json.dumps(row), flush=True)
    return 0


def predicted(row: dict[str, Any], profile: str) -> float:
    layout: Layout = LAYOUTS[row["layout"]]
    clock = VirtualClock(load_profile(profile), layout)
    drawn = Drawn(length=row["tokens"], acceptance=row["acceptance"], prompt=200, answer=ANSWER)
    clock.run(PROGRAMS[row["method"]](drawn, seed) for seed in range(row["chains"]))
    return row["kept"] / clock.now


def table(rows: list[dict[str, Any]], profile: str) -> str:
    head = ("layout", "method", "chains", "tokens/s", "predicted", "latency, s", "GPU s a chain", "our CPU, us a token")
    text = f"| {' | '.join(head)} |\n|{'---|' * 2}{'---:|' * 6}\n"
    for row in sorted(rows, key=lambda row: (row["layout"], row["chains"], -row["tokens_s"])):
        cells = [row["layout"], row["method"], row["chains"], f"{row['tokens_s']:,.0f}", f"{predicted(row, profile):,.0f}"]
        cells += [f"{row['latency_s']:.2f}", f"{row['gpu_s']:.2f}", f"{row['cpu_us_token']:.0f}"]
        text += f"| {' | '.join(map(str, cells))} |\n"
    return text


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
    parser.add_argument("--acceptance", type=float, default=0.8)
    parser.add_argument("--seconds", type=float, default=400.0)
    parser.add_argument("--profile", default="h200-32b-1.5b")
    parser.add_argument("--page", type=Path)
    options = parser.parse_args(given)
    if options.page:
        text = table([json.loads(line) for line in options.out.read_text().splitlines()], options.profile)
        before, _, rest = options.page.read_text().partition(BEGIN)
        options.page.write_text(before + BEGIN + "\n" + text + "\n" + END + rest.partition(END)[2])
        return 0
    if not options.big or not options.small:
        parser.error("name --big and --small")
    return asyncio.run(measure_all(options))


if __name__ == "__main__":
    sys.exit(main())
