"""Requests of lm-eval as planned samples, and the chains behind them: kept as they end, and not written again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

import msgspec
from msgspec import structs, to_builtins

from speculative.errors import EngineError, MethodError, UsageError
from speculative.evaluate.lm_eval.arguments import Arguments
from speculative.evaluate.problems import TaskProblem
from speculative.evaluate.runner import EvalRunner, MemoryStore, PlannedSample, Store, matching, solver
from speculative.evaluate.tasks import TASKS, data_hash, digest
from speculative.methods.base import Method
from speculative.pair import Pair
from speculative.problem import Message, Problem
from speculative.result import Result
from speculative.runs.folder import RunFolder
from speculative.runs.sample import Sample
from speculative.trace.usage import total_usage

UNGRADED = "ungraded"
"""The run folder, within the run folder, for the tasks that lm-eval grades: nothing counts their samples as wrong."""

BUDGETS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
"""What lm-eval's tasks and users call the budget; the first one that is told counts."""

UNUSED = ("thinking_start", "thinking_end")
"""What SplitReason's commands give: what follows the thinking is all that comes back anyway."""

KNOWN = frozenset([*BUDGETS, *UNUSED, "until", "do_sample", "temperature", "top_p", "top_k"])


class Request(Protocol):
    """lm-eval's `Instance`, as far as it is read here."""

    args: tuple[Any, ...]
    doc: Any
    doc_id: int | None
    task_name: str | None


class Conversation(str):
    """A prompt that carries the messages it was made of; it shows as their text."""

    messages: tuple[Message, ...]

    def __new__(cls, messages: Sequence[Message]) -> Conversation:
        made = super().__new__(cls, "\n\n".join(f"{message.role}: {message.content}" for message in messages))
        made.messages = tuple(messages)
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return (Conversation, (self.messages,))

    @classmethod
    def of(cls, history: Iterable[Mapping[str, Any]]) -> Conversation:
        """Turns as lm-eval has them. The beginning of a reply, which a chain of thought comes before, joins the last question."""
        turns = [Message(turn["role"], str(turn["content"])) for turn in history]
        if len(turns) > 1 and turns[-1].role == "assistant":
            turns[-2:] = [structs.replace(turns[-2], content=f"{turns[-2].content}\n{turns[-1].content}")]
        return cls(turns)


class RequestRunner:
    """Writes the chains of requests and keeps their samples in the run folder `out`; without one nothing outlives the process."""

    def __init__(self, arguments: Arguments, out: Path | None) -> None:
        self.arguments, self.out = arguments, out
        self.samples: list[Sample] = []
        """All samples so far."""
        self._stores: dict[bool, Store] = {}
        self._folders: list[RunFolder] = []
        self._store(graded=True)

    def close(self) -> None:
        """Lets another process write to the run folder."""
        for folder in self._folders:
            folder.close()

    def kept(self, planned: Sequence[PlannedSample]) -> dict[int, Sample]:
        """Returns the samples that an earlier run has kept, by their place in the plan."""
        stores = {id(store): store for store in map(self._store_of, planned)}
        return matching([sample for store in stores.values() for sample in store.samples], planned)

    async def write(
        self, planned: Sequence[PlannedSample], pair: Pair, advance: Callable[[], None], provenance: Mapping[str, Any] | None = None
    ) -> list[Sample]:
        """Returns the samples of the plan, in its order. `advance` is called as each is there; new ones come with the `provenance`.

        Raises `EngineError` and `MethodError`: finished chains are kept, and the error says where.
        """
        found = self.kept(planned)
        for _ in found:
            advance()
        left = {id(planned[place]): place for place in range(len(planned)) if place not in found}
        for folder in {id(store): store for store in (self._store_of(planned[place]) for place in left.values())}.values():
            if isinstance(folder, RunFolder):
                folder.note(provenance or {})

        def take(one: PlannedSample, sample: Sample) -> None:
            found[left[id(one)]] = sample
            advance()

        runner = EvalRunner(_without_stops(pair), self._store_of, chains=self.arguments.chains)
        try:
            await runner.run([planned[place] for place in left.values()], take)
        except (EngineError, MethodError) as error:
            error.args = (f"{error}; {self._state(len(found), len(planned))}", *error.args[1:])
            raise
        samples = [found[place] for place in range(len(planned))]
        self.samples += samples
        return samples

    def totals(self) -> dict[str, Any]:
        """Returns what all samples so far cost."""
        return {
            "chains": len(self.samples),
            "seconds": round(sum(sample.seconds for sample in self.samples), 6),
            "usage": to_builtins(total_usage(sample.usage for sample in self.samples)),
            "run_folder": str(self.out) if self.out else None,
        }

    def _store_of(self, one: PlannedSample) -> Store:
        return self._store(graded=bool(one.task_problem.kind))

    def _store(self, *, graded: bool) -> Store:
        if graded not in self._stores:
            folder = RunFolder(self.out if graded else self.out / UNGRADED) if self.out else None
            self._folders += [folder] if folder else []
            self._stores[graded] = folder or MemoryStore()
        return self._stores[graded]

    def _state(self, done: int, total: int) -> str:
        """Returns how far the run came."""
        if not self.out:
            return f"{done} of {total} chains were done and are lost; keep them with --output_path or out=DIR"
        return f"{done} of {total} chains are kept in {self.out}; the same command goes on"


