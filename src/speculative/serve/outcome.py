"""The outcome of a chain, computed from its trace alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

from msgspec import Struct

from speculative.answers import extract_boxed
from speculative.result import Result
from speculative.serve.raw_text import RawText
from speculative.serve.replies import Advice, Chosen, TokenCounts
from speculative.serve.stops import StopFilter
from speculative.trace.events import Asked, Call, Chose, Stopped
from speculative.trace.trace import Trace
from speculative.trace.usage import Usage

ADVISOR = "advisor"
LENGTH = frozenset(("length", "context", "time"))
"""Finish reasons that the OpenAI API calls `length`; a loop was answered in full."""


class ChainOutcome(Struct, frozen=True):
    """One chain in tokens and seconds. `busy_s`: seconds with an engine at work."""

    reasoning: str
    content: str
    finish: str
    busy_s: float
    kept: int
    reasoning_tokens: int
    prompt_tokens: int
    cached_tokens: int
    usage: dict[str, Usage]
    degraded: str | None
    trace: Trace

    @classmethod
    def from_trace(cls, trace: Trace, *, raw: RawText | None = None, finish: str = "") -> ChainOutcome:
        """Computes the outcome.

        Args:
            raw: for a raw completion, whose thinking and answer are one text.
            finish: the reason where the service ended the chain.
        """
        ledger, stops, result = trace.ledger, trace.started.problem.stop, Result.from_trace(trace)
        thinking, answer = result.reasoning, ledger.text("answer")
        if raw is None:
            content = StopFilter.cut(answer, stops, strip=True)
        else:
            content, thinking = StopFilter.cut(raw.join(ledger.pieces), stops, strip=False), ""
        thought = raw is None or raw.ends is None or bool(answer)  # else the raw text has no thinking
        calls = list(_calls(trace))
        first = calls[0][1] if calls else None
        return cls(
            reasoning=thinking,
            content=content,
            finish=finish or result.finish_reason or _stop_reason(trace),
            busy_s=_union_s(calls),
            kept=ledger.kept,
            reasoning_tokens=sum(piece.kept for piece in ledger.pieces if piece.phase == "thinking") if thought else 0,
            prompt_tokens=first.prompt_tokens // max(1, first.requests) if first else 0,
            cached_tokens=first.cached_tokens // max(1, first.requests) if first else 0,
            usage=result.usage,
            degraded=result.degraded,
            trace=trace,
        )

    @property
    def finish_reason(self) -> Literal["length", "stop"]:
        """The finish reason in the two words of the OpenAI API."""
        return "length" if self.finish in LENGTH else "stop"

    @property
    def report(self) -> dict[str, Any]:
        """The fields of the chain's `ChainReport`."""
        return {
            "finish_reason": self.finish,
            "seed": self.trace.started.problem.seed,
            "seconds": self.trace.seconds,
            "boxed": extract_boxed(self.content),
            "degraded": self.degraded,
            "usage": self.usage,
        } | self.more

    @property
    def more(self) -> dict[str, Any]:
        """The fields of a report that some methods have."""
        found: dict[str, Any] = {"advice": self.advice} if self.trace.started.method.endswith(ADVISOR) else {}
        chosen = [Chosen(event.way, event.reason, event.at) for event in self.trace.walk() if isinstance(event, Chose)]
        return found | ({"choices": chosen} if chosen else {})

    @property
    def advice(self) -> list[Advice]:
        """The advice for which the method `advisor` asked, call by call."""
        asked = (event for event in self.trace.walk() if isinstance(event, Asked) and event.question == "hint")
        return [Advice("".join(event.replies), event.call.prompt_tokens, event.call.produced_tokens, event.call.seconds) for event in asked]


def count_tokens(outcomes: Sequence[ChainOutcome], chains_for_prompt: int) -> TokenCounts:
    """Counts tokens as the OpenAI API does: a completion as it was kept."""
    prompts = outcomes[::chains_for_prompt]
    prompt, completion = sum(o.prompt_tokens for o in prompts), sum(o.kept for o in outcomes)
    cached, reasoning = sum(o.cached_tokens for o in prompts), sum(o.reasoning_tokens for o in outcomes)
    return TokenCounts(prompt, completion, prompt + completion, {"cached_tokens": cached}, {"reasoning_tokens": reasoning})


def _stop_reason(trace: Trace) -> str:
    """Finds why a chain without an end stopped."""
    return next((event.finish for event in reversed(trace.events) if isinstance(event, Stopped)), "stop")


def _calls(trace: Trace) -> Iterator[tuple[float, Call]]:
    """Yields every call to an engine with the time of its return."""
    for event in trace.walk():
        call: Call | None = getattr(event, "call", None)
        if call and call.requests:
            yield event.at, call


def _union_s(calls: Sequence[tuple[float, Call]]) -> float:
    """Computes the seconds in which at least one call was under way."""
    total, until = 0.0, 0.0
    for begin, end in sorted((at - call.seconds, at) for at, call in calls):
        total += max(0.0, end - max(begin, until))
        until = max(until, end)
    return total
