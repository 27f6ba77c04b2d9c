"""Measures methods and writes the table that `speculative methods --for …` reads: `python scripts/measured.py --methods …`.

The methods take turns on each problem, one chain at a time, so that other work on the machine slows all of them alike. The samples are in a
run folder: the same command continues an interrupted run. With `--figures FOLDER`, a run folder of `speculative compare` on more problems,
accuracy and tokens are those of its methods, and only the speed is measured here.
"""

import argparse
import asyncio
import shlex
import sys
from pathlib import Path

import msgspec
from msgspec import structs

from speculative import Pair, Problem
from speculative.evaluate.problems import DEFAULT_TASK, problems, spread
from speculative.evaluate.runner import EvalCell, EvalRunner
from speculative.evaluate.tasks import TASKS
from speculative.methods.spec import parse_methods
from speculative.runs.folder import Run, RunFolder
from speculative.stats.measured import measure_table
from speculative.stats.summary import summarize

TABLE = Path(__file__).parents[1] / "src" / "speculative" / "bundled" / "measured.json"

ENGINES = {"big": "bundled:big", "small": "bundled:small"}


async def run(cells: list[EvalCell], folder: RunFolder) -> None:
    for cell in cells:
        cell.resume(folder.samples)
    turns = sorted((one for cell in cells for one in cell.planned), key=lambda one: (one.epoch, one.task_problem.id))
    done = {(cell.spec.label, *place) for cell in cells for place in cell.done}
    async with Pair.open() as pair:
        runner = EvalRunner.on(pair, folder, chains=1)
        await runner.run([one for one in turns if (one.spec.label, one.task_problem.id, one.epoch) not in done], lambda one, sample: None)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures methods on the benchmark problems.")
    parser.add_argument("--methods", required=True, help="methods with commas between them, as in `speculative compare`, big_only first")
    parser.add_argument("--limit", type=int, default=40, help="number of problems")
    parser.add_argument("--out", type=Path, default=Path("measured"), help="run folder")
    parser.add_argument("--figures", type=Path, help="run folder whose methods and figures the table has, the speed left out")
    given = parser.parse_args()
    rivals, some = parse_methods(given.methods), spread(problems("benchmark"), given.limit)
    cells = [EvalCell(TASKS[DEFAULT_TASK], rival, some, Problem.of("each bundled problem"), engines=ENGINES) for rival in rivals]
    with RunFolder(given.out) as folder:
        asyncio.run(run(cells, folder))
        labels = [rival.label for rival in rivals]
        rows = summarize([sample for sample in folder.samples if sample.label in labels], labels)
    table = measure_table(shlex.join(["python", "scripts/measured.py", *sys.argv[1:]]), rows)
    if given.figures:
        found = measure_table(table.command, summarize(Run(given.figures).samples))
        speeds = {one.method: one.speed for one in table.methods}
        last = {one.method: one for one in found.methods}  # of several rows of one method
        methods = tuple(structs.replace(one, speed=speeds.get(one.method)) for one in last.values())
        table = structs.replace(found, methods=methods, concurrency=table.concurrency)
    TABLE.write_bytes(msgspec.json.format(msgspec.json.encode(table), indent=1) + b"\n")


if __name__ == "__main__":
    main()
