"""The bytes of replies of the completion endpoints. Chunks are written from templates that are made once for a stream."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from speculative.serve.errors import ApiError, redact_event
from speculative.serve.outcome import ChainOutcome, openai_usage
from speculative.serve.request import ChainRequest
from speculative.trace.usage import total_usage

encode = msgspec.json.encode

DONE = b"data: [DONE]\n\n"


class ReplyWriter(Protocol):
    """Writes the replies of one endpoint to one request."""

    def begin(self) -> bytes:
        """Writes the beginning of a stream."""
        ...

    def text(self, index: int, reasoning: str, content: str) -> bytes:
        """Writes new text of one chain."""
        ...

    def event(self, index: int, event: bytes) -> bytes:
        """Writes an event of one chain."""
        ...

    def chain_end(self, index: int, outcome: ChainOutcome) -> bytes:
        """Writes the end of one chain."""
        ...

    def end(self, outcomes: Sequence[ChainOutcome]) -> bytes:
        """Writes the end of a stream."""
        ...

    def stream_error(self, error: ApiError) -> bytes:
        """Writes an error in the middle of a stream."""
        ...

    def whole(self, outcomes: Sequence[ChainOutcome], seconds: float) -> bytes:
        """Writes a reply that is not streamed; `seconds` of the whole request."""
        ...


def summarize(request: ChainRequest, outcomes: Sequence[ChainOutcome]) -> dict[str, Any]:
    """Builds the fields under `speculative` for all chains of a reply."""
    return {**request.about, "finish_reason": outcomes[0].finish, "usage": total_usage(outcome.usage for outcome in outcomes)}


def event_lists(outcomes: Sequence[ChainOutcome]) -> list[list[Any]]:
    """Lists the events of all chains of a reply."""
    return [[redact_event(event) for event in outcome.trace.events] for outcome in outcomes]


class CompletionWriter:
    """Writes chat completions and raw text completions."""

    def __init__(self, request: ChainRequest) -> None:
        kind = "cmpl" if request.raw else "chatcmpl"
        self._request = request
        self._common = {"id": f"{kind}-{secrets.token_hex(12)}", "created": int(time.time()), "model": request.model}
        chunk = {**self._common, "object": "text_completion" if request.raw else "chat.completion.chunk"}
        self._open = b"data: " + encode(chunk)[:-1]
        null = b',"usage":null' if request.include_usage else b""
        self._end = b',"logprobs":null,"finish_reason":null}]' + null + b"}\n\n"
        self._final = null + b"}\n\n"
        self._choice = [
            self._open + b',"choices":[{"index":%d,' % index + (b'"text":' if request.raw else b'"delta":')
            for index in range(len(request.problems))
        ]
        self._reasoning, self._reasoning_end = [choice + b'{"reasoning":' for choice in self._choice], b"}" + self._end

    def begin(self) -> bytes:
        """Writes the chunks with the role."""
        return b"" if self._request.raw else b"".join(c + b'{"role":"assistant","content":""}' + self._end for c in self._choice)

    def text(self, index: int, reasoning: str, content: str) -> bytes:
        """Writes new text of one choice: one chunk for each kind."""
        data = b""
        if reasoning:
            text = encode(reasoning)
            data = b"".join((self._reasoning[index], text, b',"reasoning_content":', text, self._reasoning_end))
        if content:
            text = encode(content)
            data += self._choice[index] + (text if self._request.raw else b'{"content":' + text + b"}") + self._end
        return data

    def event(self, index: int, event: bytes) -> bytes:
        """Writes an event in a chunk without choices."""
        return self._open + b',"choices":[],"speculative":{"index":%d,' % index + event[1:] + self._final

    def chain_end(self, index: int, outcome: ChainOutcome) -> bytes:
        """Writes the chunk with the finish reason."""
        reason = b',"logprobs":null,"finish_reason":"%s"}],"speculative":' % outcome.finish_reason.encode()
        report = encode({**self._request.about, **outcome.extension})
        return self._choice[index] + (b'""' if self._request.raw else b"{}") + reason + report + self._final

    def end(self, outcomes: Sequence[ChainOutcome]) -> bytes:
        """Writes the usage, if asked for, and the end."""
        if not self._request.include_usage:
            return DONE
        usage = b',"choices":[],"usage":' + encode(openai_usage(outcomes, self._request.n))
        return self._open + usage + b',"speculative":' + encode(summarize(self._request, outcomes)) + b"}\n\n" + DONE

    def stream_error(self, error: ApiError) -> bytes:
        """Writes an error. No `[DONE]` follows, so the reply is not whole."""
        return b"data: " + encode(error.body) + b"\n\n"

    def whole(self, outcomes: Sequence[ChainOutcome], seconds: float) -> bytes:
        """Writes a whole reply."""
        report = {**summarize(self._request, outcomes), "seconds": round(seconds, 6)}
        if self._request.events:
            report["events"] = event_lists(outcomes)
        return encode(
            {
                **self._common,
                "object": "text_completion" if self._request.raw else "chat.completion",
                "choices": [self._whole_choice(index, outcome) for index, outcome in enumerate(outcomes)],
                "usage": openai_usage(outcomes, self._request.n),
                "speculative": report,
            }
        )

    def _whole_choice(self, index: int, outcome: ChainOutcome) -> dict[str, Any]:
        text: dict[str, Any] = {"text": outcome.content}
        if not self._request.raw:
            message = {
                "role": "assistant",
                "content": outcome.content,
                "reasoning": outcome.reasoning,
                "reasoning_content": outcome.reasoning,
                "refusal": None,
            }
            text = {"message": message}
        return {"index": index, **text, "logprobs": None, "finish_reason": outcome.finish_reason, "speculative": outcome.extension}
