"""Writes replies of the completion endpoints: chats and raw text."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import UNSET

from speculative.serve.errors import ApiError, redact_event
from speculative.serve.outcome import ChainOutcome, count_tokens
from speculative.serve.replies import (
    AssistantMessage,
    ChainReport,
    ChatChoice,
    ChatCompletion,
    Chunk,
    DeltaChoice,
    TextChoice,
    TextCompletion,
)
from speculative.serve.request import ChainRequest
from speculative.trace.events import AnyEvent, TextDelta
from speculative.trace.usage import total_usage

encode = msgspec.json.encode

DONE = b"data: [DONE]\n\n"


def summarize(request: ChainRequest, outcomes: Sequence[ChainOutcome], **more: Any) -> ChainReport:
    """Describes all chains of a whole reply."""
    if request.events:
        more["events"] = [[redact_event(event) for event in outcome.trace.events] for outcome in outcomes]
    return ChainReport(**request.about, **{**total(outcomes), **more})


def total(outcomes: Sequence[ChainOutcome]) -> dict[str, Any]:
    """Returns the fields of a report on all chains together."""
    more = {name: [piece for outcome in outcomes for piece in outcome.more.get(name, ())] for name in outcomes[0].more}
    found: dict[str, Any] = {"finish_reason": outcomes[0].finish, "usage": total_usage(outcome.usage for outcome in outcomes)}
    return found | more


class CompletionWriter:
    """Writes the reply to one request, whole or chunk by chunk."""

    def __init__(self, request: ChainRequest) -> None:
        self.request = request
        kind = "cmpl" if request.raw else "chatcmpl"
        self._head: dict[str, Any] = {"id": f"{kind}-{secrets.token_hex(12)}", "created": int(time.time()), "model": request.model}
        self._chunk_head: dict[str, Any] = {
            **self._head,
            "object": "text_completion" if request.raw else "chat.completion.chunk",
            "usage": None if request.include_usage else UNSET,
        }
        self._templates: dict[tuple[int, str], list[bytes]] = {}

    def begin(self) -> bytes:
        """Writes the chunks with the role."""
        chats = 0 if self.request.raw else len(self.request.problems)
        return b"".join(self._chunk(self._choice(index, {"role": "assistant", "content": ""})) for index in range(chats))

    def text(self, index: int, reasoning: str, content: str) -> bytes:
        """Writes new text of one choice: one chunk for each kind."""
        data = self._text_chunk(index, reasoning, "reasoning", "reasoning_content") if reasoning else b""
        return data + self._text_chunk(index, content, "content") if content else data

    def event(self, index: int, chain: Sequence[int], event: AnyEvent | TextDelta | dict[str, Any]) -> bytes:
        """Writes an event, or new text of a call, in a chunk without choices."""
        if isinstance(event, TextDelta):
            text = {"role": event.role, "text": event.text, "draft": event.draft, "phase": event.phase, "committed": event.committed}
            return self._chunk(speculative={"index": index, "chain": chain, "delta": text})
        return self._chunk(speculative={"index": index, "chain": chain, "event": event})

    def chain_end(self, index: int, outcome: ChainOutcome) -> bytes:
        """Writes the chunk with the finish reason."""
        choice = self._choice(index, {})
        choice.finish_reason = outcome.finish_reason
        return self._chunk(choice, speculative=ChainReport(**self.request.about, **outcome.report))

    def end(self, outcomes: Sequence[ChainOutcome]) -> bytes:
        """Writes the usage, if the client wants it, and the end."""
        if not self.request.include_usage:
            return DONE
        report = ChainReport(**self.request.about, **total(outcomes))
        return self._chunk(usage=count_tokens(outcomes, self.request.n), speculative=report) + DONE

    def error(self, error: ApiError) -> bytes:
        """Writes an error in the middle of a stream. No `[DONE]` follows."""
        return b"data: %b\n\n" % encode(error.body)

    def whole(self, outcomes: Sequence[ChainOutcome], seconds: float) -> bytes:
        """Writes a whole reply; `seconds` of the whole request."""
        usage, report = count_tokens(outcomes, self.request.n), summarize(self.request, outcomes, seconds=seconds)
        ends: list[dict[str, Any]] = [
            {"index": index, "finish_reason": outcome.finish_reason, "speculative": ChainReport(**outcome.report)}
            for index, outcome in enumerate(outcomes)
        ]
        if self.request.raw:
            texts = [TextChoice(text=outcome.content, **end) for outcome, end in zip(outcomes, ends, strict=True)]
            return encode(TextCompletion(**self._head, choices=texts, usage=usage, speculative=report))
        messages = (AssistantMessage(outcome.content, outcome.reasoning, outcome.reasoning) for outcome in outcomes)
        choices = [ChatChoice(message=message, **end) for message, end in zip(messages, ends, strict=True)]
        return encode(ChatCompletion(**self._head, choices=choices, usage=usage, speculative=report))

    def _text_chunk(self, index: int, text: str, *fields: str) -> bytes:
        """Writes a chunk with a text in some fields. All but the text is encoded once."""
        parts = self._templates.get((index, fields[0]))
        if parts is None:
            mark = f"the text of {self._head['id']}"  # which no other field has
            parts = self._chunk(self._choice(index, dict.fromkeys(fields, mark))).split(encode(mark))
            self._templates[index, fields[0]] = parts
        return encode(text).join(parts)

    def _choice(self, index: int, delta: dict[str, str]) -> DeltaChoice:
        return DeltaChoice(index=index, text=delta.get("content", "")) if self.request.raw else DeltaChoice(index=index, delta=delta)

    def _chunk(self, *choices: DeltaChoice, **more: Any) -> bytes:
        return b"data: %b\n\n" % encode(Chunk(**self._chunk_head | more, choices=list(choices)))
