"""What a request may hold. Fields that we honour are typed here; `unsupported.py` judges all others."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

INT64 = 1 << 63


def _unicode(text: str) -> str:
    """JSON can spell half a character, which no tokenizer and no reply can take."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"it holds half a character, which is no Unicode, at position {error.start}") from None
    return text


def _all_unicode(values: dict[str, Any]) -> dict[str, Any]:
    _unicode(json.dumps(values, ensure_ascii=False))
    return values


UNICODE = AfterValidator(_unicode)
Text = Annotated[str, UNICODE]
Name = Annotated[str, Field(max_length=256), UNICODE]
Stop = Annotated[str, Field(min_length=1), UNICODE]
Spec = Annotated[str, Field(max_length=512), UNICODE]


class Open(BaseModel):
    """Unknown fields are kept, to be judged. Strict: `"5"` is no number, `true` neither.

    Lists are read down to the first thing that is wrong in them: a body has room for millions of such.
    """

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)

    @property
    def others(self) -> dict[str, Any]:
        return self.model_extra or {}


class TextPart(Open):
    """A part of a message; text is the only kind that these models read."""

    type: Literal["text"]
    text: Text


class ChatMessage(Open):
    """One turn. The thinking of earlier replies (`reasoning`) is taken and left out, as the models' own templates do."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Text | Annotated[list[TextPart], Field(fail_fast=True)] | None = None


class StreamOptions(Open):
    """`include_usage`: a last chunk with the usage."""

    include_usage: bool | None = None


class Asked(Open):
    """What both OpenAI endpoints take. Of ours: `method`, `params`, `with`, `events`, and limits of the chain."""

    model: str | None = Field(
        None, max_length=256, description="`speculative/METHOD`, `speculative/PRESET`, or `speculative` for the default"
    )
    max_tokens: int | None = Field(None, ge=1, lt=INT64, description="tokens of the chain and its answer at most")
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=-1, lt=INT64, description="0 or -1: off")
    seed: int | None = Field(None, ge=-INT64, lt=INT64, description="without one every request draws its own; the reply tells it")
    stop: Stop | Annotated[list[Stop], Field(max_length=16, fail_fast=True)] | None = Field(
        None, description="ends the answer, never the thinking; not in the reply"
    )
    n: int | None = Field(None, ge=1, lt=INT64)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: Name | None = Field(None, description="is written to the log")

    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = Field(
        None, description="the share of `max_tokens` that the thinking may have: minimal 10 %, low 20 %, medium 50 %, high all"
    )
    thinking_budget: int | None = Field(None, ge=1, lt=INT64, description="tokens of the thinking at most; then the answer follows")
    method: Name | None = Field(None, description="a registered method, instead of the model's")
    params: Annotated[dict[Name, Any], AfterValidator(_all_unicode)] | None = Field(
        None, description="parameters of the method; `GET /v1/models` has their schema"
    )
    wrappers: Spec | Annotated[list[Spec], Field(max_length=4, fail_fast=True)] | None = Field(
        None, alias="with", description="wrappers around the method, as `name` or `name(field=value,…)`"
    )
    events: bool | None = Field(None, description="tell everything that happens to the chain, under `speculative`")
    max_produced: int | None = Field(None, ge=1, lt=INT64, description="tokens produced at most, discarded ones included")
    max_seconds: float | None = Field(None, gt=0, description="seconds of a chain at most; then it answers with what it has")
    degrade: Literal["fail", "big", "small"] | None = Field(
        None, description="`big` or `small`: who goes on alone when the other one's server dies; `fail` is the default"
    )
    warm_every: int | None = Field(
        None, ge=0, lt=INT64, description="tokens after which the idle model is given what it has not seen; 0 is never"
    )
    answer_instruction: Text | Literal[True] | None = Field(
        None, description="added to the last message; true: what the model's family is used to; nothing is where this is not given"
    )


class ChatRequest(Asked):
    """`POST /v1/chat/completions`."""

    messages: list[ChatMessage] = Field(min_length=1, fail_fast=True)
    max_completion_tokens: int | None = Field(None, ge=1, lt=INT64, description="the same as max_tokens")


class CompletionRequest(Asked):
    """`POST /v1/completions`: raw text for both models; the markers of each model's family are markers in it."""

    prompt: Text | Annotated[list[Text], Field(min_length=1, fail_fast=True)]


class FirstRequest(BaseModel):
    """`POST /speculative_reason`: the first library's keys; unknown ones are ignored, as there."""

    model_config = ConfigDict(extra="allow")

    question: Text | None = None
