"""Turns a request into problems and the method that writes their chains."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from msgspec import Struct, structs

from speculative.errors import UnknownNameError, UsageError
from speculative.methods.base import Method
from speculative.methods.registry import build, names
from speculative.methods.wrapper import Wrapper
from speculative.problem import Message, Problem, Sampling
from speculative.serve import schemas
from speculative.serve.advisor_tool import METHOD as ADVISOR
from speculative.serve.advisor_tool import is_advised, take_advisor
from speculative.serve.errors import ApiError, unsupported_value
from speculative.serve.unsupported import PART_HINTS, TURN_HINTS, ignored_fields
from speculative.settings import Preset, Settings

R = TypeVar("R", bound=schemas.GenerationRequest)
T = TypeVar("T", bound=schemas.ToolRequest)

OWNER = "speculative"
EFFORTS = {"minimal": 0.1, "low": 0.2, "medium": 0.5}
"""The share of its tokens that the thinking may have, by `reasoning_effort`; above these it may have all."""
ALWAYS_THINKS = 'the thinking cannot be switched off; leave it out, or limit it: `reasoning_effort` "minimal", or a small `thinking_budget`'
"""The reason for refusing a field that would switch the thinking off."""
NUMBER = re.compile(r"\[\d+\]")
REASONING = frozenset(("reasoning", "reasoning_content"))
"""The thinking of an earlier turn, which the models' own templates leave out."""


class ChainRequest(Struct, frozen=True):
    """The chains of one request: `n` problems for each prompt.

    `raw`: thinking and answer are one text in the reply. `max_drafts`: the most drafts that one call of a chain may ask for.
    `live`: a stream has the text of calls with its author, besides the events.
    """

    model: str
    method: Method
    problems: tuple[Problem, ...]
    n: int = 1
    stream: bool = False
    include_usage: bool = False
    events: bool = False
    live: bool = False
    raw: bool = False
    user: str | None = None
    ignored: tuple[str, ...] = ()
    max_drafts: int | None = None

    @property
    def chains(self) -> int:
        """Chains that run at once, those of the method counted."""
        return len(self.problems) * self.method.chains_at_once

    @property
    def about(self) -> dict[str, Any]:
        """The fields of a reply about the method."""
        about = {"method": self.method.full_name, "params": self.method.params}
        return about | ({"ignored": list(self.ignored)} if self.ignored else {})


