"""Registers our model provider, tasks, scorer and reducer with inspect-ai.

inspect eval speculative/tunnel --model speculative/random_switch -M switch_ratio=4
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from inspect_ai import Epochs
from inspect_ai import Task as InspectTask
from inspect_ai import task as inspect_task
from inspect_ai._util.registry import registry_name
from inspect_ai.dataset import MemoryDataset
from inspect_ai.dataset import Sample as InspectSample
from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    Content,
    ContentReasoning,
    ContentText,
    GenerateConfig,
    ModelAPI,
    ModelOutput,
    ModelUsage,
    StopReason,
    get_model,
    modelapi,
)
from inspect_ai.scorer import CORRECT, INCORRECT, Score, Scorer, ScoreReducer, Target, accuracy, score_reducer, scorer, stderr
from inspect_ai.solver import Generate, Solver, TaskState, solver
from inspect_ai.tool import ToolChoice, ToolInfo

from speculative._plugins import split_spec
from speculative.engines.options import BUNDLED, ROLES, EngineOptions, flat_fields
from speculative.errors import UnknownNameError, UsageError
from speculative.evaluate.grading.choices import Kind
from speculative.evaluate.grading.grade import grade_async, vote_key
from speculative.evaluate.problems import TaskProblem
from speculative.evaluate.runner import derive_seed
from speculative.evaluate.tasks import TASKS, Task, digest, load, task
from speculative.methods.base import Method
from speculative.methods.errors import prepare
from speculative.methods.registry import build, find
from speculative.pair import Pair
from speculative.problem import Message, Problem, Sampling
from speculative.prompts import Qwen3
from speculative.result import Result
from speculative.runner import run
from speculative.runs.sample import Sample
from speculative.stats.pass_at_k import available_ks, majority
from speculative.trace.trace import Trace
from speculative.trace.usage import all_roles

POSED = "speculative"
"""Key of a message's metadata: our solver stores the problem, its epoch and the answer instruction there."""

ENGINES = (*ROLES, *flat_fields(without=("keep",)))
"""The `-M` arguments that open the pair."""
REASONS: dict[str, StopReason] = {"stop": "stop", "length": "max_tokens", "context": "model_length"}


class SpeculativeModel(ModelAPI):
    """A method on a pair, as a model of inspect-ai.

    On the command line of inspect-ai, `-M big=…`, `-M small=…` and their options (`-M big_gpus=0`) open the pair, `-M with=…` are
    wrappers, and all others are the method's parameters.
    """

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),  # noqa: B008  the signature that inspect-ai calls
        **args: Any,
    ) -> None:
        super().__init__(model_name, base_url, api_key, [], config)
        self._engines = {name: args.pop(name) for name in ENGINES if name in args}
        wrappers = args.pop("with", ())
        fields = find(model_name, paths=False).model_fields
        if unknown := next((name for name in args if name not in fields and name.partition("_")[0] in ROLES), None):
            raise UnknownNameError("model argument", unknown, list(ENGINES))
        names = [wrappers] if isinstance(wrappers, str) else list(wrappers)
        self._method: Method = build(model_name, args, names, paths=False)
        self._pair: Pair | None = None
        self._opening = asyncio.Lock()
        self._times: Counter[tuple[int | None, str]] = Counter()

    async def generate(
        self, input: list[ChatMessage], tools: list[ToolInfo], tool_choice: ToolChoice, config: GenerateConfig
    ) -> ModelOutput:
        """Runs one chain. Raises `UsageError` and the errors of engines."""
        if tools:
            raise UsageError(f"speculative/{self.model_name} cannot call tools; use it on tasks without tools")
        posed: dict[str, Any] = (input[-1].metadata or {}).get(POSED, {})
        pair = await self._opened()
        problem = _problem(input, config, self._seed(input, config, posed=bool(posed)), posed.get("instruction"))
        result = await run(prepare(self._method, problem), self._method, pair)
        return model_output(self.model_name, result, result.trace)

    async def aclose(self) -> None:
        """Closes the pair."""
        if self._pair:
            pair, self._pair = self._pair, None
            await pair.aclose()

    def connection_key(self) -> str:
        """Returns one key for all models, since they share the engines."""
        return POSED

    async def _opened(self) -> Pair:
        async with self._opening:
            if self._pair is None:
                self._pair = await asyncio.to_thread(_open_pair, self._engines)
                self._pair.check(self._method)
            return self._pair

    def _seed(self, input: list[ChatMessage], config: GenerateConfig, *, posed: bool) -> int:
        """Returns the solver's seed, else a seed for each repetition of a prompt."""
        if posed and config.seed is not None:
            return config.seed
        prompt = digest("\n".join(message.text for message in input))
        self._times[config.seed, prompt] += 1
        return derive_seed(config.seed or 0, prompt, self._times[config.seed, prompt] - 1)


provider: Callable[..., ModelAPI] = modelapi(name="speculative")(SpeculativeModel)
"""Creates the model. inspect-ai knows it by the name `speculative`."""


