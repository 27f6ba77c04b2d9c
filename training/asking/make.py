"""Teach a small model of your own to ask a big one: to mark, to call, to hand off, to ask for advice.

    python -m training.asking.make label --big BIG --small FOLDER --problems problems.jsonl --method offload --out labels.jsonl
    python -m training.asking.make tune --model FOLDER --rows labels.jsonl --out asking
    python -m training.asking.make rollout --big BIG --small asking --problems problems.jsonl --method offload --out rollouts.jsonl
    python -m training.asking.make tune --model asking --rows rollouts.jsonl --epochs 1 --out asking-2

BIG and FOLDER are engines as `speculative ask` takes them. A line of the problems holds `problem` and `answer`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from speculative.engines.base import Engine
from speculative.engines.local import BundledEngine
from speculative.errors import SpeculativeError
from speculative.evaluate.grading.grade import grade
from speculative.methods.base import Method
from speculative.methods.registry import build
from speculative.methods.spec import parse_method
from speculative.pair import Pair, open_engine
from speculative.problem import Problem, Sampling
from speculative.result import Result
from speculative.runner import asolve
from training.asking.labels import Labelled, supervise
from training.asking.rollouts import reinforce, reward
from training.asking.rows import Row, load, save

METHODS = ("offload", "relay", "handoff", "advisor")


class Task(NamedTuple):
    """A problem and its answer."""

    problem: str
    answer: str


def read_tasks(path: Path, limit: int | None) -> list[Task]:
    """Read problems. Raises `SystemExit` for a line without a problem and its answer."""
    found: list[Task] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            row = json.loads(line)
            found.append(Task(row["problem"], str(row["answer"])))
        except (ValueError, TypeError, KeyError):
            raise SystemExit(f"asking: {path} line {number} must hold a problem and its answer, got {line[:60]!r}") from None
    return found[:limit]


def open_model(spec: str) -> Engine:
    """Open an engine; a folder in the layout of the bundled models runs in this process."""
    return BundledEngine.open(spec) if (Path(spec) / "graph.onnx").is_file() else open_engine(spec)


async def run(pair: Pair, method: Method, task: Task, options: argparse.Namespace, seed: int) -> Result:
    """One chain."""
    sampling = Sampling(temperature=options.temperature)
    return await asolve(Problem.of(task.problem, sampling=sampling, seed=seed, max_tokens=options.max_tokens), method, pair=pair)


def is_right(result: Result, task: Task, kind: str) -> bool:
    """Whether the chain ended with the right answer."""
    return grade(result.text, task.answer, kind, question=task.problem).correct  # type: ignore[arg-type]


async def label(pair: Pair, tasks: Sequence[Task], options: argparse.Namespace) -> list[Row]:
    """Chains with the right answer, as the small model should have written them."""
    method = build(options.method)
    labelled = Labelled(threshold=options.threshold, advice=options.method == "advisor")

    async def one(task: Task) -> Row | None:
        async with limit:
            result = await run(pair, labelled, task, options, options.seed)
        return supervise(method, task.problem, result.trace, pair["small"].tokenizer) if is_right(result, task, options.kind) else None

    limit = asyncio.Semaphore(options.chains)
    return [row for row in await asyncio.gather(*map(one, tasks)) if row]


async def rollout(pair: Pair, tasks: Sequence[Task], options: argparse.Namespace) -> list[Row]:
    """Several chains of each problem, weighed against each other."""
    method = parse_method(options.method).method
    hint = getattr(method, "hint", "")

    async def one(task: Task) -> list[Row]:
        async with limit:
            results = await asyncio.gather(*(run(pair, method, task, options, options.seed + n) for n in range(options.tries)))
        rewards = [reward(result, is_right(result, task, options.kind), options.price) for result in results]
        return reinforce(f"{task.problem}\n{hint}" if hint else task.problem, results, rewards)

    limit = asyncio.Semaphore(max(1, options.chains // options.tries))
    return [row for rows in await asyncio.gather(*map(one, tasks)) for row in rows]


async def write_rows(options: argparse.Namespace) -> None:
    """Open the pair, run its chains and write the rows."""
    tasks = read_tasks(options.problems, options.limit)
    async with Pair(open_model(options.big), open_model(options.small)) as pair:
        pair.check(Labelled() if options.stage == "label" else parse_method(options.method).method)
        rows = await (label if options.stage == "label" else rollout)(pair, tasks, options)
    save(options.out, rows)
    print(f"{len(rows)} rows of {len(tasks)} problems in {options.out}")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    stages = made.add_subparsers(dest="stage", required=True)
    for name, about in (("label", "write rows for supervised training"), ("rollout", "write rows from chains of the method itself")):
        stage = stages.add_parser(name, help=about)
        stage.add_argument("--big", required=True)
        stage.add_argument("--small", required=True)
        stage.add_argument("--problems", type=Path, required=True, help="JSON Lines with `problem` and `answer`")
        stage.add_argument("--out", type=Path, required=True)
        stage.add_argument("--kind", default="math", choices=("math", "integer", "letter"), help="how answers are graded")
        stage.add_argument("--limit", type=int, help="the first N problems")
        stage.add_argument("--chains", type=int, default=16, help="chains at once")
        stage.add_argument("--max-tokens", type=int, default=8192)
        stage.add_argument("--seed", type=int, default=0)
        if name == "label":
            stage.add_argument("--method", required=True, choices=METHODS)
            stage.add_argument(
                "--threshold", type=float, default=-0.1, help="mean log-probability, by big, below which small's step is hard"
            )
            stage.add_argument("--temperature", type=float, default=0.0)
        else:
            stage.add_argument("--method", required=True, help="as `speculative ask` takes it: offload(chunk=32)")
            stage.add_argument("--tries", type=int, default=8, help="chains of each problem")
            stage.add_argument("--price", type=float, default=0.5, help="what a chain that big wrote alone costs of a right answer")
            stage.add_argument("--temperature", type=float, default=0.8)
    stage = stages.add_parser("tune", help="train on rows")
    stage.add_argument("--model", type=Path, required=True, help="the model's folder")
    stage.add_argument("--rows", type=Path, nargs="+", required=True)
    stage.add_argument("--out", type=Path, required=True)
    stage.add_argument("--dialect", help="the model's family, where it cannot be told from its tokens")
    stage.add_argument("--epochs", type=int, default=2)
    stage.add_argument("--batch", type=int, default=16, help="rows of a step")
    stage.add_argument("--rate", type=float, default=1e-5, help="learning rate")
    stage.add_argument("--longest", type=int, default=8192, help="tokens of a row that are learnt")
    stage.add_argument("--seed", type=int, default=0)
    return made


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a stage."""
    options = parser().parse_args(arguments)
    try:
        if options.stage != "tune":
            asyncio.run(write_rows(options))
            return
        from training.asking.tune import Settings, tune

        settings = Settings(options.epochs, options.batch, options.rate, options.longest, options.seed)
        tune(options.model, load(options.rows), options.out, settings, options.dialect)
    except (SpeculativeError, OSError) as error:
        raise SystemExit(f"asking: {error}") from None


if __name__ == "__main__":
    main()
