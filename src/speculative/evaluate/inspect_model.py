"""The pair as a model of inspect-ai: `--model speculative/random_switch -M switch_ratio=4`. A thin adapter."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any, cast

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
    modelapi,
)
from inspect_ai.tool import ToolChoice, ToolInfo

from speculative.engines.options import BUNDLED, EngineOptions
from speculative.errors import UnknownNameError, UsageError
from speculative.evaluate.cells import Cell, Desk
from speculative.evaluate.tasks import digest
from speculative.evaluate.work import seed_of
from speculative.methods.base import Method
from speculative.methods.registry import build
from speculative.pair import Pair
from speculative.problem import Message, Problem, Sampling
from speculative.result import Result
from speculative.runner import run
from speculative.runs.sample import Sample
from speculative.trace.trace import Trace
from speculative.trace.usage import all_roles

PLACE = "speculative"
"""The key of a message's metadata under which our solver says which problem it is, in which epoch, and how to answer."""

ROLES = ("big", "small", "judge")
REASONS: dict[str, StopReason] = {"stop": "stop", "length": "max_tokens", "context": "model_length"}


class SpeculativeModel(ModelAPI):
    """One method on one pair.

    From the command line of inspect-ai the pair is made from `-M big=…`, `-M small=…` and their options (`-M big_gpus=0`);
    `-M with=…` are wrappers, all others are the method's parameters. `speculative eval` gives the cell and the desk instead.
    """

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),  # noqa: B008  the signature that inspect-ai calls
        *,
        cell: Cell | None = None,
        desk: Desk | None = None,
        **args: Any,
    ) -> None:
        super().__init__(model_name, base_url, api_key, [], config)
        self._cell, self._desk = cell, desk
        self._engines = {name: args.pop(name) for name in list(args) if name.partition("_")[0] in ROLES or name == "vllm"}
        wrappers = args.pop("with", ())
        names = [wrappers] if isinstance(wrappers, str) else list(wrappers)
        self._method: Method = cell.contender.method if cell else build(model_name, args, names, paths=False)
        self._pair: Pair | None = None
        self._opening = asyncio.Lock()
        self._times: Counter[tuple[int | None, str]] = Counter()

    async def generate(
        self, input: list[ChatMessage], tools: list[ToolInfo], tool_choice: ToolChoice, config: GenerateConfig
    ) -> ModelOutput:
        """One chain. A problem that our solver put is looked up in the run folder first."""
        if tools:
            raise UsageError(f"speculative/{self.model_name} calls no tools; use it on tasks without")
        place: dict[str, Any] = (input[-1].metadata or {}).get(PLACE, {})
        if self._cell and self._desk and place:
            sample, trace = await self._desk.sample(self._cell, place["problem"], place["epoch"])
            graded = {"correct": sample.correct, "found": sample.found, "vote": sample.vote, "why": sample.why, "trace": sample.trace}
            return output_of(self.model_name, sample, trace, {"graded": graded})
        pair = await self._opened()
        problem = _problem(input, config, self._seed(input, config, placed=bool(place)), place.get("instruction"))
        result = await run(self._method.prepare(problem), self._method, pair)
        return output_of(self.model_name, result, result.trace, {})

    async def aclose(self) -> None:
        """Closes the pair that it opened itself."""
        if self._pair:
            pair, self._pair = self._pair, None
            await pair.aclose()

    def connection_key(self) -> str:
        """All cells share one pair, and so one bound on what is under way."""
        return PLACE

    async def _opened(self) -> Pair:
        async with self._opening:
            if self._pair is None:
                self._pair = await asyncio.to_thread(_open, self._engines)
                self._pair.check(self._method)
            return self._pair

    def _seed(self, input: list[ChatMessage], config: GenerateConfig, *, placed: bool) -> int:
        """The solver's seed as it is; else one for each time that a prompt comes, so that epochs differ."""
        if placed and config.seed is not None:
            return config.seed
        prompt = digest("\n".join(message.text for message in input))
        self._times[config.seed, prompt] += 1
        return seed_of(config.seed or 0, prompt, self._times[config.seed, prompt] - 1)


provider: Callable[..., ModelAPI] = modelapi(name="speculative")(SpeculativeModel)
"""Makes the model as inspect-ai does: it is then known there by its name."""


def output_of(model: str, came: Sample | Result, trace: Trace | None, more: dict[str, Any]) -> ModelOutput:
    """What a chain came to, in the words of inspect-ai. Its time is overwritten there: ours stands in the metadata."""
    segments = trace.segments() if trace else []
    thinking = "".join(segment.text for segment in segments if segment.phase == "thinking")
    answering = sum(segment.tokens for segment in segments if segment.phase == "answer")
    prompt, cached, produced = (int(all_roles(came.usage, name)) for name in ("prompt_tokens", "cached_tokens", "produced_tokens"))
    usage = ModelUsage(
        input_tokens=prompt - cached,
        input_tokens_cache_read=cached,
        output_tokens=produced,
        total_tokens=prompt + produced,
        reasoning_tokens=produced - answering,
    )
    told: list[Content] = [ContentReasoning(reasoning=thinking)] if thinking else []
    text = came.answer if isinstance(came, Sample) else came.text
    message = ChatMessageAssistant(content=[*told, ContentText(text=text)], model=model, source="generate")
    metadata = {
        "seconds": came.seconds,
        "usage": {role: {name: getattr(cost, name) for name in cost.__struct_fields__} for role, cost in came.usage.items()},
        "finish_reason": came.finish_reason,
        "method": came.method,
        "params": came.params,
        "seed": came.seed,
    }
    choice = ChatCompletionChoice(message=message, stop_reason=REASONS.get(came.finish_reason or "", "unknown"))
    return ModelOutput(model=model, choices=[choice], usage=usage, metadata=metadata | more)


def _open(given: dict[str, Any]) -> Pair:
    """The pair that `-M` names. Raises `UnknownNameError` and what `Pair.open` raises."""
    fields = ("model", "key", "tokenizer", "dialect", "context", "gpus", "port", "args")
    known = [*ROLES, "vllm", *(f"{role}_{field}" for role in ROLES for field in fields)]
    for name in given:
        if name not in known:
            raise UnknownNameError("model argument", name, known)
    options = {
        role: EngineOptions(
            **{field: given[f"{role}_{field}"] for field in fields if f"{role}_{field}" in given},
            vllm=cast("str | None", given.get("vllm")),
        )
        for role in ROLES
    }
    big, small = (given.get(role, BUNDLED[role]) for role in ("big", "small"))
    return Pair.open(big, small, given.get("judge"), options=options)


def _problem(input: list[ChatMessage], config: GenerateConfig, seed: int, instruction: str | None) -> Problem:
    """The problem that messages and settings make. Raises `UsageError`."""
    messages: list[Message] = []
    for message in input:
        if message.role == "tool":
            raise UsageError("a message of a tool cannot be put to the pair; use it on tasks without tools")
        messages.append(Message(message.role, message.text))
    given = {name: getattr(config, name) for name in Sampling.__struct_fields__ if getattr(config, name) is not None}
    limits: dict[str, Any] = {} if config.max_tokens is None else {"max_tokens": config.max_tokens}
    stop = tuple(config.stop_seqs or ())
    return Problem(tuple(messages), Sampling(**given), seed=seed, stop=stop, answer_instruction=instruction, **limits)
