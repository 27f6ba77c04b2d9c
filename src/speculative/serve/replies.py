"""Types of the replies: the service writes them, and its schema describes them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field

from speculative.trace.usage import Usage


class ErrorDetail(Struct):
    """An error: one line for a person, and words for a program."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorReply(Struct):
    """An error in the form of the OpenAI API."""

    error: ErrorDetail


class Advice(Struct):
    """A reply with the advice of big, and its cost. Only the small model read it."""

    text: str
    prompt_tokens: int
    completion_tokens: int
    seconds: float


class Chosen(Struct):
    """A choice of the method `auto` after `at` seconds: a way to go on, and why."""

    way: str
    reason: str
    at: float


class ChainReport(Struct, kw_only=True):
    """Fields of one chain, or of all chains of a reply, beyond the OpenAI API."""

    finish_reason: str
    usage: dict[str, Usage]
    method: str | UnsetType = UNSET
    params: dict[str, Any] | UnsetType = UNSET
    ignored: list[str] | UnsetType = UNSET
    seed: int | UnsetType = UNSET
    seconds: float | UnsetType = UNSET
    boxed: str | UnsetType | None = UNSET
    degraded: str | UnsetType | None = UNSET
    advice: list[Advice] | UnsetType = UNSET
    choices: list[Chosen] | UnsetType = UNSET
    events: list[list[Any]] | UnsetType = UNSET


class TokenCounts(Struct):
    """Tokens as the OpenAI API counts them: a prompt counts once for all its choices."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: dict[str, int]
    completion_tokens_details: dict[str, int]


class AssistantMessage(Struct):
    """The thinking and the answer of one chain."""

    content: str
    reasoning: str
    reasoning_content: str
    role: Literal["assistant"] = "assistant"
    refusal: None = None


class ChoiceBase(Struct, kw_only=True):
    """One chain of a reply."""

    index: int
    logprobs: None = None
    finish_reason: Literal["stop", "length"] | None = None


class ChatChoice(ChoiceBase, kw_only=True):
    """One chain of a chat completion."""

    message: AssistantMessage
    speculative: ChainReport


class TextChoice(ChoiceBase, kw_only=True):
    """One chain of a completion: its thinking and answer as one text."""

    text: str
    speculative: ChainReport


class DeltaChoice(ChoiceBase, kw_only=True):
    """New text of one chain in a stream: `delta` in a chat, `text` in a completion."""

    delta: dict[str, str] | UnsetType = UNSET
    text: str | UnsetType = UNSET


class CompletionBase(Struct, kw_only=True):
    """Fields that every reply of a completion endpoint has."""

    id: str
    created: int
    model: str


class ChatCompletion(CompletionBase, kw_only=True):
    """Reply of `POST /v1/chat/completions`."""

    choices: list[ChatChoice]
    usage: TokenCounts
    speculative: ChainReport
    object: Literal["chat.completion"] = "chat.completion"


class TextCompletion(CompletionBase, kw_only=True):
    """Reply of `POST /v1/completions`."""

    choices: list[TextChoice]
    usage: TokenCounts
    speculative: ChainReport
    object: Literal["text_completion"] = "text_completion"


class Chunk(CompletionBase, kw_only=True):
    """Data of one server-sent event of a chat or a completion."""

    object: Literal["chat.completion.chunk", "text_completion"]
    choices: list[DeltaChoice]
    usage: TokenCounts | UnsetType | None = UNSET
    speculative: Annotated[
        Any,
        Meta(description="a ChainReport at the end, or an event or new text of a call: `index`, `chain` and `event` or `delta`"),
    ] = UNSET


# ---- the Responses API ------------------------------------------------------------------------------------------------


class OutputPart(Struct):
    """Text of an item."""

    type: Literal["output_text", "reasoning_text"]
    text: str
    annotations: list[Any] | UnsetType = UNSET
    logprobs: list[Any] | UnsetType = UNSET


class OutputItem(Struct, kw_only=True):
    """The thinking, or the answer."""

    id: str
    type: Literal["reasoning", "message"]
    status: Literal["in_progress", "completed", "incomplete"]
    content: list[OutputPart]
    role: Literal["assistant"] | UnsetType = UNSET
    summary: list[Any] | UnsetType = UNSET


class ResponsesUsage(Struct):
    """Tokens as the Responses API counts them."""

    input_tokens: int
    output_tokens: int
    total_tokens: int
    input_tokens_details: dict[str, int]
    output_tokens_details: dict[str, int]


class ResponsesReply(Struct, kw_only=True):
    """Reply of `POST /v1/responses`."""

    id: str
    created_at: int
    model: str
    temperature: float
    top_p: float
    instructions: str | None
    max_output_tokens: int | None
    reasoning: dict[str, Any]
    user: str | None
    metadata: dict[str, Any]
    object: Literal["response"] = "response"
    status: Literal["in_progress", "completed", "incomplete", "failed"] = "in_progress"
    output: list[OutputItem] = []
    usage: ResponsesUsage | None = None
    error: dict[str, str] | None = None
    incomplete_details: dict[str, str] | None = None
    text: dict[str, Any] = field(default_factory=lambda: {"format": {"type": "text"}})
    tools: list[Any] = []
    tool_choice: str = "auto"
    parallel_tool_calls: bool = True
    previous_response_id: None = None
    store: bool = False
    truncation: str = "disabled"
    speculative: ChainReport | UnsetType = UNSET


class ResponsesEvent(Struct, kw_only=True):
    """Data of one server-sent event of the Responses API."""

    type: str
    sequence_number: int
    response: ResponsesReply | UnsetType = UNSET
    item_id: str | UnsetType = UNSET
    output_index: int | UnsetType = UNSET
    content_index: int | UnsetType = UNSET
    item: OutputItem | UnsetType = UNSET
    part: OutputPart | UnsetType = UNSET
    delta: str | UnsetType = UNSET
    text: str | UnsetType = UNSET
    logprobs: list[Any] | UnsetType = UNSET


# ---- models and health ------------------------------------------------------------------------------------------------


class ModelCard(Struct, kw_only=True):
    """A method, or a preset, as a model."""

    id: str
    created: int
    owned_by: str
    speculative: dict[str, Any]
    object: Literal["model"] = "model"
    max_model_len: int | UnsetType = UNSET
    context_length: int | UnsetType = UNSET


class ModelList(Struct):
    """Reply of `GET /v1/models`."""

    data: list[ModelCard]
    object: Literal["list"] = "list"


class Readiness(Struct):
    """Reply of `/health` and `/ready`. `degraded`: the model that is missing."""

    status: Literal["ok", "ready", "not ready"]
    reason: str | UnsetType = UNSET
    degraded: str | UnsetType = UNSET
