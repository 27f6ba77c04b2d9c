"""Times methods on the bundled engine, one chain or several at a time, against the big model alone.

    python bench/methods.py [--task stories] [--methods SPEC…] [--limit 10] [--rounds 5] [--chains 1] [--temperature 0] [--json FILE]

Every method writes the chains of as many problems as `--chains` says, at once, before the next problems come, in turning order, so that
other work on the machine slows all of them alike. Each method has engines of its own, so none finds text of another in a cache, and no
problem comes twice. A round has `--limit` problems. A method's ratio is big_only's seconds over its own in the same round; figures are
medians over the rounds, with the lowest and highest.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from speculative import Pair, Problem
from speculative.evaluate.problems import DEFAULT_TASK, FOLDERS, TaskProblem, spread
from speculative.evaluate.runner import EvalCell, grade_result, solver
from speculative.evaluate.tasks import Task, load, task
from speculative.methods.spec import MethodSpec, parse_method
from speculative.problem import Sampling
from speculative.runs.sample import Sample
from speculative.trace.usage import all_roles, big_model_share, total_usage

BASELINE = "big_only"
METHODS = (
    BASELINE,
    "likelihood_verify",
    "likelihood_verify(pipeline=accept)",
    "likelihood_verify(pipeline=both)",
    "draft_verify",
    "best_step",
    "cue_switch",
)


class Arm:
    """One method with engines of its own, and its chains of each round."""

    def __init__(self, one: MethodSpec, pair: Pair, task: Task, rounds: int) -> None:
        self.spec, self._solve, self._task = one, solver(pair), task
        self.seconds = [0.0] * rounds
        self.samples: list[Sample] = []
        self.texts: list[str] = []

    async def run(self, problems: Sequence[TaskProblem], settings: Problem, number: int | None) -> None:
        """Runs the problems at once, and times them for a round; None only warms up."""
        planned = EvalCell(self._task, self.spec, list(problems), settings).planned
        begin = time.perf_counter()
        results = await asyncio.gather(*(self._solve(one.build_problem(), self.spec.method) for one in planned))
        seconds = time.perf_counter() - begin
        if number is not None:
            self.seconds[number] += seconds
            self.samples += [await grade_result(one, result, len(planned)) for one, result in zip(planned, results, strict=True)]
            self.texts += [result.reasoning + result.text for result in results]


def row_of(arm: Arm, baseline: Arm) -> dict[str, Any]:
    """Returns the figures of a method; those of tokens and answers are of all rounds together."""
    usage, chains = total_usage(sample.usage for sample in arm.samples), len(arm.samples)
    return {
        "method": arm.spec.label,
        "ratios": [theirs / own for own, theirs in zip(arm.seconds, baseline.seconds, strict=True)],
        "seconds": [seconds * len(arm.seconds) / chains for seconds in arm.seconds],
        "solved": statistics.fmean(sample.correct for sample in arm.samples),
        "big_kept": big_model_share(usage, "kept_tokens"),
        "length": all_roles(usage, "kept_tokens") / chains,
        "discarded": all_roles(usage, "discarded_tokens") / chains,
        "same_text": statistics.fmean(own == theirs for own, theirs in zip(arm.texts, baseline.texts, strict=True)),
    }


def line_of(row: dict[str, Any]) -> str:
    """Returns a row of the table as text."""
    ratios, seconds = row["ratios"], row["seconds"]
    ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
    shares = f"{100 * row['solved']:>7.0f} %{100 * row['big_kept']:>7.0f} %{row['length']:>8.0f}{row['discarded']:>11.0f}"
    return f"{row['method']:<36}{ratio:>18}{1000 * statistics.median(seconds):>7.0f}{shares}{100 * row['same_text']:>7.0f} %"


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=FOLDERS, default=DEFAULT_TASK, help="its problems")
    parser.add_argument("--methods", nargs="+", default=METHODS)
    parser.add_argument("--limit", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--chains", type=int, default=1, help="chains at once; it must divide limit times rounds")
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    specs = [parse_method(spec) for spec in dict.fromkeys((BASELINE, *arguments.methods))]
    problem_task = task(arguments.task)
    first, *problems = spread(load(problem_task), arguments.limit * arguments.rounds + 1)
    settings = Problem.of("x", sampling=Sampling(temperature=arguments.temperature))
    load_before = os.getloadavg()[0]
    async with AsyncExitStack() as opened:
        pairs = [await opened.enter_async_context(Pair.open()) for _ in specs]
        arms = [Arm(one, pair, problem_task, arguments.rounds) for one, pair in zip(specs, pairs, strict=True)]
        for arm in arms:
            await arm.run([first], settings, None)
        for place in range(len(problems) // arguments.chains):
            turned, at_once = place % len(arms), problems[place * arguments.chains :][: arguments.chains]
            for arm in (*arms[turned:], *arms[:turned]):
                await arm.run(at_once, settings, place % arguments.rounds)
    rows = [row_of(arm, arms[0]) for arm in arms]
    print(f"{'method':<36}{'times as fast':>18}{'ms':>7}{'solved':>9}{'big':>9}{'length':>8}{'discarded':>11}{'same':>9}")
    print("\n".join(map(line_of, rows)))
    print(f"load {load_before:.1f} before and {os.getloadavg()[0]:.1f} after, {os.cpu_count()} cores")
    if arguments.json:
        kept = {"command": sys.argv, "load": [load_before, os.getloadavg()[0]], "cores": os.cpu_count(), "rows": rows}
        arguments.json.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    asyncio.run(main())
