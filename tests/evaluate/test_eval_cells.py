"""Cells and their runner: samples on the disk are not run again, and every new one is kept at once."""

import asyncio

import pytest

from speculative import EngineError, Pair, Problem
from speculative.evaluate.problems import problems
from speculative.evaluate.runner import EvalCell, EvalRunner
from speculative.evaluate.tasks import task
from speculative.methods.spec import format_method, parse_method
from speculative.runs.folder import Run, RunFolder
from speculative.testing import ScriptedEngine

SCRIPT = "So.</think>\n\n\\boxed{174}"


def cell_of(**problem):
    return EvalCell(task("stories"), parse_method("big_only"), problems()[:4], Problem.of("x", **problem), epochs=2, engines={"big": "b"})


async def run_all(cell, path, script=SCRIPT, chains=3):
    """Runs a whole cell; what was told of."""
    told = []
    async with Pair(*(ScriptedEngine(script, width=2) for _ in range(2))) as pair:
        with RunFolder(path) as folder:
            cell.resume(folder.samples)
            await EvalRunner.on(pair, folder, chains=chains).run_cells([cell], lambda cell, sample: told.append(sample))
    return told


async def test_a_cell_that_is_done_runs_nothing(tmp_path):
    first = await run_all(cell_of(), tmp_path / "run")
    assert len(first) == 8
    again = cell_of()
    assert await run_all(again, tmp_path / "run") == []
    assert sorted(sample.seed for sample in again.done.values()) == sorted(sample.seed for sample in first)


@pytest.mark.parametrize("other", [{"seed": 1}, {"max_tokens": 99}, {"answer_instruction": "Say it."}])
async def test_samples_of_another_setting_are_not_taken(tmp_path, other):
    await run_all(cell_of(), tmp_path / "run")
    assert len(await run_all(cell_of(**other), tmp_path / "run")) == 8
    assert len(Run(tmp_path / "run").samples) == 16


async def test_no_more_chains_than_allowed_are_under_way(tmp_path):
    running, most = 0, 0

    class Counting(ScriptedEngine):
        async def complete(self, *args, **more):
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.001)
            try:
                return await super().complete(*args, **more)
            finally:
                running -= 1

    cell = cell_of()
    async with Pair(Counting(SCRIPT), Counting(SCRIPT)) as pair:
        with RunFolder(tmp_path / "run") as folder:
            await EvalRunner.on(pair, folder, chains=2).run_cells([cell])
    assert most <= 2


async def test_a_failed_chain_leaves_no_sample(tmp_path):
    def broken(seen, seed):
        raise EngineError("the engine is broken")

    with pytest.raises(EngineError, match="broken"):
        await run_all(cell_of(), tmp_path / "run", broken)
    assert Run(tmp_path / "run").samples == []


def test_names_tell_cells_apart():
    assert cell_of().name == "stories big_only"
    assert cell_of(seed=3).name == "stories big_only seed 3"


@pytest.mark.parametrize(
    "spec", ["big_only", "random_switch(switch_ratio=4, unit=step)", "early_exit*vote(ballots=3)*random_switch(big_share=0.2)"]
)
def test_a_method_is_spelled_as_it_is_read(spec):
    *wrappers, inner = spec.split("*")
    name, _, fields = inner.partition("(")
    params = dict(field.split("=") for field in fields.removesuffix(")").split(", ") if field)
    assert format_method(name, params, wrappers[::-1]) == spec
    assert parse_method(spec).label == spec
