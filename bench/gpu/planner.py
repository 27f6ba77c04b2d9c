"""Holds the planner's predictions against runs on GPUs, and writes the table of docs/planner.md.

python bench/gpu/planner.py [--write]

The runs are in bench/gpu/figures: raw loops over two vLLM servers (`checked-steps*.jsonl`), and chains through the service
(`service-two-gpus.jsonl`).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from random import Random
from statistics import fmean

from speculative.plan.clock import VirtualClock
from speculative.plan.layout import LAYOUTS
from speculative.plan.profile import load_profile
from speculative.plan.programs import PROGRAMS, Drawn

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "planner.md"
BEGIN, END = "<!-- predictions -->\n", "<!-- end of predictions -->"
MODES = {"big": "big_only", "small": "small_only", "step": "step_verify", "pipe": "step_verify,pipeline=accept"}
BARS = {1: 0.15, 16: 0.25, 64: 0.25, 256: 0.25}
COLD = {("big", 16, 1), ("small", 16, 1)}
"""Runs that compiled kernels for a batch that was new to them: warm ones gave 815 and 6,401 tokens/s. They are left out."""
USED = {("big", 256, 2), ("big", 256, 1), ("small", 256, 1)}
"""Runs from which the profile's costs of large batches come."""
SERVICE = {"direct big": ("big_only", {}), "service random_switch 0.2/16": ("random_switch", {"big_share": 0.2, "chunk": 16})}
SERVICE |= {
    f"service random_switch {share}/{chunk}": ("random_switch", {"big_share": share, "chunk": chunk})
    for share, chunk in ((0.2, 64), (0.5, 16))
}
DRAWS = {1: 64, 16: 16, 64: 4}
"""Draws of the switches, of which the mean is taken: which chunks went to big is not recorded, only the median of their number."""
ANSWER = 64
"""Tokens of the answer, which big writes behind the thinking."""


def simulate(method: str, layout: str, drawn: Drawn, chains: int, first: int = 0) -> float:
    clock = VirtualClock(load_profile("h200-32b-1.5b"), LAYOUTS[layout])
    clock.run(PROGRAMS[method](drawn, first + seed) for seed in range(chains))
    return chains * (drawn.length + drawn.answer) / clock.now


def drawn_with(big: int, drawn: Drawn) -> list[int]:
    """Seeds of single chains in which big writes so many chunks."""
    chunks = -(-drawn.length // drawn.chunk)
    draws = {seed: Random(seed) for seed in range(20_000)}
    counts = {seed: sum(draw.random() < drawn.big_share for _ in range(chunks)) for seed, draw in draws.items()}
    return [seed for seed, count in counts.items() if count == big][: DRAWS[1]]


def lines(name: str) -> list[dict]:
    return [json.loads(line) for line in (HERE / "figures" / f"{name}.jsonl").read_text().splitlines()]


def rows() -> list[tuple[str, str, str, int, float, float]]:
    """The origin, the method, the layout, chains, and measured and predicted tokens a second."""
    found = []
    for name, own in (("checked-steps", None), ("checked-steps-one-gpu-mps", "e-mps")):
        for run in lines(name):
            if own is None and (run["mode"], run["chains"], run["bigs"]) in COLD:
                continue
            layout = own or ("a" if run["bigs"] == 2 else "c")
            method, drawn = MODES[run["mode"]], Drawn(length=50 * run["steps"], acceptance=run["accept"])
            used = own is None and (run["mode"], run["chains"], run["bigs"]) in USED
            predicted = simulate(method, layout, drawn, run["chains"])
            found.append(
                (
                    f"loop, {run['steps']} steps{', in the profile' if used else ''}",
                    method,
                    layout,
                    run["chains"],
                    run["tokens_s"],
                    predicted,
                )
            )
    for run in lines("service-two-gpus"):
        if run["path"] in SERVICE:
            method, more = SERVICE[run["path"]]
            chains, drawn = run["chains"], Drawn(length=512 - ANSWER * bool(more), prompt=64, answer=ANSWER * bool(more), **more)
            seeds = (
                drawn_with(run["requests"]["big"] - 1, drawn) if more and chains == 1 else [1000 * draw for draw in range(DRAWS[chains])]
            )
            draws = [simulate(method, "c", drawn, chains, seed) for seed in seeds]
            predicted = 1 / fmean(1 / one for one in draws)
            found.append((f"service {run['path'].split()[-1]}" if more else "direct", method, "c", chains, run["tokens_s"], predicted))
    return found


def table(found: list[tuple[str, str, str, int, float, float]]) -> str:
    text = "| run | method | layout | chains | measured tokens/s | predicted | off by | bar |\n|---|---|---|---:|---:|---:|---:|---|\n"
    for origin, method, layout, chains, measured, predicted in found:
        off, bar = predicted / measured - 1, BARS[chains]
        kept = "kept" if abs(off) <= bar else "missed"
        text += f"| {origin} | {method} | {layout} | {chains} | {measured:,.0f} | {predicted:,.0f} | {off:+.0%} | {bar:.0%} {kept} |\n"
    return text


def main() -> int:
    text = table(rows())
    print(text)
    if "--write" in sys.argv:
        before, _, rest = PAGE.read_text().partition(BEGIN)
        PAGE.write_text(before + BEGIN + "\n" + text + "\n" + END + rest.partition(END)[2])
    return 0


if __name__ == "__main__":
    sys.exit(main())
