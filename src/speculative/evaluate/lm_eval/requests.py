"""Plans requests of lm-eval as samples, and runs their chains."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
from msgspec import structs, to_builtins

from speculative.errors import EngineError, MethodError, UsageError
from speculative.evaluate.lm_eval.arguments import SAMPLING, Arguments
from speculative.evaluate.problems import TaskProblem
from speculative.evaluate.runner import EvalRunner, MemoryStore, PlannedSample, SampleStore, solver
from speculative.evaluate.tasks import TASKS, data_hash, digest
from speculative.methods.base import Method
from speculative.pair import Pair
from speculative.problem import Message, Problem
from speculative.result import Result
from speculative.runs.folder import RunFolder
from speculative.runs.sample import Sample
from speculative.trace.usage import total_usage

UNGRADED = "ungraded"
"""The run folder, within the run folder, for the tasks that lm-eval grades itself."""

BUDGETS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
"""The names of the budget in lm-eval's tasks; the first one that is given counts."""

UNUSED = ("thinking_start", "thinking_end")
"""SplitReason's commands give these. The text after the thinking is all that is returned anyway."""

KNOWN = frozenset([*BUDGETS, *UNUSED, *SAMPLING, "until", "do_sample"])


Request = Any
"""lm-eval's `Instance`; `args`, `doc`, `doc_id` and `task_name` are read."""


class Conversation(str):
    """A prompt that carries its chat messages; as a text it shows them."""

    messages: tuple[Message, ...]

    def __new__(cls, messages: Sequence[Message]) -> Conversation:
        made = super().__new__(cls, "\n\n".join(f"{message.role}: {message.content}" for message in messages))
        made.messages = tuple(messages)
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return (Conversation, (self.messages,))

    @classmethod
    def of(cls, history: Iterable[Mapping[str, Any]]) -> Conversation:
        """Reads lm-eval's turns.

        The beginning of a reply joins the last question, since the thinking comes before the reply.
        """
        turns = [Message(turn["role"], str(turn["content"])) for turn in history]
        if len(turns) > 1 and turns[-1].role == "assistant":
            turns[-2:] = [structs.replace(turns[-2], content=f"{turns[-2].content}\n{turns[-1].content}")]
        return cls(turns)


class RequestRunner:
    """Runs the chains of requests, and keeps their samples."""

    def __init__(self, arguments: Arguments, out: Path | None) -> None:
        self.arguments, self.out = arguments, out
        self.samples: list[Sample] = []
        """All samples so far."""
        self._stores: dict[bool, SampleStore] = {}
        self._store(graded=True)

    def close(self) -> None:
        """Lets another process write to the run folder."""
        for store in self._stores.values():
            if isinstance(store, RunFolder):
                store.close()

    async def write(
        self, planned: Sequence[PlannedSample], pair: Pair, advance: Callable[[], None], provenance: Mapping[str, Any] | None = None
    ) -> list[Sample]:
        """Returns the samples of the plan, in its order; kept samples are not run again.

        Args:
            planned: the plan.
            pair: runs the chains.
            advance: is called for each sample as it is there.
            provenance: is written before new samples.

        Raises:
            EngineError, MethodError: A chain failed; the error says where finished chains are kept.
        """
        found: dict[int, Sample] = {}

        def take(one: PlannedSample, sample: Sample) -> None:
            found[id(one)] = sample
            advance()

        runner = EvalRunner(_without_stops(pair), self._store_of, chains=self.arguments.chains)
        kept = runner.find_kept(planned)
        for store in {
            id(store): store for place, one in enumerate(planned) if place not in kept and (store := self._store_of(one))
        }.values():
            if isinstance(store, RunFolder):
                store.note(provenance or {})
        try:
            await runner.run(planned, take)
        except (EngineError, MethodError) as error:
            state = f"are kept in {self.out}; the same command goes on" if self.out else "are lost; keep them with --output_path or out=DIR"
            error.args = (f"{error}; {len(found)} of {len(planned)} chains {state}", *error.args[1:])
            raise
        samples = [found[id(one)] for one in planned]
        self.samples += samples
        return samples

    def totals(self) -> dict[str, Any]:
        """Returns the cost of all samples so far."""
        return {
            "chains": len(self.samples),
            "seconds": round(sum(sample.seconds for sample in self.samples), 6),
            "usage": to_builtins(total_usage(sample.usage for sample in self.samples)),
            "run_folder": str(self.out) if self.out else None,
        }

    def _store_of(self, one: PlannedSample) -> SampleStore:
        return self._store(graded=bool(one.task_problem.kind))

    def _store(self, *, graded: bool) -> SampleStore:
        if graded not in self._stores:
            self._stores[graded] = RunFolder(self.out if graded else self.out / UNGRADED) if self.out else MemoryStore()
        return self._stores[graded]


