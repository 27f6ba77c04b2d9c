"""The input of a chain: `Problem` with its messages and sampling."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import inf, isfinite
from typing import Any, Literal, cast, get_args

from msgspec import Struct, structs

from speculative.errors import UsageError, quote

Role = Literal["big", "small", "judge"]
WRITERS: tuple[Role, ...] = ("big", "small")
"""The roles that every pair fills, and that write the chain."""

FinishReason = Literal["stop", "length", "loop", "context", "time", "cancelled"]
"""`cancelled` stands in the trace of a child only: its parent did not need it any more, or its work was cancelled."""
Degrade = Literal["fail", "big", "small"]

ANSWER_TOKENS = 1024
"""The largest reserve for the answer; for small budgets it is an eighth of `max_tokens`."""


def _bounds(
    field: str, value: Any, low: float, high: float = inf, above: bool = False, whole: bool = False, optional: bool = False
) -> None:
    """Raises `UsageError` that names the field and the bound.

    NaN and infinity are out of every range.
    """
    if value is None and optional:
        return
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        raise UsageError(f"{field} must be {'an integer' if whole else 'a number'}, got {quote(value)}")
    if isinstance(value, float) and not isfinite(value):
        raise UsageError(f"{field} must be finite, got {value}")
    if not (value > low if above else value >= low):
        raise UsageError(f"{field} must be {'above' if above else 'at least'} {low}, got {_short(value)}")
    if value > high:
        raise UsageError(f"{field} must be at most {high}, got {_short(value)}")


def _short(value: float) -> str:
    """Returns a number as text. Python spells no integer of thousands of digits."""
    return f"{value}" if abs(value) < 10**80 else "a number of more than 80 digits"


class Message(Struct, frozen=True):
    """One chat message of a problem."""

    role: Literal["system", "user", "assistant"]
    content: str


Turn = Message | Mapping[str, Any]
"""A message, or a dict with `role` and `content`."""


def messages_of(given: str | Iterable[Turn]) -> tuple[Message, ...]:
    """Makes chat messages of a text, or of messages and dicts.

    Raises `UsageError` that names the message.
    """
    if isinstance(given, str):
        return (Message("user", given),)
    if isinstance(given, Mapping) or not isinstance(given, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise UsageError(f"the messages must be a text or a list, got {quote(cast('object', given))}")
    return tuple(_message(number, turn) for number, turn in enumerate(given, 1))


def _message(number: int, turn: object) -> Message:
    if isinstance(turn, Message):
        role, content = turn.role, turn.content
    elif isinstance(turn, Mapping):
        fields = cast("Mapping[str, Any]", turn)
        role, content = fields.get("role"), fields.get("content")
    else:
        raise UsageError(f"message {number} must be a Message or a dict with role and content, got {quote(turn)}")
    if role not in ("system", "user", "assistant"):
        raise UsageError(f"message {number}: role must be system, user or assistant, got {quote(role)}")
    if content is None:
        raise UsageError(f"message {number} must have a content")
    parts = cast("list[object]", content) if isinstance(content, list) else [content]
    texts = [cast("dict[str, object]", part).get("text") if isinstance(part, dict) else part for part in parts]
    if not all(isinstance(text, str) for text in texts):
        raise UsageError(f"message {number}: content must be a text, got {quote(cast('object', content))}")
    return turn if isinstance(turn, Message) else Message(role, "\n".join(cast("list[str]", texts)))


def _texts(field: str, given: object) -> tuple[str, ...]:
    texts = (given,) if not isinstance(given, list | tuple) else tuple(cast("Sequence[object]", given))
    for text in texts:
        if not isinstance(text, str):
            raise UsageError(f"{field} must be texts, got {quote(text)}")
    return cast("tuple[str, ...]", texts)


class Sampling(Struct, frozen=True):
    """The sampling of the models, unless a method sets its own.

    `top_k=0` switches that filter off.
    """

    temperature: float = 0.6
    top_p: float = 0.95
    top_k: int = 0

    def __post_init__(self) -> None:
        _bounds("temperature", self.temperature, 0, 100)
        _bounds("top_p", self.top_p, 0, 1, above=True)
        _bounds("top_k", self.top_k, 0, whole=True)


class Problem(Struct, frozen=True):
    """The messages of a problem, its sampling and its limits.

    Attributes:
        messages: the conversation; the last message is the user's.
        sampling: the sampling of the models.
        max_tokens: the limit of the tokens in the chain and its answer; it is never exceeded.
        max_produced: the limit of all generated tokens, discarded ones included. What a server wrote before it was told that the text had
            ended (`until`) does not count: its number depends on clocks. With this limit a method that works ahead (a `pipeline`,
            `lookahead`) may write other text at another speed, since a cancelled draft costs what it had written by then.
        max_seconds: the limit of wall time.
        seed: the seed of the chain.
        answer_instruction: a text that is added to the last user message; None stands for the dialect's own.
        stop: strings that end the answer. They do not end the thinking.
        raw: the one message is the whole prompt. Special tokens in it count as such, no template is applied, and `stop` strings
            end any text.
        degrade: the reaction to a lost server: `fail`, or the role (`big`, `small`) that continues alone.
        prefill_every: the idle model reads the new text in the background, whenever there are this many new tokens (0: never).
            A hand-over then needs no long prefill. One token in `prefill_every` + 1 of `max_produced` is reserved for it.
        answer_tokens: the part of `max_tokens` that is reserved for the answer; None is an eighth, at most 1,024.
        max_thinking: the limit of the thinking alone; the answer follows.
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
        if not isinstance(self.sampling, Sampling):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise UsageError(f"sampling must be a Sampling, got {quote(self.sampling)}; write Sampling(temperature=…)")
        if not isinstance(self.raw, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise UsageError(f"raw must be true or false, got {quote(self.raw)}")
        if not isinstance(self.answer_instruction, str | None):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise UsageError(f"answer_instruction must be a text, got {quote(self.answer_instruction)}")
        if self.raw and len(self.messages) != 1:
            raise UsageError(f"a raw prompt must be one message, got {len(self.messages)}")
        if "" in self.stop:
            raise UsageError("stop cannot hold an empty string, which would end every answer at once; leave it out")
        if not self.messages or not self.messages[-1].content.strip():
            raise UsageError("the problem is empty; give its text")
        for text in (*(message.content for message in self.messages), self.answer_instruction or "", *self.stop):
            try:
                text.encode()
            except UnicodeEncodeError as error:
                raise UsageError(f"the problem must be valid Unicode, got half a character at position {error.start}") from None
        _bounds("max_tokens", self.max_tokens, 1, whole=True)
        _bounds("max_thinking", self.max_thinking, 1, whole=True, optional=True)
        _bounds("max_produced", self.max_produced, 1, whole=True, optional=True)
        _bounds("seed", self.seed, -(2**63), 2**63 - 1, whole=True)
        _bounds("max_seconds", self.max_seconds, 0, above=True, optional=True)
        _bounds("prefill_every", self.prefill_every, 0, whole=True)
        _bounds("answer_tokens", self.answer_tokens, 0, whole=True, optional=True)
        if self.degrade not in get_args(Degrade):
            raise UsageError(f"degrade must be one of {', '.join(get_args(Degrade))}, got {quote(self.degrade)}")

    @classmethod
    def of(cls, text: str, **settings: Any) -> Problem:
        """Makes a problem of one user message."""
        return cls(messages=(Message("user", text),), **settings)

    def with_instruction(self, text: str, joint: str = "\n\n") -> Problem:
        """Returns the problem with one more paragraph, or line, at the user's end."""
        by_user = [place for place, message in enumerate(self.messages) if message.role == "user"] or [len(self.messages) - 1]
        last = self.messages[by_user[-1]]
        changed = structs.replace(last, content=f"{last.content}{joint}{text}")
        return structs.replace(self, messages=(*self.messages[: by_user[-1]], changed, *self.messages[by_user[-1] + 1 :]))

    @property
    def reserve(self) -> int:
        """The part of `max_tokens` that is reserved for the answer."""
        return min(ANSWER_TOKENS, self.max_tokens // 8) if self.answer_tokens is None else min(self.answer_tokens, self.max_tokens)

    @property
    def thinking_tokens(self) -> int:
        """The limit of tokens for the thinking."""
        most = self.max_tokens - self.reserve
        return most if self.max_thinking is None else min(most, self.max_thinking)