class RequestReader:
    """Reads requests within the limits of the settings.

    Raises:
        ApiError: names the field and the reason.
        UsageError: names a parameter of the method.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.presets = {name: Preset(method=name) for name in names()} | settings.presets
        self.big_names: tuple[str, ...] = ()
        """Names of the big model, once it is loaded; an advisor tool may name its advisor by one."""
        if settings.method not in self.presets:
            raise UnknownNameError("method", settings.method, [*self.presets])
        self.default = self.presets[settings.method]
        self.default.build()
        for name, preset in settings.presets.items():
            if name in (*names(), OWNER):
                raise UsageError(f"preset {name!r} has the name of a method, or of the default; choose another")
            preset.build()

    # ---- the endpoints ----------------------------------------------------------------------------------------------

    def chat(self, request: schemas.ChatRequest) -> ChainRequest:
        """Reads a request for a chat completion."""
        self._check_chains(request.n, 1)
        both = {request.max_tokens, request.max_completion_tokens} - {None}
        if len(both) > 1:
            raise _refusal("max_tokens and max_completion_tokens", "they differ; give one of them", "max_completion_tokens")
        ignored: list[str] = []
        request = self._with_options(request, ignored)
        request = self._with_advisor(request, ignored)
        messages = self._messages("messages", request.messages, ignored)
        spelled = "max_completion_tokens" if request.max_tokens is None else "max_tokens"
        problem = self._problem(request, messages, next(iter(both), None), spelled=spelled)
        return self._chains(request, [problem], ignored, n=request.n, options=request.stream_options)

    def completion(self, request: schemas.CompletionRequest) -> ChainRequest:
        """Reads a request for a raw completion."""
        if request.answer_instruction is not None:
            raise unsupported_value("answer_instruction", "a raw prompt is taken as it is; put it into the prompt")
        prompts = [request.prompt] if isinstance(request.prompt, str) else request.prompt
        self._check_chains(request.n, len(prompts))
        ignored: list[str] = []
        request = self._with_options(request, ignored)
        problems = [self._problem(request, (Message("user", prompt),), request.max_tokens, raw=True) for prompt in prompts]
        return self._chains(request, problems, ignored, n=request.n, options=request.stream_options, raw=True)

    def responses(self, request: schemas.ResponsesRequest) -> ChainRequest:
        """Reads a request of the Responses API."""
        ignored: list[str] = []
        if isinstance(request.input, str):
            messages: tuple[Message, ...] = (Message("user", request.input),)
        else:
            turns = [item for item in request.input if item.type != "reasoning"]
            messages = self._messages("input", turns, ignored) if turns else ()
        if request.instructions is not None:
            messages = (Message("system", request.instructions), *messages)
        request = self._with_advisor(self._with_options(request, ignored), ignored)
        problem = self._problem(request, messages, request.max_output_tokens, spelled="max_output_tokens")
        return self._chains(request, [problem], ignored)

    # ---- limits -----------------------------------------------------------------------------------------------------

    def limit_problem(self, problem: Problem, spelled: str = "max_tokens") -> Problem:
        """Adds the service's own limits to a problem. Raises `ApiError` above them.

        `spelled`: the request's name of `max_tokens`.
        """
        limits, size = self.settings, sum(len(message.content.encode()) for message in problem.messages)
        if size > limits.max_prompt:
            message = f"the prompt must have at most {limits.max_prompt} bytes (--max-prompt), got {size}; shorten it"
            raise ApiError(400, message, code="context_length_exceeded")
        for field in ("max_tokens", "max_produced", "max_seconds"):
            value, limit = getattr(problem, field), getattr(limits, field)
            if value is not None and value > limit:
                name, flag = spelled if field == "max_tokens" else field, field.replace("_", "-")
                raise ApiError(400, f"{name} must be at most {limit} in this service (--{flag}), got {value}; ask for less", param=name)
        produced, seconds = problem.max_produced or limits.max_produced, problem.max_seconds or limits.max_seconds
        if (produced, seconds) == (problem.max_produced, problem.max_seconds):
            return problem
        return structs.replace(problem, max_produced=produced, max_seconds=seconds)

    def check_params(self, method: Method, path: str = "params") -> Method:
        """Raises `ApiError` if a parameter is larger than the service allows."""
        for name, value in method:
            if isinstance(value, int) and abs(value) > (most := self.settings.max_param):
                raise _refusal(path, f"{name} must be at most {most} in this service (--max-param), got {value}", f"{path}.{name}")
        return method

    def check_drafts(self, request: ChainRequest) -> ChainRequest:
        """Raises `ApiError` if all chains together ask for too many drafts at once."""
        field, drafts = request.method.most_drafts
        most, chains = self.settings.max_drafts, request.chains
        if field and drafts * chains > most:
            times = f", in each of {chains} chains," if chains > 1 else ""
            reason = f"{drafts} drafts in one call{times} are more than the {most} that a request may have (--max-drafts)"
            raise _refusal("params", f"{field}: {reason}", f"params.{field}")
        return structs.replace(request, max_drafts=max(1, most // chains))

    def _check_chains(self, n: int | None, prompts: int) -> None:
        chains, most = (n or 1) * prompts, self.settings.max_n
        if chains > most:
            counted = f"chains, one for each prompt (--max-n), got {chains}" if prompts > 1 else f"chains (--max-n), got {chains}"
            raise _refusal("prompt" if prompts > (n or 1) else "n", f"a request may have at most {most} {counted}; ask for fewer")

    def _check_places(self, request: schemas.GenerationRequest, chains: ChainRequest) -> None:
        """Raises `ApiError` if a request has more chains at once than the service.

        The error names the field that multiplies them the most.
        """
        most = self.settings.max_chains
        if chains.chains <= most:
            return
        counts = [(chains.n, "n", "n"), (len(chains.problems) // chains.n, "prompt", "prompt")]
        for path, layer in _layers(request, chains.method):
            field, inner = layer.chains_field, layer.inner.chains_at_once if isinstance(layer, Wrapper) else 1
            given = path if path != "params" or field in (request.params or {}) else "method" if request.method else "model"
            of_field = f".{field}" if field and given.startswith(("with", "params")) else ""
            name = layer.name() if given.startswith("with") else given
            counts.append((layer.chains_at_once // inner, f"{given}{of_field}", f"{name}{of_field}"))
        _, place, name = max(counts)
        reason = f"a request may have at most {most} chains at once (--max-chains), got {chains.chains}; ask for fewer"
        raise _refusal(name, reason, place)

    # ---- parts of a request -----------------------------------------------------------------------------------------

    def _problem(
        self,
        request: schemas.GenerationRequest,
        messages: tuple[Message, ...],
        max_tokens: int | None,
        *,
        spelled: str = "max_tokens",
        raw: bool = False,
    ) -> Problem:
        if not messages or not messages[-1].content.strip():
            field = next(field for field in ("prompt", "input", "messages") if field in type(request).model_fields)
            raise _refusal(field, "the problem is empty; give its text")
        usual, settings = Sampling(), self.settings
        sampling = Sampling(
            temperature=usual.temperature if request.temperature is None else request.temperature,
            top_p=usual.top_p if request.top_p is None else request.top_p,
            top_k=max(0, request.top_k or 0),
        )
        problem = Problem(
            messages=messages,
            sampling=sampling,
            max_tokens=max_tokens or min(settings.default_tokens, settings.max_tokens),
            max_produced=request.max_produced or settings.max_produced,
            max_seconds=request.max_seconds or settings.max_seconds,
            seed=secrets.randbits(31) if request.seed is None else request.seed,
            answer_instruction=None if request.answer_instruction is True else request.answer_instruction or "",
            stop=(request.stop,) if isinstance(request.stop, str) else tuple(request.stop or ()),
            raw=raw,
            degrade=request.degrade or settings.degrade,
            prefill_every=settings.prefill_every if request.prefill_every is None else request.prefill_every,
        )
        budget = self._thinking_budget(request, problem)
        return self.limit_problem(problem if budget is None else structs.replace(problem, max_thinking=budget), spelled)

    def _with_options(self, request: R, ignored: list[str]) -> R:
        """Reads `thinking` and `reasoning` as the service's own fields.

        The service's own spelling goes before them. Raises `ApiError` for two limits, or for a switch of the thinking.
        """
        drop, thinking, reasoning = self.settings.drop_params, request.thinking, request.reasoning
        budgets: dict[str, int | None] = {"thinking_budget": request.thinking_budget}
        efforts: dict[str, str | None] = {"reasoning_effort": request.reasoning_effort}
        disabled = ["thinking.type"] if isinstance(thinking, schemas.ThinkingOptions) and thinking.type == "disabled" else []
        if thinking is False:
            ignored += ignored_fields({"thinking": False}, drop=drop)
        if isinstance(thinking, schemas.ThinkingOptions):
            ignored += ignored_fields(thinking.others, "thinking.", drop=drop, like=schemas.ThinkingOptions)
            budgets["thinking.budget_tokens"] = thinking.budget_tokens
        if reasoning:
            known = frozenset(("summary", "generate_summary"))  # there is no summary; the reasoning itself is in the reply
            ignored += [f"reasoning.{name}" for name in known if reasoning.others.get(name) is not None]
            ignored += ignored_fields(reasoning.others, "reasoning.", known=known, drop=drop, like=schemas.ReasoningOptions)
            budgets["reasoning.max_tokens"], efforts["reasoning.effort"] = reasoning.max_tokens, reasoning.effort
        disabled += [name for name, value in {**budgets, **efforts}.items() if value in (0, "none")]
        if disabled and not drop:
            raise unsupported_value(disabled[0], ALWAYS_THINKS)
        ignored += disabled
        budget, effort = _chosen_limit(budgets, efforts)
        return request.model_copy(update={"thinking_budget": budget, "reasoning_effort": effort})

    def _with_advisor(self, request: T, ignored: list[str]) -> T:
        """Reads the advisor tool as the method that answers it.

        Raises `ApiError` if the request names another method.
        """
        if not is_advised(request):
            return request
        label, preset = self._preset(request)
        named = request.method or (label if request.model not in (None, OWNER) else None)
        if preset.method != ADVISOR and named:
            reason = f"the advisor is asked by the method {ADVISOR!r}, and the request names {named!r}; use the model {OWNER!r}"
            raise _refusal("tools", reason)
        own = preset.params if preset.method == ADVISOR else {}
        request = take_advisor(request, own, self.big_names, ignored, most=self.settings.max_param, drop=self.settings.drop_params)
        return request if preset.method == ADVISOR else request.model_copy(update={"method": ADVISOR})

    def _thinking_budget(self, request: schemas.GenerationRequest, problem: Problem) -> int | None:
        """Reads the limit on thinking tokens from the request, else from its preset."""
        preset = self._preset(request)[1]
        budget, effort = request.thinking_budget, request.reasoning_effort
        if budget is None and effort is None:
            budget, effort = preset.thinking_budget, preset.reasoning_effort
        return max(1, int(problem.thinking_tokens * EFFORTS[effort])) if effort in EFFORTS else budget

    def _messages(
        self, field: str, turns: Sequence[schemas.ChatMessage] | Sequence[schemas.InputItem], ignored: list[str]
    ) -> tuple[Message, ...]:
        if len(turns) > (most := self.settings.max_messages):
            raise _refusal(field, f"a request may have at most {most} turns, got {len(turns)}; send fewer")
        if turns[-1].role != "user":
            raise _refusal(field, f"the last turn must be of 'user', got {turns[-1].role!r}")
        return tuple(self._message(f"{field}[{number}].", turn, ignored) for number, turn in enumerate(turns))

    def _message(self, where: str, turn: schemas.ChatMessage | schemas.InputItem, ignored: list[str]) -> Message:
        drop = self.settings.drop_params
        known = REASONING if turn.role == "assistant" else frozenset[str]()
        found = ignored_fields(turn.others, where, hints=TURN_HINTS, known=known, drop=drop, like=type(turn))
        if turn.role is None:
            raise ApiError(400, f"{where}role is required; add it", param=f"{where}role")
        if turn.content is None and turn.role != "assistant":
            raise ApiError(400, f"{where}content is required; add it", param=f"{where}content")
        parts: Sequence[schemas.TextPart | schemas.InputPart] = [] if isinstance(turn.content, str) else turn.content or []
        for place, part in enumerate(parts):
            found += ignored_fields(part.others, f"{where}content[{place}].", hints=PART_HINTS, drop=drop, like=type(part))
        ignored += [NUMBER.sub("", name) for name in found]
        text = turn.content if isinstance(turn.content, str) else "\n".join(part.text for part in parts)
        return Message("system" if turn.role == "developer" else turn.role, text)

    def _chains(
        self,
        request: schemas.GenerationRequest,
        problems: list[Problem],
        ignored: list[str],
        *,
        n: int | None = None,
        options: schemas.StreamOptions | None = None,
        raw: bool = False,
    ) -> ChainRequest:
        drop = self.settings.drop_params
        ignored = ignored_fields(request.others, drop=drop, like=type(request)) + ignored
        if options:
            ignored += ignored_fields(options.others, "stream_options.", drop=drop, like=schemas.StreamOptions)
            if not request.stream and not drop:
                raise unsupported_value("stream_options", "it needs a stream; add stream: true, or leave it out")
            ignored += [] if request.stream else ["stream_options"]
        model, method = self._method(request)
        copies = n or 1
        chains = ChainRequest(
            model=model,
            method=method,
            problems=tuple(structs.replace(one, seed=one.seed + i) if i else one for one in problems for i in range(copies)),
            n=copies,
            stream=bool(request.stream),
            include_usage=bool(options and options.include_usage),
            events=bool(request.events),
            live=request.events == "live",
            raw=raw,
            user=request.user,
            ignored=tuple(dict.fromkeys(ignored)),
        )
        self._check_places(request, chains)
        return self.check_drafts(chains)

    def _method(self, request: schemas.GenerationRequest) -> tuple[str, Method]:
        """Builds the method of a request, and the model's id for the reply.

        Parameters of the request are added to those of a preset.
        """
        label, preset = self._preset(request)
        try:
            method = build(preset.method, {**preset.params, **(request.params or {})}, preset.wrappers, paths=False)
        except UsageError as error:
            raise _method_error(error, request) from None
        for path, wrapper in _wrappers(request):
            try:
                method = build(method, wrappers=[wrapper], paths=False)
            except UsageError as error:
                raise ApiError(400, str(error), param=f"{path}.{error.field}" if error.field else path) from None
        for path, layer in _layers(request, method):
            self.check_params(layer, path)
        return f"{OWNER}/{label}", method

    def _preset(self, request: schemas.GenerationRequest) -> tuple[str, Preset]:
        """Finds the method or preset that `model` or `method` names."""
        label = (request.model or OWNER).removeprefix(f"{OWNER}/")
        if label != OWNER:
            if label not in self.presets:
                raise unknown_model(str(request.model), self.presets)
            preset = self.presets[label]
            if request.method is not None and request.method != preset.method:
                raise _refusal("method", f"{request.method!r} contradicts model {request.model!r}; use the model {OWNER!r} with `method`")
            return label, preset
        if request.method is not None:
            return request.method, Preset(method=request.method)
        return self.settings.method, self.default


def _wrappers(request: schemas.GenerationRequest) -> list[tuple[str, str]]:
    """Returns the wrappers of a request, each with its place in it."""
    if isinstance(request.wrappers, str):
        return [("with", request.wrappers)]
    return [(f"with[{place}]", wrapper) for place, wrapper in enumerate(request.wrappers or ())]


def _layers(request: schemas.GenerationRequest, method: Method) -> Iterator[tuple[str, Method]]:
    """Yields the wrappers and the method in them, with their places in the request.

    Wrappers of a preset are part of the `model`.
    """
    places = [path for path, _ in _wrappers(request)]
    while isinstance(method, Wrapper):
        yield places.pop() if places else "model", method
        method = method.inner
    yield "params", method


def _chosen_limit(budgets: Mapping[str, int | None], efforts: Mapping[str, str | None]) -> tuple[int | None, str | None]:
    """Returns the budget or the effort that limits the thinking.

    The fields of the service itself go before those of other servers. Raises `ApiError` for two limits of one kind of field.
    """
    limits = [(name, value) for name, value in (*budgets.items(), *efforts.items()) if value and value != "none"]
    limits = [limit for limit in limits if "." not in limit[0]] or limits
    budget = next(((name, value) for name, value in limits if isinstance(value, int)), None)
    effort = next(((name, value) for name, value in limits if isinstance(value, str)), None)
    if budget and effort:
        raise _refusal(f"{budget[0]} and {effort[0]}", "both limit the thinking; give one of them", budget[0])
    return budget and budget[1], effort and effort[1]


def unknown_model(model: str, known: Iterable[str]) -> ApiError | UnknownNameError:
    """Makes the error for a model that the service does not have."""
    name = model.removeprefix(f"{OWNER}/")
    if name not in names(wrappers=True):
        return UnknownNameError("model", model, [f"{OWNER}/{other}" for other in known])
    step = f'name a method as the model, and the wrapper beside it: "with": ["{name}"]'
    return ApiError(404, f"the model must be a method or a preset, got the wrapper {name!r}; {step}", code="model_not_found", param="model")


def innermost(method: Method) -> Method:
    """Returns the method inside all wrappers."""
    return innermost(method.inner) if isinstance(method, Wrapper) else method


def _method_error(error: UsageError, request: schemas.GenerationRequest) -> ApiError:
    """Makes the error for a method that cannot be built. It names the field at fault."""
    if isinstance(error, UnknownNameError) and error.kind == "method":
        return ApiError(400, str(error), param="method" if request.method is not None else "model")
    field = error.name if isinstance(error, UnknownNameError) else error.field
    return ApiError(
        400, str(error), param=f"params.{field}" if field else "params" if request.params else "method" if request.method else "model"
    )


def _refusal(field: str, reason: str, param: str | None = None) -> ApiError:
    return ApiError(400, f"{field}: {reason}", param=param or field)