def model_output(model: str, chain: Sample | Result, trace: Trace | None) -> ModelOutput:
    """Returns a chain as inspect-ai's output.

    The metadata holds the wall time, since inspect-ai overwrites its own field.
    """
    segments = trace.segments() if trace else []
    thinking = "".join(segment.text for segment in segments if segment.phase == "thinking")
    answering = sum(segment.tokens for segment in segments if segment.phase == "answer")
    prompt, cached, produced = (int(all_roles(chain.usage, name)) for name in ("prompt_tokens", "cached_tokens", "produced_tokens"))
    usage = ModelUsage(
        input_tokens=prompt - cached,
        input_tokens_cache_read=cached,
        output_tokens=produced,
        total_tokens=prompt + produced,
        reasoning_tokens=produced - answering,
    )
    thoughts: list[Content] = [ContentReasoning(reasoning=thinking)] if thinking else []
    text = chain.answer if isinstance(chain, Sample) else chain.text
    message = ChatMessageAssistant(content=[*thoughts, ContentText(text=text)], model=model, source="generate")
    metadata = {
        "seconds": chain.seconds,
        "usage": {role: {name: getattr(cost, name) for name in cost.__struct_fields__} for role, cost in chain.usage.items()},
        "finish_reason": chain.finish_reason,
        "method": chain.method,
        "params": chain.params,
        "seed": chain.seed,
    }
    choice = ChatCompletionChoice(message=message, stop_reason=REASONS.get(chain.finish_reason or "", "unknown"))
    return ModelOutput(model=model, choices=[choice], usage=usage, metadata=metadata)


def _open_pair(given: dict[str, Any]) -> Pair:
    """Opens the pair of the `-M` arguments.

    Raises the errors of `EngineOptions.of` and `Pair.open`.
    """
    options = {role: EngineOptions.of(role, given) for role in ROLES}
    specs = {role: _spec(given[role]) for role in ROLES if role in given}
    return Pair.open(specs.get("big", BUNDLED["big"]), specs.get("small", BUNDLED["small"]), specs.get("judge"), options=options)


def _spec(given: str | list[str]) -> str | list[str]:
    """Returns the spec of an engine.

    The `-M` arguments are lists where they have commas, also inside brackets.
    """
    specs = [given] if isinstance(given, str) else split_spec(",".join(given), ",")
    return specs[0] if len(specs) == 1 else specs


def _problem(input: list[ChatMessage], config: GenerateConfig, seed: int, instruction: str | None) -> Problem:
    """Returns the problem of messages and settings. Raises `UsageError`."""
    messages: list[Message] = []
    for message in input:
        if message.role == "tool":
            raise UsageError("a message must be of system, user or assistant, got one of a tool; use tasks without tools")
        messages.append(Message(message.role, message.text))
    given = {name: getattr(config, name) for name in Sampling.__struct_fields__ if getattr(config, name) is not None}
    limits: dict[str, Any] = {} if config.max_tokens is None else {"max_tokens": config.max_tokens}
    stop = tuple(config.stop_seqs or ())
    return Problem(tuple(messages), Sampling(**given), seed=seed, stop=stop, answer_instruction=instruction, **limits)


def qualified_name(name: str) -> str:
    """Returns the name with its package.

    inspect-ai adds it only to packages that are installed from a wheel.
    """
    return name if "/" in registry_name(qualified_name, name) else f"speculative/{name}"


@solver(name=qualified_name("pose"))
def pose(task_name: str, seed: int = 0) -> Solver:
    """Asks a problem, with its own seed in each epoch.

    Other models get the answer instruction as text.
    """

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        problem, epoch = str(state.sample_id), state.epoch - 1
        instruction = task(task_name).instruction
        state.user_prompt.metadata = {POSED: {"problem": problem, "epoch": epoch, "instruction": instruction}}
        if not isinstance(get_model().api, SpeculativeModel):
            state.user_prompt.text += f"\n{instruction or Qwen3.answer_instruction}"
        return await generate(state, seed=derive_seed(seed, problem, epoch))

    return solve


@scorer(metrics=[accuracy(), stderr()], name=qualified_name("graded"))
def graded(kind: Kind = "math") -> Scorer:
    """Grades answers with our grader."""

    async def score(state: TaskState, target: Target) -> Score:
        verdict = await grade_async(state.output.completion, target.text, kind, question=state.input_text)
        more = {"vote": vote_key(verdict.answer, kind, state.input_text), "undecided": verdict.undecided}
        return Score(value=CORRECT if verdict.correct else INCORRECT, answer=verdict.answer, explanation=verdict.why, metadata=more)

    return score


@score_reducer(name=qualified_name("maj"))
def maj(k: int = 0) -> ScoreReducer:
    """Computes the chance that the majority of k epochs is right."""

    def reduce(scores: list[Score]) -> Score:
        tries = [((one.metadata or {}).get("vote"), one.value in (CORRECT, 1)) for one in scores]
        (chance,) = majority(tries, [min(k or len(tries), len(tries))])
        return Score(value=chance)

    return reduce


def build_inspect_task(
    task: Task, problems: Sequence[TaskProblem], *, seed: int = 0, epochs: int | None = None, **more: Any
) -> InspectTask:
    """Returns one of our tasks as a task of inspect-ai."""
    rows = [
        InspectSample(input=one.problem, target=one.answer, id=one.id, metadata={"level": one.level, "kind": one.kind}) for one in problems
    ]
    ks = available_ks([epochs or 1])
    reducers = ["mean", *(f"pass_at_{k}" for k in ks), *(f"{qualified_name('maj')}_{k}" for k in ks)]
    repeats = {"epochs": Epochs(epochs, reducers)} if epochs else {}
    return InspectTask(
        dataset=MemoryDataset(rows, name=task.name), solver=pose(task.name, seed), scorer=graded(task.kind), **repeats, **more
    )


def register_task(task: Task) -> Callable[..., InspectTask]:
    """Registers one of our tasks with inspect-ai."""

    def declared(data: str | None = None, seed: int = 0) -> InspectTask:
        return build_inspect_task(task, load(task, Path(data) if data else None), seed=seed)

    declared.__doc__ = task.about
    return inspect_task(name=qualified_name(task.name))(declared)


DECLARED = {name: register_task(task) for name, task in TASKS.items()}
