"""What the user asks: `Problem`, its messages, and how to sample."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import inf, isfinite
from typing import Any, Literal, cast, get_args

from msgspec import Struct, structs

from speculative.errors import UsageError

Role = Literal["big", "small", "judge"]
ROLES: tuple[Role, ...] = ("big", "small")
"""The roles that every pair fills."""

FinishReason = Literal["stop", "length", "loop", "context", "time", "cancelled"]
"""`cancelled` stands in the trace of a child only: its parent did not need it any more, or its work was cancelled."""
Degrade = Literal["fail", "big", "small"]

ANSWER_TOKENS = 1024
"""The most that is kept free for the answer; for small budgets it is an eighth of `max_tokens`."""


def _bounds(field: str, value: Any, low: float, high: float = inf, above: bool = False, whole: bool = False) -> None:
    """Raises `UsageError` that names the field and the bound; NaN and infinity are in no range."""
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        raise UsageError(f"{field}: {value!r} is no {'whole ' * whole}number")
    if not isfinite(value):
        raise UsageError(f"{field}: {value} is out of range, it must be finite")
    if not (value > low if above else value >= low):
        raise UsageError(f"{field}: {value} is out of range, it must be {'above' if above else 'at least'} {low}")
    if value > high:
        raise UsageError(f"{field}: {value} is out of range, it must be at most {high}")


class Message(Struct, frozen=True):
    """One turn of the conversation that states the problem."""

    role: Literal["system", "user", "assistant"]
    content: str


Turn = Message | Mapping[str, Any]
"""A message, or the same as a dict with `role` and `content`."""


def messages_of(given: str | Iterable[Turn]) -> tuple[Message, ...]:
    """Chat messages, out of a text, messages and dicts. Raises `UsageError` that names the message."""
    if isinstance(given, str):
        return (Message("user", given),)
    return tuple(_message(number, turn) for number, turn in enumerate(given, 1))


def _message(number: int, turn: object) -> Message:
    if isinstance(turn, Message):
        role, content = turn.role, turn.content
    elif isinstance(turn, Mapping):
        fields = cast("Mapping[str, Any]", turn)
        role, content = fields.get("role"), fields.get("content")
    else:
        raise UsageError(f"message {number} must be a Message or a dict with role and content, got {turn!r}")
    if role not in ("system", "user", "assistant"):
        raise UsageError(f"message {number}: role must be system, user or assistant, got {role!r}")
    if content is None:
        raise UsageError(f"message {number} must have a content, a text")
    parts = cast("list[object]", content) if isinstance(content, list) else [content]
    texts = [cast("dict[str, object]", part).get("text") if isinstance(part, dict) else part for part in parts]
    if not all(isinstance(text, str) for text in texts):
        raise UsageError(f"message {number}: content must be a text, got {content!r}")
    return turn if isinstance(turn, Message) else Message(role, "\n".join(cast("list[str]", texts)))


def _texts(field: str, given: object) -> tuple[str, ...]:
    texts = (given,) if not isinstance(given, list | tuple) else tuple(cast("Sequence[object]", given))
    for text in texts:
        if not isinstance(text, str):
            raise UsageError(f"{field} must be texts, got {text!r}")
    return cast("tuple[str, ...]", texts)


class Sampling(Struct, frozen=True):
    """How the models sample, unless a method asks for something else. `top_k` 0 switches that filter off."""

    temperature: float = 0.6
    top_p: float = 0.95
    top_k: int = 0

    def __post_init__(self) -> None:
        _bounds("temperature", self.temperature, 0, 100)
        _bounds("top_p", self.top_p, 0, 1, above=True)
        _bounds("top_k", self.top_k, 0, whole=True)


class Problem(Struct, frozen=True):
    """What the user asks, how to sample, and what it may cost.

    `max_tokens` counts the tokens of the chain and its answer that models wrote: it is never exceeded. `answer_tokens` of it are
    kept free for the answer (None: an eighth, 1,024 at the most). `max_thinking` caps the thinking alone: the answer follows when it
    is reached. `max_produced` caps everything that is generated, waste
    included; `max_seconds` is wall time.
    `answer_instruction` is added to the last user message; None stands for the dialect's own. `stop` strings end the
    answer (never the thinking). `raw`: the one message is the whole prompt, as the models are to see it: markers that are
    spelled out in it are markers, nothing is put around it, and `stop` strings end any text.

    `degrade`: what happens when a server of the pair dies: `fail`, or the role (`big`, `small`) whose engine then does the work
    of the other one too. `prefill_every`: while one model writes, the other is given, in the background, what it has not seen,
    whenever that is so many tokens (0: never), so that a hand-over does not wait for a long prefill. Of `max_produced` one token in
    `prefill_every` + 1 is set aside for that.
    """

    messages: tuple[Message, ...]
    sampling: Sampling = Sampling()
    max_tokens: int = 8192
    max_produced: int | None = None
    max_seconds: float | None = None
    seed: int = 0
    answer_instruction: str | None = None
    stop: tuple[str, ...] = ()
    raw: bool = False
    degrade: Degrade = "fail"
    prefill_every: int = 0
    answer_tokens: int | None = None
    max_thinking: int | None = None

    def __post_init__(self) -> None:
        structs.force_setattr(self, "messages", messages_of(self.messages))
        structs.force_setattr(self, "stop", _texts("stop", self.stop))
        if not isinstance(self.raw, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise UsageError(f"raw must be true or false, got {self.raw!r}")
        if not isinstance(self.answer_instruction, str | None):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise UsageError(f"answer_instruction must be a text, got {self.answer_instruction!r}")
        if self.raw and len(self.messages) != 1:
            raise UsageError(f"a raw prompt is one message, there are {len(self.messages)}")
        if "" in self.stop:
            raise UsageError("stop: an empty string would end every answer at once; leave it out")
        if not self.messages or not self.messages[-1].content.strip():
            raise UsageError("the problem is empty; give its text")
        for text in (*(message.content for message in self.messages), self.answer_instruction or "", *self.stop):
            try:
                text.encode()
            except UnicodeEncodeError as error:
                raise UsageError(f"the problem holds a character that is not valid Unicode, at position {error.start}") from None
        _bounds("max_tokens", self.max_tokens, 1, whole=True)
        _bounds("max_thinking", self.max_thinking, 1, whole=True)
        _bounds("max_produced", self.max_produced, 1, whole=True)
        _bounds("seed", self.seed, -(2**63), 2**63 - 1, whole=True)
        _bounds("max_seconds", self.max_seconds, 0, above=True)
        _bounds("prefill_every", self.prefill_every, 0, whole=True)
        _bounds("answer_tokens", self.answer_tokens, 0, whole=True)
        if self.degrade not in get_args(Degrade):
            raise UsageError(f"degrade: {self.degrade!r} is none of {', '.join(get_args(Degrade))}")

    @classmethod
    def of(cls, text: str, **settings: Any) -> Problem:
        """A problem of one user message."""
        return cls(messages=(Message("user", text),), **settings)

    @property
    def reserve(self) -> int:
        """Tokens of `max_tokens` that the thinking leaves for the answer."""
        return min(ANSWER_TOKENS, self.max_tokens // 8) if self.answer_tokens is None else min(self.answer_tokens, self.max_tokens)

    @property
    def thinking_tokens(self) -> int:
        """Tokens that the thinking may have."""
        most = self.max_tokens - self.reserve
        return most if self.max_thinking is None else min(most, self.max_thinking)
