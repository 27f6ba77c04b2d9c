"""The outcome of a chain, computed from its trace alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from msgspec import Struct, to_builtins

from speculative.answers import extract_boxed
from speculative.serve.stops import StopFilter
from speculative.trace.events import Call, Ended, Stopped
from speculative.trace.trace import Trace
from speculative.trace.usage import Usage

LENGTH = frozenset(("length", "context", "time"))
"""Finish reasons that the OpenAI API calls `length`; a loop was answered in full."""

CloseThinking = Callable[[str], str]
"""Gives the text that closes a thinking which ends in a given text."""


class ChainOutcome(Struct, frozen=True):
    """One chain in tokens and seconds. `busy_s`: the part of the seconds in which an engine worked for it."""

    reasoning: str
    content: str
    finish: str
    seed: int
    seconds: float
    busy_s: float
    usage: dict[str, Usage]
    kept: int
    reasoning_tokens: int
    prompt_tokens: int
    cached_tokens: int
    degraded: str | None
    trace: Trace

    @classmethod
    def from_trace(cls, trace: Trace, *, close: CloseThinking | None = None, finish: str = "") -> ChainOutcome:
        """Computes the outcome.

        Args:
            close: for a raw completion, whose thinking and answer are one text.
            finish: the reason where the service ended the chain.
        """
        ledger, started, last = trace.ledger, trace.started, trace.events[-1]
        stops, thinking, answer = started.problem.stop, ledger.text("thinking"), ledger.text("answer")
        if close is None:
            content = StopFilter.cut(answer, stops, strip=True)
        else:
            end = next((piece.text for piece in reversed(ledger.pieces) if piece.phase == "thinking" and piece.text), "")
            content, thinking = StopFilter.cut(thinking + (close(end) + answer if answer else ""), stops, strip=False), ""
        calls = list(_calls(trace))
        first = calls[0][1] if calls else None
        return cls(
            reasoning=thinking,
            content=content,
            finish=finish or (last.finish_reason if isinstance(last, Ended) else _stop_reason(trace)),
            seed=started.problem.seed,
            seconds=last.seconds if isinstance(last, Ended) else last.at,
            busy_s=_union_s(calls),
            usage=ledger.usage(),
            kept=ledger.kept,
            reasoning_tokens=sum(piece.kept for piece in ledger.pieces if piece.phase == "thinking"),
            prompt_tokens=first.prompt_tokens // max(1, first.requests) if first else 0,
            cached_tokens=first.cached_tokens // max(1, first.requests) if first else 0,
            degraded=trace.degraded,
            trace=trace,
        )

    @property
    def finish_reason(self) -> str:
        """The finish reason in the two words of the OpenAI API."""
        return "length" if self.finish in LENGTH else "stop"

    @property
    def extension(self) -> dict[str, Any]:
        """The fields under `speculative` beside a choice."""
        return {
            "finish_reason": self.finish,
            "seed": self.seed,
            "seconds": self.seconds,
            "boxed": extract_boxed(self.content),
            "degraded": self.degraded,
            "usage": to_builtins(self.usage),
        }


def openai_usage(outcomes: Sequence[ChainOutcome], chains_for_prompt: int) -> dict[str, Any]:
    """Sums usage as the OpenAI API has it: a prompt counts once for all its choices, a completion as it was kept."""
    prompts = outcomes[::chains_for_prompt]
    prompt, completion = sum(o.prompt_tokens for o in prompts), sum(o.kept for o in outcomes)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": sum(o.cached_tokens for o in prompts)},
        "completion_tokens_details": {"reasoning_tokens": sum(o.reasoning_tokens for o in outcomes)},
    }


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