def _without_stops(pair: Pair) -> Callable[[Problem, Method], Any]:
    """Returns a function that runs chains on the pair and drops the stop string which ended an answer."""
    solve = solver(pair)

    async def solve_and_cut(problem: Problem, method: Method) -> Result:
        result = await solve(problem, method)
        ends = [place for stop in problem.stop if (place := result.text.find(stop)) >= 0]
        return structs.replace(result, text=result.text[: min(ends)].strip()) if ends else result

    return solve_and_cut


def plan_requests(requests: Sequence[Request], arguments: Arguments) -> tuple[list[PlannedSample], list[str]]:
    """Returns the requests as planned samples, in their order, and warnings about them. A repeat is the same object once more.

    Raises `UsageError` for a request that no chain can answer.
    """
    planned: list[PlannedSample] = []
    warnings: dict[str, None] = {}
    times: Counter[int] = Counter()
    met: dict[tuple[str, str], dict[int, int]] = {}
    for request in requests:
        stated, doc_id = _task_problem(request)
        alike = met.setdefault((stated.task, stated.id), {})
        number = alike.setdefault(id(request), len(alike) + 1)
        if number > 1:
            stated = structs.replace(stated, id=f"{stated.id}-{number}")
        problem, told = _problem(request, arguments, stated)
        warnings |= dict.fromkeys(told)
        messages = _messages(request)
        settings = arguments.settings(problem)
        if messages == (Message("user", stated.problem),):
            messages = ()
        elif stated.kind:
            settings["prompt"] = digest("\n".join(f"{message.role} {message.content}" for message in messages))
        one = PlannedSample(arguments.contender, stated, times[id(request)], problem, settings, messages=messages, doc_id=doc_id)
        try:
            one.build_problem()
        except UsageError as error:
            raise UsageError(f"{stated.task}, document {doc_id}: {error}") from None
        planned.append(one)
        times[id(request)] += 1
    return planned, list(warnings)


def tasks_of(planned: Iterable[PlannedSample]) -> dict[str, Any]:
    """Returns what is known of each task: its number of problems, its epochs, and the hash of its data."""
    tasks: dict[str, dict[str, TaskProblem]] = {}
    epochs: Counter[str] = Counter()
    for one in planned:
        stated = one.task_problem
        tasks.setdefault(stated.task, {})[stated.id] = stated
        epochs[stated.task] = max(epochs[stated.task], one.epoch + 1)
    return {
        name: {"problems": len(stated), "epochs": epochs[name], "data_hash": data_hash(list(stated.values()))}
        for name, stated in tasks.items()
    }


def _messages(request: Request) -> tuple[Message, ...]:
    prompt = request.args[0]
    return prompt.messages if isinstance(prompt, Conversation) else (Message("user", str(prompt)),)


def _task_problem(request: Request) -> tuple[TaskProblem, int]:
    """Returns a problem of our own tasks, or one that lm-eval grades itself, known by the prompt's hash in lm-eval's log."""
    task, doc = request.task_name or "", request.doc
    if isinstance(doc, Mapping) and doc.get("origin") in TASKS:  # pyright: ignore[reportUnknownMemberType]
        stated = msgspec.convert(doc, TaskProblem)
        return structs.replace(stated, task=task), int(doc["doc_id"])  # pyright: ignore[reportUnknownArgumentType]
    prompt = str(request.args[0])
    return TaskProblem(sha256(prompt.encode(errors="surrogatepass")).hexdigest(), prompt, "", task=task, kind=None), request.doc_id or 0


def _problem(request: Request, arguments: Arguments, stated: TaskProblem) -> tuple[Problem, list[str]]:
    """Sampling and budget: the task's (with `--gen_kwargs` in it), else those of the arguments."""
    asked: Mapping[str, Any] = {name: value for name, value in request.args[1].items() if value is not None}
    problem, wanted = arguments.problem, _wanted(asked)
    if stated.kind:
        problem = TASKS[str(request.doc["origin"])].with_instruction(problem)
    elif problem.answer_instruction is None:
        problem = structs.replace(problem, answer_instruction="")  # the task's prompt is what lm-eval evaluates
    mine = {"max_tokens": problem.max_tokens, **structs.asdict(problem.sampling)}
    complaints = [f"{stated.task}: {name} of its generation_kwargs has no use here" for name in asked if name not in KNOWN]
    complaints += [
        f"{stated.task}: its generation_kwargs say {name}={value}, and not the {mine[name]} of model_args; change it by --gen_kwargs"
        for name, value in wanted.items()
        if name in arguments.given and mine[name] != value
    ]
    budget = wanted.pop("max_tokens", problem.max_tokens)
    try:
        sampling = structs.replace(problem.sampling, **wanted)
        return structs.replace(problem, sampling=sampling, max_tokens=budget, stop=_stops(asked.get("until"))), complaints
    except UsageError as error:
        raise UsageError(f"{stated.task}: {error}; change it by --gen_kwargs") from None


def _wanted(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Sampling and budget in our words."""
    wanted = {name: asked[name] for name in ("temperature", "top_p", "top_k") if name in asked}
    if asked.get("do_sample") is False:
        wanted["temperature"] = 0.0
    budget = next((asked[name] for name in BUDGETS if name in asked), None)
    return wanted if budget is None else {**wanted, "max_tokens": budget}


def _stops(until: Any) -> tuple[str, ...]:
    """They end the answer, never the thinking."""
    stops: list[Any] = [until] if isinstance(until, str) else list(until or [])
    return tuple(str(stop) for stop in stops if stop)
