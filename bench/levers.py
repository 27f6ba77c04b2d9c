"""Predicts what moves the curve of checked steps, and writes the table of docs/planner.md.

    python bench/levers.py [--write] [--length 1000]

Chains of `likelihood_verify` and `step_verify` on the virtual clock, on two H200 (layout `c`), each with one change. Batches begin at once.
Longer and shorter steps keep the acceptance of a token, not that of a step.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from statistics import median

from speculative.plan.calls import PlannedCall, Program, run, sleep
from speculative.plan.clock import VirtualClock
from speculative.plan.layout import LAYOUTS
from speculative.plan.profile import load_profile
from speculative.plan.programs import PROGRAMS, Drawn, Text
from speculative.plan.simulated_server import SimulatedServer

PAGE = Path(__file__).parents[1] / "docs" / "planner.md"
BEGIN, END = "<!-- levers -->\n", "<!-- end of levers -->"
LOADS = (1, 16, 64, 256)
DRAWS = {1: 64, 16: 8, 64: 4, 256: 2}
"""Draws of the decisions at each load, of which the mean is taken."""
SCORED, ASKED, PIPED = "likelihood_verify", "step_verify", "likelihood_verify,pipeline=accept"
Make = Callable[[VirtualClock], Callable[[Drawn, int], Program]]


def plain(method: str) -> Make:
    return lambda _: PROGRAMS[method]


def held(method: str, window: float) -> Make:
    """Holds judgements until the end of a window, so that those of several chains arrive together."""

    def make(clock: VirtualClock) -> Callable[[Drawn, int], Program]:
        def write(drawn: Drawn, seed: int) -> Program:
            for operation, what in PROGRAMS[method](drawn, seed):
                if operation == "run" and what.label == "judge":
                    yield sleep(window - clock.now % window)
                yield operation, what

        return write

    return make


def two_at_once(_: VirtualClock) -> Callable[[Drawn, int], Program]:
    """Lets small draft two steps, and big score both in one call. After a rejected first step the second is lost."""

    def write(drawn: Drawn, seed: int) -> Program:
        random, text, left = Random(seed), Text(drawn.prompt), drawn.length
        while left > 0:
            sizes = [min(drawn.step, left), min(drawn.step, max(0, left - drawn.step))]
            yield run(text.call("small", sum(sizes), label="draft"))
            yield run(text.call("big", 1, extra=sum(sizes), label="judge"))
            for size in sizes:
                if not size:
                    continue
                left -= size
                if random.random() < drawn.acceptance:
                    text.keep(size, "big", "small")
                    continue
                text.seen["big"] = text.seen["small"] = text.size
                yield run(text.call("big", size, label="rewrite"))
                text.keep(size, "big")
                break

    return write


def triggered(_: VirtualClock) -> Callable[[Drawn, int], Program]:
    """Lets big read nothing until a trigger of small fires, and then write that step."""

    def write(drawn: Drawn, seed: int) -> Program:
        random, text, left = Random(seed), Text(drawn.prompt), drawn.length
        while left > 0:
            size = min(drawn.step, left)
            role = "small" if random.random() < drawn.acceptance else "big"
            yield run(text.call(role, size, label="draft" if role == "small" else "rewrite"))
            text.keep(size, role)
            left -= size

    return write


class Ranked(SimulatedServer):
    """Takes waiting judgements first, as vLLM does with `--scheduling-policy priority`."""

    def arrive(self, call: PlannedCall, now: float) -> None:
        super().arrive(call, now)
        begun = [one for one in self._waiting if one.left >= 0]
        later = sorted((one for one in self._waiting if one.left < 0), key=lambda one: one.label != "judge")
        self._waiting.clear()
        self._waiting.extend([*begun, *later])


LEVERS: dict[str, tuple[Make, dict[str, float]]] = {
    "big alone, two replicas (equal hardware)": (plain("big_only"), {}),
    "scored steps of 50": (plain(SCORED), {}),
    "asked steps of 50": (plain(ASKED), {}),
    "scored, the next step drafted meanwhile": (plain(PIPED), {}),
    "the same, waiting judgements first (`priority`)": (plain(PIPED), {"ranked": 1}),
    "scored, held up to 5 ms to arrive together": (held(SCORED, 0.005), {}),
    "scored, held up to 20 ms": (held(SCORED, 0.02), {}),
    "scored, held up to 100 ms": (held(SCORED, 0.1), {}),
    "scored, steps of 25": (plain(SCORED), {"step": 25}),
    "scored, steps of 100": (plain(SCORED), {"step": 100}),
    "scored, steps of 200": (plain(SCORED), {"step": 200}),
    "scored, two steps in one call": (two_at_once, {}),
    "big reads nothing until a trigger fires": (triggered, {}),
}


def simulate(make: Make, chains: int, length: int, more: dict[str, float], layout: str) -> tuple[float, float]:
    """Returns tokens a second, and the seconds of the median chain, over several draws."""
    step = int(more.get("step", 50))
    drawn = Drawn(length=length, step=step, acceptance=0.8 ** (step / 50))
    walls, seconds = list[float](), list[float]()
    for draw in range(DRAWS[chains]):
        clock = VirtualClock(load_profile("h200-32b-1.5b"), LAYOUTS[layout])
        if more.get("ranked"):
            for server in (one for servers in clock.servers.values() for one in servers):
                server.__class__ = Ranked
        found = clock.run(make(clock)(drawn, chains * draw + seed) for seed in range(chains))
        walls.append(clock.now)
        seconds += [chain.seconds for chain in found]
    return chains * length * len(walls) / sum(walls), median(seconds)


def table(length: int) -> str:
    head = [f"tokens/s, {load}" for load in LOADS] + [f"latency s, {load}" for load in LOADS]
    text = f"| predicted | {' | '.join(head)} |\n|---|{'---:|' * len(head)}\n"
    for name, (make, more) in LEVERS.items():
        found = [simulate(make, load, length, more, "a" if name.startswith("big alone") else "c") for load in LOADS]
        cells = [f"{rate:,.0f}" for rate, _ in found] + [f"{seconds:.2f}" for _, seconds in found]
        text += f"| {name} | {' | '.join(cells)} |\n"
    return text


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the table of docs/planner.md")
    parser.add_argument("--length", type=int, default=1000, help="tokens of a chain")
    options = parser.parse_args()
    text = table(options.length)
    print(text)
    if options.write:
        before, _, rest = PAGE.read_text().partition(BEGIN)
        PAGE.write_text(before + BEGIN + "\n" + text + "\n" + END + rest.partition(END)[2])
    return 0


if __name__ == "__main__":
    sys.exit(main())
