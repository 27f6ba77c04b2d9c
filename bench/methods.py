"""Times methods on the bundled engine, one chain at a time, against the big model alone.

    python bench/methods.py [--methods SPEC…] [--limit 10] [--rounds 5] [--temperature 0] [--json FILE]

A round runs every method on the same problems with the same seeds, in another order than the round before. Each run opens its own engines,
so none finds text of another in a cache, and has a chain to warm up. A method's ratio is big_only's seconds over its own in the same
round; figures are medians over the rounds, with the lowest and highest.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from speculative import Pair, Problem
from speculative.evaluate.problems import TaskProblem, spread
from speculative.evaluate.runner import EvalCell, grade_result, solver
from speculative.evaluate.tasks import load, task
from speculative.methods.spec import Contender, contender
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


class Run:
    """The chains of one method in one round."""

    def __init__(self, seconds: float, samples: list[Sample], texts: list[str]) -> None:
        self.seconds, self.samples, self.texts = seconds, samples, texts


async def run_method(one: Contender, problems: list[TaskProblem], problem: Problem) -> Run:
    """Runs a method on the problems, one chain after the other; the first problem only warms up."""
    async with Pair.open() as pair:
        solve, planned = solver(pair), EvalCell(task("stories"), one, problems, problem).planned
        await solve(planned[0].build_problem(), one.method)
        begin = time.perf_counter()
        results = [await solve(sample.build_problem(), one.method) for sample in planned[1:]]
        seconds = time.perf_counter() - begin
        samples = [await grade_result(sample, result, 1.0) for sample, result in zip(planned[1:], results, strict=True)]
        return Run(seconds, samples, [result.reasoning + result.text for result in results])


def row_of(label: str, runs: list[Run], baseline: list[Run]) -> dict[str, Any]:
    """Returns the figures of a method; those of tokens and answers are of all rounds together."""
    samples = [sample for run in runs for sample in run.samples]
    usage = total_usage(sample.usage for sample in samples)
    same = [own == theirs for run, other in zip(runs, baseline, strict=True) for own, theirs in zip(run.texts, other.texts, strict=True)]
    return {
        "method": label,
        "ratios": [other.seconds / run.seconds for run, other in zip(runs, baseline, strict=True)],
        "seconds": [run.seconds / len(run.samples) for run in runs],
        "solved": statistics.fmean(sample.correct for sample in samples),
        "big_kept": big_model_share(usage, "kept_tokens"),
        "length": all_roles(usage, "kept_tokens") / len(samples),
        "discarded": all_roles(usage, "discarded_tokens") / len(samples),
        "same_text": statistics.fmean(same),
    }


def line_of(row: dict[str, Any]) -> str:
    """Returns a row of the table as text."""
    ratios, seconds = row["ratios"], row["seconds"]
    ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
    shares = f"{100 * row['solved']:>7.0f} %{100 * row['big_kept']:>7.0f} %{row['length']:>8.0f}{row['discarded']:>11.0f}"
    return f"{row['method']:<36}{ratio:>18}{1000 * statistics.median(seconds):>7.0f}{shares}{100 * row['same_text']:>7.0f} %"


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=METHODS)
    parser.add_argument("--limit", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    contenders = [contender(spec) for spec in dict.fromkeys((BASELINE, *arguments.methods))]
    problems, runs = spread(load(task("stories")), arguments.limit + 1), {one.label: list[Run]() for one in contenders}
    load_before = os.getloadavg()[0]
    for number in range(arguments.rounds):
        turned = number % len(contenders)
        for one in (*contenders[turned:], *contenders[:turned]):
            problem = Problem.of("x", seed=number, sampling=Sampling(temperature=arguments.temperature))
            runs[one.label].append(await run_method(one, problems, problem))
    rows = [row_of(label, found, runs[contenders[0].label]) for label, found in runs.items()]
    print(f"{'method':<36}{'times as fast':>18}{'ms':>7}{'solved':>9}{'big':>9}{'length':>8}{'discarded':>11}{'same':>9}")
    print("\n".join(map(line_of, rows)))
    print(f"load {load_before:.1f} before and {os.getloadavg()[0]:.1f} after, {os.cpu_count()} cores")
    if arguments.json:
        kept = {"command": sys.argv, "load": [load_before, os.getloadavg()[0]], "cores": os.cpu_count(), "rows": rows}
        arguments.json.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    asyncio.run(main())
