"""What a request becomes: problems, one for each chain, and the method that writes them."""

from __future__ import annotations

import secrets
from typing import Any

from msgspec import Struct, structs

from speculative.errors import UnknownNameError, UsageError
from speculative.methods.base import Method, Wrapper, drafts_of, name_of, params_of
from speculative.methods.registry import build, names
from speculative.problem import Message, Problem, Sampling
from speculative.serve import unsupported as declined
from speculative.serve.errors import Refusal, unsupported
from speculative.serve.schemas import Asked, ChatMessage, ChatRequest, CompletionRequest
from speculative.settings import Preset, Settings

OWNER = "speculative"


class Job(Struct, frozen=True):
    """What one request asks for; `n` problems for each prompt. `raw`: the reply is one text, not thinking and answer."""

    model: str
    method: Method
    problems: tuple[Problem, ...]
    n: int = 1
    stream: bool = False
    include_usage: bool = False
    events: bool = False
    raw: bool = False
    user: str | None = None
    ignored: tuple[str, ...] = ()

    @property
    def chains(self) -> int:
        """Chains that it becomes, those of its method counted."""
        return len(self.problems) * self.method.chains_at_once

    @property
    def about(self) -> dict[str, Any]:
        """What a reply says of the method."""
        return {"method": name_of(self.method), "params": params_of(self.method)} | (
            {"ignored": list(self.ignored)} if self.ignored else {}
        )


