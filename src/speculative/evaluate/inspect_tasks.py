"""Our tasks, grader and reducers, as inspect-ai knows them: `inspect eval speculative/stories --model speculative/big_only`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from inspect_ai import Epochs
from inspect_ai import Task as InspectTask
from inspect_ai import task as inspect_task
from inspect_ai._util.registry import registry_name
from inspect_ai.dataset import MemoryDataset
from inspect_ai.dataset import Sample as InspectSample
from inspect_ai.model import get_model
from inspect_ai.scorer import CORRECT, INCORRECT, Score, Scorer, ScoreReducer, Target, accuracy, score_reducer, scorer, stderr
from inspect_ai.solver import Generate, Solver, TaskState, solver

from speculative.evaluate.grading.choices import Kind
from speculative.evaluate.grading.grade import grade_async, vote_key
from speculative.evaluate.inspect_model import PLACE, SpeculativeModel
from speculative.evaluate.problems import TaskProblem
from speculative.evaluate.tasks import TASKS, Task, load, task
from speculative.evaluate.work import seed_of
from speculative.prompts import Qwen3
from speculative.stats.pass_at_k import allowed, majority


def named(name: str) -> str:
    """With the package before it, which inspect-ai adds itself only where that is installed from a wheel."""
    return name if "/" in registry_name(named, name) else f"speculative/{name}"


@solver(name=named("put"))
def put(task_name: str, seed: int = 0) -> Solver:
    """Puts a problem to the model, with a seed of its own for each epoch; another model gets our instruction in so many words."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        problem, epoch = str(state.sample_id), state.epoch - 1
        told = task(task_name).instruction
        state.user_prompt.metadata = {PLACE: {"problem": problem, "epoch": epoch, "instruction": told}}
        if not isinstance(get_model().api, SpeculativeModel):
            state.user_prompt.text += f"\n{told or Qwen3.answer_instruction}"
        return await generate(state, seed=seed_of(seed, problem, epoch))

    return solve


@scorer(metrics=[accuracy(), stderr()], name=named("graded"))
def graded(kind: Kind = "math") -> Scorer:
    """The one grader. What a chain of ours was graded with already is taken as it is."""

    async def score(state: TaskState, target: Target) -> Score:
        done: dict[str, Any] | None = (state.output.metadata or {}).get("graded")
        if done is None:
            verdict = await grade_async(state.output.completion, target.text, kind, question=state.input_text)
            done = {"correct": verdict.correct, "found": verdict.answer, "vote": vote_key(verdict.answer, kind), "why": verdict.why}
        return Score(
            value=CORRECT if done["correct"] else INCORRECT, answer=done["found"], explanation=done["why"], metadata={"vote": done["vote"]}
        )

    return score


@score_reducer(name=named("maj"))
def maj(k: int = 0) -> ScoreReducer:
    """The chance that the most common answer of k epochs is right (of all of them without a k): a vote by answers, not by verdicts."""

    def reduce(scores: list[Score]) -> Score:
        tries = [((one.metadata or {}).get("vote"), one.value in (CORRECT, 1)) for one in scores]
        (chance,) = majority(tries, [min(k or len(tries), len(tries))])
        return Score(value=chance)

    return reduce


def inspected(task: Task, stated: Sequence[TaskProblem], *, seed: int = 0, epochs: int | None = None, **more: Any) -> InspectTask:
    """A task of ours as one of inspect-ai."""
    rows = [
        InspectSample(input=one.problem, target=one.answer, id=one.id, metadata={"level": one.level, "kind": one.kind}) for one in stated
    ]
    ks = allowed([epochs or 1])
    reducers = ["mean", *(f"pass_at_{k}" for k in ks), *(f"{named('maj')}_{k}" for k in ks)]
    repeats = {"epochs": Epochs(epochs, reducers)} if epochs else {}
    return InspectTask(
        dataset=MemoryDataset(rows, name=task.name), solver=put(task.name, seed), scorer=graded(task.kind), **repeats, **more
    )


def declare(task: Task) -> Callable[..., InspectTask]:
    """Makes a task of ours known to inspect-ai."""

    def declared(data: str | None = None, seed: int = 0) -> InspectTask:
        return inspected(task, load(task, Path(data) if data else None), seed=seed)

    declared.__doc__ = task.about
    return inspect_task(name=named(task.name))(declared)


DECLARED = {name: declare(task) for name, task in TASKS.items()}
