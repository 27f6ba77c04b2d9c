"""The bytes of replies, in the words of the OpenAI API. Chunks are written from templates that are made once for a stream."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from speculative.serve import shown
from speculative.serve.errors import Refusal
from speculative.serve.outcome import Outcome, summed, usage
from speculative.serve.request import Job

encode = msgspec.json.encode

DONE = b"data: [DONE]\n\n"
COMMENT = b": the chain is being written\n\n"


class Body:
    """The replies to one job."""

    def __init__(self, job: Job) -> None:
        kind = "cmpl" if job.raw else "chatcmpl"
        self._job = job
        self._common = {"id": f"{kind}-{secrets.token_hex(12)}", "created": int(time.time()), "model": job.model}
        chunk = {**self._common, "object": "text_completion" if job.raw else "chat.completion.chunk"}
        self._open = b"data: " + encode(chunk)[:-1]
        null = b',"usage":null' if job.include_usage else b""
        self._end = b',"logprobs":null,"finish_reason":null}]' + null + b"}\n\n"
        self._final = null + b"}\n\n"
        self._choice = [
            self._open + b',"choices":[{"index":%d,' % index + (b'"text":' if job.raw else b'"delta":')
            for index in range(len(job.problems))
        ]
        self._thought, self._thought_end = [choice + b'{"reasoning":' for choice in self._choice], b"}" + self._end

    # ---- streamed ---------------------------------------------------------------------------------------------------

    def first(self, index: int) -> bytes:
        """The chunk that says whose turn it is."""
        return b"" if self._job.raw else self._choice[index] + b'{"role":"assistant","content":""}' + self._end

    def text(self, index: int, reasoning: str, content: str) -> bytes:
        """What is new of one choice, joined: one chunk for each kind."""
        made = b""
        if reasoning:
            told = encode(reasoning)
            made = b"".join((self._thought[index], told, b',"reasoning_content":', told, self._thought_end))
        if content:
            told = encode(content)
            made += self._choice[index] + (told if self._job.raw else b'{"content":' + told + b"}") + self._end
        return made

    def event(self, index: int, event: bytes) -> bytes:
        """Something that happened, for those who watch."""
        return self._open + b',"choices":[],"speculative":{"index":%d,' % index + event[1:] + self._final

    def last(self, index: int, outcome: Outcome) -> bytes:
        """The end of one choice, and what it came to."""
        reason = b',"logprobs":null,"finish_reason":"%s"}],"speculative":' % outcome.finish_reason.encode()
        return (
            self._choice[index] + (b'""' if self._job.raw else b"{}") + reason + encode({**self._job.about, **outcome.ours}) + self._final
        )

    def end(self, outcomes: Sequence[Outcome]) -> bytes:
        """The usage, if asked for, and the end of the stream."""
        if not self._job.include_usage:
            return DONE
        told = b',"choices":[],"usage":' + encode(usage(outcomes, self._job.n)) + b',"speculative":' + encode(self._ours(outcomes))
        return self._open + told + b"}\n\n" + DONE

    @staticmethod
    def error(refusal: Refusal) -> bytes:
        """An error in the middle of a stream: what came before it is no whole reply."""
        return b"data: " + encode(refusal.body) + b"\n\n"

    # ---- whole ------------------------------------------------------------------------------------------------------

    def whole(self, outcomes: Sequence[Outcome], seconds: float) -> bytes:
        """The reply that is not streamed. `seconds` of the whole request."""
        ours = {**self._ours(outcomes), "seconds": round(seconds, 6)}
        if self._job.events:
            ours["events"] = [list(map(shown.event, outcome.trace.events)) for outcome in outcomes]
        return encode(
            {
                **self._common,
                "object": "text_completion" if self._job.raw else "chat.completion",
                "choices": [self._whole_choice(index, outcome) for index, outcome in enumerate(outcomes)],
                "usage": usage(outcomes, self._job.n),
                "speculative": ours,
            }
        )

    def _ours(self, outcomes: Sequence[Outcome]) -> dict[str, Any]:
        """What is ours of all choices together."""
        return {**self._job.about, "finish_reason": outcomes[0].ours["finish_reason"], "usage": summed(outcomes)}

    def _whole_choice(self, index: int, outcome: Outcome) -> dict[str, Any]:
        text: dict[str, Any] = {"text": outcome.content}
        if not self._job.raw:
            message = {
                "role": "assistant",
                "content": outcome.content,
                "reasoning": outcome.reasoning,
                "reasoning_content": outcome.reasoning,
                "refusal": None,
            }
            text = {"message": message}
        return {"index": index, **text, "logprobs": None, "finish_reason": outcome.finish_reason, "speculative": outcome.ours}