class Jobs:
    """Makes jobs within the limits of the settings. Raises `UsageError` and `Refusal`, each naming field and value."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        known = [*names(), *settings.presets]
        if settings.method not in known:
            raise UnknownNameError("method", settings.method, known)
        self.default = preset(settings, settings.method)
        self.default.build()
        for name, one in settings.presets.items():
            if name in (*names(), OWNER):
                raise UsageError(f"preset {name!r} has the name of a method, or of the default; choose another")
            one.build()

    def chat(self, asked: ChatRequest) -> Job:
        limits = self.settings
        self._check_chains(asked, 1)
        if len(asked.messages) > limits.max_messages:
            raise Refusal(400, f"messages: {len(asked.messages)} are too many, the service takes {limits.max_messages}", param="messages")
        if asked.messages[-1].role != "user":
            raise Refusal(400, f"messages: the last one is of {asked.messages[-1].role!r}, it must be of 'user'", param="messages")
        both = {asked.max_tokens, asked.max_completion_tokens} - {None}
        if len(both) > 1:
            raise Refusal(400, "max_tokens and max_completion_tokens: they differ; give one of them", param="max_completion_tokens")
        messages = tuple(_message(number, message) for number, message in enumerate(asked.messages))
        problem = self._problem(asked, messages, next(iter(both), None), stop=_stops(asked.stop))
        return self._job(asked, [problem], raw=False)

    def completion(self, asked: CompletionRequest) -> Job:
        if asked.answer_instruction is not None:
            raise unsupported("answer_instruction", "a raw prompt is taken as it is; put it into the prompt")
        prompts = [asked.prompt] if isinstance(asked.prompt, str) else asked.prompt
        self._check_chains(asked, len(prompts))
        # the chain's own stop strings end the answer only; here they end the text, which the feed sees to
        problems = [
            self._problem(asked, (Message("user", prompt),), asked.max_tokens, stop=_stops(asked.stop), raw=True) for prompt in prompts
        ]
        return self._job(asked, problems, raw=True)

    def limited(self, problem: Problem) -> Problem:
        """The problem with the service's own limits in it. Raises `Refusal` for one that asks for more."""
        limits = self.settings
        _within("max_tokens", problem.max_tokens, limits.max_tokens)
        _within("max_produced", problem.max_produced, limits.max_produced)
        _within("max_seconds", problem.max_seconds, limits.max_seconds)
        produced, seconds = problem.max_produced or limits.max_produced, problem.max_seconds or limits.max_seconds
        if (produced, seconds) == (problem.max_produced, problem.max_seconds):
            return problem  # it need not be checked again
        return structs.replace(problem, max_produced=produced, max_seconds=seconds)

    def checked(self, method: Method) -> Method:
        """Raises `Refusal` where a parameter would have the service make more things than it can hold."""
        for name, value in method:
            if isinstance(value, Method):
                self.checked(value)
            elif isinstance(value, int) and abs(value) > self.settings.max_param:
                raise Refusal(
                    400,
                    f"params: {name}: {value} is more than the {self.settings.max_param} that the service allows (--max-param)",
                    param=f"params.{name}",
                )
        return method

    def limited_drafts(self, job: Job) -> Job:
        """Raises `Refusal` for a job whose calls, all chains' together, may ask the engines for more drafts than they are to write."""
        field, drafts = drafts_of(job.method)
        most = self.settings.max_drafts
        if field and drafts * job.chains > most:
            times = f", in each of {job.chains} chains," if job.chains > 1 else ""
            raise Refusal(
                400,
                f"params: {field}: {drafts} drafts in one call{times} are more than the {most} that a request may have (--max-drafts)",
                param=f"params.{field}",
            )
        return job

    def _problem(
        self, asked: Asked, messages: tuple[Message, ...], max_tokens: int | None, *, stop: tuple[str, ...], raw: bool = False
    ) -> Problem:
        usual = Sampling()
        sampling = Sampling(
            temperature=usual.temperature if asked.temperature is None else asked.temperature,
            top_p=usual.top_p if asked.top_p is None else asked.top_p,
            top_k=max(0, asked.top_k or 0),
        )
        problem = Problem(
            messages=messages,
            sampling=sampling,
            max_tokens=max_tokens or min(self.settings.default_tokens, self.settings.max_tokens),
            max_produced=asked.max_produced or self.settings.max_produced,
            max_seconds=asked.max_seconds or self.settings.max_seconds,
            seed=secrets.randbits(31) if asked.seed is None else asked.seed,
            answer_instruction=None if asked.answer_instruction is True else asked.answer_instruction or "",
            stop=stop,
            raw=raw,
            degrade=asked.degrade or self.settings.degrade,
            warm_every=self.settings.warm_every if asked.warm_every is None else asked.warm_every,
        )
        return self.limited(problem)

    def _job(self, asked: Asked, problems: list[Problem], *, raw: bool) -> Job:
        model, method = self._method(asked)
        ignored = declined.check(asked.others)
        options = asked.stream_options
        if options:
            declined.check(options.others, "stream_options.")
            if not asked.stream:
                raise unsupported("stream_options", "there is no stream to apply it to; add stream: true")
        n = asked.n or 1
        job = Job(
            model=model,
            method=method,
            problems=tuple(structs.replace(problem, seed=problem.seed + i) if i else problem for problem in problems for i in range(n)),
            n=n,
            stream=bool(asked.stream),
            include_usage=bool(options and options.include_usage),
            events=bool(asked.events),
            raw=raw,
            user=asked.user,
            ignored=tuple(ignored),
        )
        return self.limited_drafts(job)

    def _check_chains(self, asked: Asked, prompts: int) -> None:
        chains = (asked.n or 1) * prompts
        if chains > self.settings.max_n:
            raise Refusal(400, f"n: {chains} chains are too many for one request, the service takes {self.settings.max_n}", param="n")

    def _method(self, asked: Asked) -> tuple[str, Method]:
        """The id that the reply names, and the method: what `model` says, or `method`; parameters are added to a preset's."""
        label = (asked.model or OWNER).removeprefix(f"{OWNER}/")
        if label != OWNER:
            chosen = preset(self.settings, label, shown=asked.model)
            if asked.method is not None and asked.method != chosen.method:
                raise Refusal(
                    400,
                    f"method: {asked.method!r} contradicts model {asked.model!r}; use the model {OWNER!r} with `method`",
                    param="method",
                )
        elif asked.method is not None:
            chosen, label = Preset(method=asked.method), asked.method
        else:
            chosen, label = self.default, self.settings.method
        wrappers = [asked.wrappers] if isinstance(asked.wrappers, str) else asked.wrappers or []
        method = build(chosen.method, {**chosen.params, **(asked.params or {})}, [*chosen.wrappers, *wrappers], paths=False)
        return f"{OWNER}/{label}", self.checked(method)


def preset(settings: Settings, name: str, shown: str | None = None) -> Preset:
    """The preset, or the method without parameters, of that name. Raises `UnknownNameError`."""
    if name in settings.presets:
        return settings.presets[name]
    if name in names():
        return Preset(method=name)
    raise UnknownNameError("model", shown or name, [f"{OWNER}/{known}" for known in (*names(), *settings.presets)])


def bare(method: Method) -> Method:
    """The method inside all wrappers."""
    return bare(method.inner) if isinstance(method, Wrapper) else method


def _message(number: int, message: ChatMessage) -> Message:
    where = f"messages[{number}]."
    known = declined.REASONING if message.role == "assistant" else frozenset[str]()
    declined.check(message.others, where, known)
    content = message.content
    if content is None and message.role != "assistant":
        raise Refusal(400, f"{where}content: it is missing", param=f"{where}content")
    text = content if isinstance(content, str) else "\n".join(part.text for part in content or [])
    return Message("system" if message.role == "developer" else message.role, text)


def _stops(stop: str | list[str] | None) -> tuple[str, ...]:
    return (stop,) if isinstance(stop, str) else tuple(stop or ())


def _within(field: str, value: float | None, limit: float) -> None:
    if value is not None and value > limit:
        raise Refusal(400, f"{field}: {value} is more than the {limit} that the service allows", param=field)
