"""Writes replies of `POST /v1/responses`: items of type `reasoning` and `message`."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from typing import Any, Literal

from msgspec import structs

from speculative.serve.advisor_tool import is_advised
from speculative.serve.completion_writer import encode, summarize
from speculative.serve.errors import ApiError
from speculative.serve.outcome import ChainOutcome, count_tokens
from speculative.serve.replies import OutputItem, OutputPart, ResponsesEvent, ResponsesReply, ResponsesUsage
from speculative.serve.request import ChainRequest
from speculative.serve.schemas import ResponsesRequest
from speculative.trace.events import AnyEvent, TextDelta

Kind = Literal["reasoning", "message"]
PART_TYPES: dict[Kind, Literal["reasoning_text", "output_text"]] = {"reasoning": "reasoning_text", "message": "output_text"}
ID_PREFIXES: dict[Kind, str] = {"reasoning": "rs", "message": "msg"}


class ResponsesWriter:
    """Writes the reply to one request, or its events one after the other."""

    def __init__(self, request: ChainRequest, body: ResponsesRequest) -> None:
        self.request = request
        self._key = secrets.token_hex(12)
        sampling = request.problems[0].sampling
        self._reply = ResponsesReply(
            id=f"resp_{self._key}",
            created_at=int(time.time()),
            model=request.model,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            instructions=body.instructions,
            max_output_tokens=body.max_output_tokens,
            reasoning={"effort": body.reasoning.effort if body.reasoning else None, "summary": None},
            user=request.user,
            metadata=body.others.get("metadata") or {},
            tools=body.tools if is_advised(body) else [],
        )
        self._number = 0
        self._item: Kind | None = None
        self._place = -1
        self._text: list[str] = []

    def begin(self) -> bytes:
        """Writes the two events that begin a stream."""
        return self._write("response.created", response=self._reply) + self._write("response.in_progress", response=self._reply)

    def text(self, index: int, reasoning: str, content: str) -> bytes:
        """Writes new text; an item begins with its first text."""
        data = self._delta("reasoning", reasoning) if reasoning else b""
        return data + self._delta("message", content) if content else data

    def event(self, index: int, chain: Sequence[int], event: AnyEvent | TextDelta | dict[str, Any]) -> bytes:
        """Writes nothing: the last event of the stream holds the events of the chain."""
        return b""

    def chain_end(self, index: int, outcome: ChainOutcome) -> bytes:
        """Writes the end of the open item."""
        return self._close_item(_status(outcome))

    def end(self, outcomes: Sequence[ChainOutcome]) -> bytes:
        """Writes the whole reply as the last event."""
        return self._write(f"response.{_status(outcomes[0])}", response=self._whole(outcomes))

    def error(self, error: ApiError) -> bytes:
        """Writes the failure as the last event."""
        detail = {"code": error.code or error.kind, "message": error.message}
        return self._write("response.failed", response=structs.replace(self._reply, status="failed", error=detail))

    def whole(self, outcomes: Sequence[ChainOutcome], seconds: float) -> bytes:
        """Writes a whole reply; `seconds` of the whole request."""
        return encode(self._whole(outcomes, seconds=seconds))

    def _whole(self, outcomes: Sequence[ChainOutcome], **more: float) -> ResponsesReply:
        (outcome,) = outcomes
        status = _status(outcome)
        texts: list[tuple[Kind, str]] = [("reasoning", outcome.reasoning), ("message", outcome.content)]
        output = [self._output_item(kind, text, "completed") for kind, text in texts if text]
        for item in output[-1:]:
            item.status = status
        report = {name: value for name, value in outcome.report.items() if name not in ("usage", "seconds", "advice", "choices")}
        return structs.replace(
            self._reply,
            status=status,
            incomplete_details={"reason": "max_output_tokens"} if status == "incomplete" else None,
            output=output,
            usage=_usage(outcome),
            speculative=summarize(self.request, outcomes, **report, **more),
        )

    # ---- items ------------------------------------------------------------------------------------------------------

    def _delta(self, kind: Kind, text: str) -> bytes:
        data = b"" if self._item == kind else self._open_item(kind)
        self._text.append(text)
        return data + self._write(f"response.{PART_TYPES[kind]}.delta", kind, delta=text)

    def _open_item(self, kind: Kind) -> bytes:
        data = self._close_item("completed")
        self._item, self._place, self._text = kind, self._place + 1, []
        item = self._output_item(kind, "", "in_progress")
        item.content = []
        data += self._write("response.output_item.added", output_index=self._place, item=item)
        return data + self._write("response.content_part.added", kind, part=_part(kind, ""))

    def _close_item(self, status: Literal["completed", "incomplete"]) -> bytes:
        if self._item is None:
            return b""
        kind, text = self._item, "".join(self._text)
        self._item = None
        data = self._write(f"response.{PART_TYPES[kind]}.done", kind, text=text)
        data += self._write("response.content_part.done", kind, part=_part(kind, text))
        return data + self._write("response.output_item.done", output_index=self._place, item=self._output_item(kind, text, status))

    def _output_item(self, kind: Kind, text: str, status: Literal["in_progress", "completed", "incomplete"]) -> OutputItem:
        item = OutputItem(id=f"{ID_PREFIXES[kind]}_{self._key}", type=kind, status=status, content=[_part(kind, text)])
        if kind == "message":
            item.role = "assistant"
        else:
            item.summary = []
        return item

    def _write(self, event: str, part_of: Kind | None = None, **fields: Any) -> bytes:
        """Writes an event; `part_of` adds the place of the text part that it is about."""
        if part_of:
            fields |= {"item_id": f"{ID_PREFIXES[part_of]}_{self._key}", "output_index": self._place, "content_index": 0}
            if part_of == "message" and "part" not in fields:
                fields["logprobs"] = []
        data = encode(ResponsesEvent(type=event, sequence_number=self._number, **fields))
        self._number += 1
        return b"event: %b\ndata: %b\n\n" % (event.encode(), data)


def _part(kind: Kind, text: str) -> OutputPart:
    part = OutputPart(PART_TYPES[kind], text)
    if kind == "message":
        part.annotations, part.logprobs = [], []
    return part


def _status(outcome: ChainOutcome) -> Literal["completed", "incomplete"]:
    return "incomplete" if outcome.finish_reason == "length" else "completed"


def _usage(outcome: ChainOutcome) -> ResponsesUsage:
    """Converts token counts to the words of the Responses API."""
    counts = count_tokens([outcome], 1)
    details = counts.prompt_tokens_details, counts.completion_tokens_details
    return ResponsesUsage(counts.prompt_tokens, counts.completion_tokens, counts.total_tokens, *details)
