"""Requests of lm-eval as work of ours: the conversation, the sampling, which problem it is, and for how many'th time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any, Protocol

import msgspec
from msgspec import Struct, structs

from speculative.errors import UsageError
from speculative.evaluate.lm_eval.arguments import Arguments
from speculative.evaluate.problems import TaskProblem
from speculative.evaluate.tasks import TASKS, data_hash, digest
from speculative.evaluate.work import Work
from speculative.evaluate.work import posed as as_run
from speculative.problem import Message, Problem

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


class Posed(Struct, frozen=True):
    """One chain that lm-eval asks for. `problem` carries sampling, budget and the seed of the run."""

    work: Work
    problem: Problem
    settings: dict[str, Any]
    doc_id: int


def posed(requests: Sequence[Request], arguments: Arguments) -> tuple[list[Posed], list[str]]:
    """The requests as work, in their order, and what has to be told about them. A repeat is the same object once more.

    Raises `UsageError` for what the request asks and no chain can be.
    """
    found: list[Posed] = []
    complaints: dict[str, None] = {}
    times: Counter[int] = Counter()
    met: dict[tuple[str, str], dict[int, int]] = {}
    for request in requests:
        stated, doc_id = _stated(request)
        alike = met.setdefault((stated.task, stated.id), {})
        number = alike.setdefault(id(request), len(alike) + 1)
        if number > 1:
            stated = structs.replace(stated, id=f"{stated.id}-{number}")
        problem, told = _problem(request, arguments, stated)
        complaints |= dict.fromkeys(told)
        messages = _messages(request)
        settings = arguments.kept(problem)
        if messages == (Message("user", stated.problem),):
            messages = ()
        elif stated.kind:
            settings["prompt"] = digest("\n".join(f"{message.role} {message.content}" for message in messages))
        work = Work(arguments.contender, stated, times[id(request)], messages)
        try:
            as_run(work, problem)
        except UsageError as error:
            raise UsageError(f"{stated.task}, document {doc_id}: {error}") from None
        found.append(Posed(work, problem, settings, doc_id))
        times[id(request)] += 1
    return found, list(complaints)


def tasks_of(work: Iterable[Posed]) -> dict[str, Any]:
    """What is known of each task: how many problems it has, how often each is tried, and what its data are known by."""
    tasks: dict[str, dict[str, TaskProblem]] = {}
    epochs: Counter[str] = Counter()
    for one in work:
        stated = one.work.stated
        tasks.setdefault(stated.task, {})[stated.id] = stated
        epochs[stated.task] = max(epochs[stated.task], one.work.epoch + 1)
    return {
        name: {"problems": len(stated), "epochs": epochs[name], "data_hash": data_hash(list(stated.values()))}
        for name, stated in tasks.items()
    }


def _messages(request: Request) -> tuple[Message, ...]:
    prompt = request.args[0]
    return prompt.messages if isinstance(prompt, Conversation) else (Message("user", str(prompt)),)


def _stated(request: Request) -> tuple[TaskProblem, int]:
    """A problem of our own tasks, or one that lm-eval grades itself: that goes by the prompt's hash in lm-eval's own log."""
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
