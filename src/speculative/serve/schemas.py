"""Types of the requests: the fields that the service honours.

`unsupported.py` decides about all other fields.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

INT64 = 1 << 63


def _check_unicode(text: str) -> str:
    """Rejects half a character, which JSON can spell but no tokenizer can take."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("must be valid Unicode, got half a character") from None
    return text


def _check_unicode_values(values: dict[str, Any]) -> dict[str, Any]:
    _check_unicode(json.dumps(values, ensure_ascii=False))
    return values


UNICODE = AfterValidator(_check_unicode)
Text = Annotated[str, UNICODE]
Name = Annotated[str, Field(max_length=256), UNICODE]
Stop = Annotated[str, Field(min_length=1), UNICODE]
Spec = Annotated[str, Field(max_length=512), UNICODE]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh"]
MAX_TOKENS: Any = Field(None, ge=1, lt=INT64, description="tokens of the chain and its answer at most")


class RequestBase(BaseModel):
    """Keeps unknown fields. Types are strict: `"5"` and `true` are not numbers.

    A list is checked down to its first mistake, since each mistake costs memory and a body has room for thousands.
    """

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)

    @property
    def others(self) -> dict[str, Any]:
        """The fields that are not typed here."""
        return self.model_extra or {}


class TextPart(RequestBase):
    """A part of a message. These models read text only."""

    type: Literal["text"]
    text: Text


class ChatMessage(RequestBase):
    """One turn. The reasoning of earlier replies is accepted and left out."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Text | Annotated[list[TextPart], Field(fail_fast=True)] | None = None


class StreamOptions(RequestBase):
    """Options of a stream. `include_usage` adds a last chunk with the usage."""

    include_usage: bool | None = None


class ThinkingOptions(RequestBase):
    """Options of the thinking as Anthropic's API spells them.

    `budget_tokens` is `thinking_budget`.
    """

    type: Literal["enabled", "adaptive", "disabled"] | None = None
    budget_tokens: int | None = Field(None, ge=0, lt=INT64)


class ReasoningOptions(RequestBase):
    """Options of the thinking in the Responses API, and of some chat clients.

    `max_tokens` is `thinking_budget`.
    """

    effort: Effort | None = None
    max_tokens: int | None = Field(None, ge=0, lt=INT64)


class GenerationRequest(RequestBase):
    """Fields of all generation endpoints."""

    model: str | None = Field(
        None, max_length=256, description="`speculative/METHOD`, `speculative/PRESET`, or `speculative` for the default"
    )
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=-1, lt=INT64, description="0 or -1: off")
    seed: int | None = Field(None, ge=-INT64, lt=INT64, description="drawn by the service if not given; the reply has it")
    stop: Stop | Annotated[list[Stop], Field(max_length=16, fail_fast=True)] | None = Field(
        None, description="ends the answer, never the thinking; not in the reply"
    )
    stream: bool | None = None
    user: Name | None = Field(None, description="is written to the log")

    reasoning_effort: Effort | None = Field(
        None, description="the share of `max_tokens` that the thinking may have: minimal 10 %, low 20 %, medium 50 %, high all"
    )
    thinking_budget: int | None = Field(None, ge=0, lt=INT64, description="tokens of the thinking at most; then the answer follows")
    thinking: bool | ThinkingOptions | None = None
    reasoning: ReasoningOptions | None = None
    method: Name | None = Field(None, description="a registered method, instead of the model's")
    params: Annotated[dict[Name, Any], AfterValidator(_check_unicode_values)] | None = Field(
        None, description="parameters of the method; `GET /v1/models` has their schema"
    )
    wrappers: Spec | Annotated[list[Spec], Field(max_length=4, fail_fast=True)] | None = Field(
        None, alias="with", description="wrappers around the method, as `name` or `name(field=value,…)`"
    )
    events: bool | Literal["live"] | None = Field(
        None,
        description="put every event of the chain under `speculative`; `live`: in a stream also the text of calls as it arrives, "
        "and mean log-probability and entropy of each text where the engine has them",
    )
    max_produced: int | None = Field(None, ge=1, lt=INT64, description="tokens produced at most, discarded ones included")
    max_seconds: float | None = Field(None, gt=0, description="seconds of a chain at most; then it answers with what it has")
    degrade: Literal["fail", "big", "small"] | None = Field(
        None, description="the model that goes on alone when the other one's server dies; `fail` is the default"
    )
    prefill_every: int | None = Field(None, ge=0, lt=INT64, description="prefill the idle model every so many tokens; 0 disables")
    answer_instruction: Text | Literal[True] | None = Field(
        None, description="text added to the last message; true adds the usual instruction of the model's family"
    )


class ToolRequest(GenerationRequest):
    """Fields of the endpoints to which clients send tools."""

    tools: Any = Field(
        None, description="one advisor tool (`advisor_20260301` or `openrouter:advisor`), which the method `advisor` answers; no other tool"
    )

    @property
    def others(self) -> dict[str, Any]:
        """The fields that are not typed here; `tools` is one of them."""
        return {**super().others, "tools": self.tools}


class ChatRequest(ToolRequest):
    """Request of `POST /v1/chat/completions`."""

    max_tokens: int | None = MAX_TOKENS
    n: int | None = Field(None, ge=1, lt=INT64)
    stream_options: StreamOptions | None = None
    messages: list[ChatMessage] = Field(min_length=1, fail_fast=True)
    max_completion_tokens: int | None = Field(None, ge=1, lt=INT64, description="the same as max_tokens")


class CompletionRequest(GenerationRequest):
    """Request of `POST /v1/completions`: raw text for both models.

    Special tokens of each model's family keep their meaning.
    """

    max_tokens: int | None = MAX_TOKENS
    n: int | None = Field(None, ge=1, lt=INT64)
    stream_options: StreamOptions | None = None
    prompt: Text | Annotated[list[Text], Field(min_length=1, fail_fast=True)]


class InputPart(RequestBase):
    """A part of an item of the Responses API."""

    type: Literal["input_text", "output_text", "text", "reasoning_text"]
    text: Text


class InputItem(RequestBase):
    """A turn of the Responses API. Reasoning of earlier replies is left out."""

    type: Literal["message", "reasoning"] | None = None
    role: Literal["system", "developer", "user", "assistant"] | None = None
    content: Text | Annotated[list[InputPart], Field(fail_fast=True)] | None = None


class ResponsesRequest(ToolRequest):
    """Request of `POST /v1/responses`: text in; reasoning and text out."""

    input: Text | Annotated[list[InputItem], Field(min_length=1, fail_fast=True)]
    instructions: Text | None = Field(None, description="the system message")
    max_output_tokens: int | None = MAX_TOKENS