def _without_stops(pair: Pair) -> Callable[[Problem, Method], Any]:
    """Returns a function that runs chains and drops their stop strings."""
    solve = solver(pair)

    async def solve_and_cut(problem: Problem, method: Method) -> Result:
        result = await solve(problem, method)
        ends = [place for stop in problem.stop if (place := result.text.find(stop)) >= 0]
        return structs.replace(result, text=result.text[: min(ends)].strip()) if ends else result

    return solve_and_cut


def plan_requests(requests: Sequence[Request], arguments: Arguments) -> tuple[list[PlannedSample], list[str]]:
    """Returns the requests as planned samples, in their order, and warnings.

    A repeat is the same object again.

    Raises:
        UsageError: A request has no prompt, or its `generation_kwargs` are out of range.
    """
    planned: list[PlannedSample] = []
    warnings: dict[str, None] = {}
    repeats: Counter[int] = Counter()
    documents: dict[tuple[str, str], dict[int, int]] = {}
    for request in requests:
        one, doc_id = _task_problem(request)
        same = documents.setdefault((one.task, one.id), {})
        number = same.setdefault(id(request), len(same) + 1)
        if number > 1:
            one = structs.replace(one, id=f"{one.id}-{number}")
        prompt = request.args[0]
        messages = prompt.messages if isinstance(prompt, Conversation) else (Message("user", str(prompt)),)
        try:
            problem, complaints = _problem(request, arguments, one)
            settings = arguments.settings(problem)
            if messages == (Message("user", one.problem),):
                messages = ()
            elif one.kind:
                settings["prompt"] = digest("\n".join(f"{message.role} {message.content}" for message in messages))
            epoch = repeats[id(request)]
            sample = PlannedSample(arguments.spec, one, epoch, problem, settings, messages=messages, doc_id=doc_id)
            sample.build_problem()
        except UsageError as error:
            raise UsageError(f"{one.task}, document {doc_id}: {error}") from None
        warnings |= dict.fromkeys(complaints)
        planned.append(sample)
        repeats[id(request)] += 1
    return planned, list(warnings)


def tasks_of(planned: Iterable[PlannedSample]) -> dict[str, Any]:
    """Describes the problems, epochs and data of each task."""
    tasks: dict[str, dict[str, TaskProblem]] = {}
    epochs: Counter[str] = Counter()
    for one in planned:
        name = one.task_problem.task
        tasks.setdefault(name, {})[one.task_problem.id] = one.task_problem
        epochs[name] = max(epochs[name], one.epoch + 1)
    return {name: {"problems": len(own), "epochs": epochs[name], "data_hash": data_hash(list(own.values()))} for name, own in tasks.items()}


def _task_problem(request: Request) -> tuple[TaskProblem, int]:
    """Returns the problem of a request and its number.

    A problem that lm-eval grades is named by the hash of its prompt, as in lm-eval's log.
    """
    task, doc = request.task_name or "", request.doc
    if isinstance(doc, Mapping) and doc.get("origin") in TASKS:  # pyright: ignore[reportUnknownMemberType]
        return structs.replace(msgspec.convert(doc, TaskProblem), task=task), int(doc["doc_id"])  # pyright: ignore[reportUnknownArgumentType]
    prompt = str(request.args[0])
    return TaskProblem(sha256(prompt.encode(errors="surrogatepass")).hexdigest(), prompt, "", task=task, kind=None), request.doc_id or 0


def _problem(request: Request, arguments: Arguments, one: TaskProblem) -> tuple[Problem, list[str]]:
    """Returns a problem with the task's sampling and budget, and warnings."""
    kwargs: Mapping[str, Any] = {name: value for name, value in request.args[1].items() if value is not None}
    problem, wanted = arguments.problem, {name: kwargs[name] for name in SAMPLING if name in kwargs}
    if kwargs.get("do_sample") is False:
        wanted["temperature"] = 0.0
    budget = next((kwargs[name] for name in BUDGETS if name in kwargs), problem.max_tokens)
    if one.kind:
        problem = TASKS[str(request.doc["origin"])].with_instruction(problem)
    elif problem.answer_instruction is None:
        problem = structs.replace(problem, answer_instruction="")  # the task's prompt is the one that lm-eval evaluates
    own = {"max_tokens": problem.max_tokens, **structs.asdict(problem.sampling)}
    warnings = [f"{one.task}: {name} of its generation_kwargs is not used" for name in kwargs if name not in KNOWN]
    warnings += [
        f"{one.task}: its generation_kwargs say {name}={value}, not the {own[name]} of model_args; change it by --gen_kwargs"
        for name, value in {**wanted, "max_tokens": budget}.items()
        if name in arguments.given and own[name] != value
    ]
    until: Any = kwargs.get("until") or ()
    stop = tuple(str(text) for text in ([until] if isinstance(until, str) else until) if text)
    try:
        sampling = structs.replace(problem.sampling, **wanted)
        return structs.replace(problem, sampling=sampling, max_tokens=budget, stop=stop), warnings
    except UsageError as error:
        raise UsageError(f"{error}; change it by --gen_kwargs") from None
