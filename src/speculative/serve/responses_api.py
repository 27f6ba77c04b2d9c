"""The bytes of replies of `POST /v1/responses`: the thinking is an item of type `reasoning`, the answer one of type `message`."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from typing import Any, Literal

from speculative.serve.errors import ApiError
from speculative.serve.outcome import ChainOutcome, openai_usage
from speculative.serve.request import ChainRequest
from speculative.serve.responses import encode, event_lists, summarize
from speculative.serve.schemas import ResponsesRequest

Kind = Literal["reasoning", "message"]
PART_TYPES: dict[Kind, str] = {"reasoning": "reasoning_text", "message": "output_text"}
ID_PREFIXES: dict[Kind, str] = {"reasoning": "rs", "message": "msg"}


class ResponsesWriter:
    """Writes the reply to one request, or its events one after the other."""

    def __init__(self, request: ChainRequest, asked: ResponsesRequest) -> None:
        self._request = request
        key = secrets.token_hex(12)
        self._ids: dict[Kind, str] = {kind: f"{prefix}_{key}" for kind, prefix in ID_PREFIXES.items()}
        problem = request.problems[0]
        self._common: dict[str, Any] = {
            "id": f"resp_{key}",
            "object": "response",
            "created_at": int(time.time()),
            "model": request.model,
            "instructions": asked.instructions,
            "max_output_tokens": asked.max_output_tokens,
            "temperature": problem.sampling.temperature,
            "top_p": problem.sampling.top_p,
            "reasoning": {"effort": asked.reasoning.effort if asked.reasoning else None, "summary": None},
            "text": {"format": {"type": "text"}},
            "tools": [],
            "tool_choice": "auto",
            "parallel_tool_calls": True,
            "previous_response_id": None,
            "store": False,
            "truncation": "disabled",
            "user": request.user,
            "metadata": asked.others.get("metadata") or {},
            "error": None,
            "incomplete_details": None,
        }
        self._number = 0
        self._item: Kind | None = None
        self._place = -1
        self._text: list[str] = []

    def begin(self) -> bytes:
        """Writes the two events that begin a stream."""
        response: dict[str, Any] = {**self._common, "status": "in_progress", "output": [], "usage": None}
        return self._write("response.created", response=response) + self._write("response.in_progress", response=response)

    def text(self, index: int, reasoning: str, content: str) -> bytes:
        """Writes new text; an item begins with its first text."""
        data = self._delta("reasoning", reasoning) if reasoning else b""
        return data + self._delta("message", content) if content else data

    def event(self, index: int, event: bytes) -> bytes:
        """Writes nothing: the API has no place for an event. The last event of the stream holds all of them."""
        return b""

    def chain_end(self, index: int, outcome: ChainOutcome) -> bytes:
        """Writes the end of the open item."""
        return self._close_item(_status(outcome))

    def end(self, outcomes: Sequence[ChainOutcome]) -> bytes:
        """Writes the whole reply as the last event."""
        (outcome,) = outcomes
        status = _status(outcome)
        return self._write(f"response.{status}", response=self._response(outcome, summarize(self._request, outcomes)))

    def stream_error(self, error: ApiError) -> bytes:
        """Writes the failure as the last event."""
        detail = {"code": error.code or error.kind, "message": error.message}
        response: dict[str, Any] = {**self._common, "status": "failed", "output": [], "usage": None, "error": detail}
        return self._write("response.failed", response=response)

    def whole(self, outcomes: Sequence[ChainOutcome], seconds: float) -> bytes:
        """Writes a whole reply."""
        (outcome,) = outcomes
        return encode(self._response(outcome, {**summarize(self._request, outcomes), "seconds": round(seconds, 6)}))

    # ---- items ------------------------------------------------------------------------------------------------------

    def _delta(self, kind: Kind, text: str) -> bytes:
        data = b"" if self._item == kind else self._open_item(kind)
        self._text.append(text)
        more: dict[str, Any] = {"logprobs": []} if kind == "message" else {}
        return data + self._write(f"response.{PART_TYPES[kind]}.delta", **self._part_place(), delta=text, **more)

    def _open_item(self, kind: Kind) -> bytes:
        data = self._close_item("completed")
        self._item, self._place, self._text = kind, self._place + 1, []
        item: dict[str, Any] = {**self._output_item(kind, "", "in_progress"), "content": []}
        data += self._write("response.output_item.added", output_index=self._place, item=item)
        return data + self._write("response.content_part.added", **self._part_place(), part=_part(kind, ""))

    def _close_item(self, status: str) -> bytes:
        if self._item is None:
            return b""
        kind, text = self._item, "".join(self._text)
        more: dict[str, Any] = {"logprobs": []} if kind == "message" else {}
        data = self._write(f"response.{PART_TYPES[kind]}.done", **self._part_place(), text=text, **more)
        data += self._write("response.content_part.done", **self._part_place(), part=_part(kind, text))
        item = self._output_item(kind, text, status)
        data += self._write("response.output_item.done", output_index=self._place, item=item)
        self._item = None
        return data

    def _part_place(self) -> dict[str, Any]:
        assert self._item
        return {"item_id": self._ids[self._item], "output_index": self._place, "content_index": 0}

    def _output_item(self, kind: Kind, text: str, status: str) -> dict[str, Any]:
        extra: dict[str, Any] = {"role": "assistant"} if kind == "message" else {"summary": []}
        return {"id": self._ids[kind], "type": kind, "status": status, **extra, "content": [_part(kind, text)]}

    def _response(self, outcome: ChainOutcome, report: dict[str, Any]) -> dict[str, Any]:
        status = _status(outcome)
        texts: list[tuple[Kind, str]] = [("reasoning", outcome.reasoning), ("message", outcome.content)]
        items: list[tuple[Kind, str]] = [(kind, text) for kind, text in texts if text]
        output = [
            self._output_item(kind, text, status if place == len(items) - 1 else "completed") for place, (kind, text) in enumerate(items)
        ]
        report |= {name: value for name, value in outcome.extension.items() if name not in ("usage", "seconds")}
        if self._request.events:
            report["events"] = event_lists([outcome])
        incomplete = {"reason": "max_output_tokens"} if status == "incomplete" else None
        return {
            **self._common,
            "status": status,
            "incomplete_details": incomplete,
            "output": output,
            "usage": _usage(outcome),
            "speculative": report,
        }

    def _write(self, kind: str, **fields: Any) -> bytes:
        data = encode({"type": kind, "sequence_number": self._number, **fields})
        self._number += 1
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), data)


def _part(kind: Kind, text: str) -> dict[str, Any]:
    extra: dict[str, Any] = {"annotations": [], "logprobs": []} if kind == "message" else {}
    return {"type": PART_TYPES[kind], "text": text, **extra}


def _status(outcome: ChainOutcome) -> str:
    return "incomplete" if outcome.finish_reason == "length" else "completed"


def _usage(outcome: ChainOutcome) -> dict[str, Any]:
    """Converts usage to the words of the Responses API."""
    usage = openai_usage([outcome], 1)
    return {
        "input_tokens": usage["prompt_tokens"],
        "input_tokens_details": usage["prompt_tokens_details"],
        "output_tokens": usage["completion_tokens"],
        "output_tokens_details": usage["completion_tokens_details"],
        "total_tokens": usage["total_tokens"],
    }
