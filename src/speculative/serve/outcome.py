"""What a chain came to, as a reply tells it; computed from the trace and from nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from msgspec import Struct, to_builtins

from speculative.answers import boxed
from speculative.serve.cut import Cut
from speculative.serve.feed import Close
from speculative.trace.events import Call, Ended, Stopped
from speculative.trace.state import Ledger
from speculative.trace.trace import Trace
from speculative.trace.usage import Usage

SHORT = {"length": "length", "context": "length", "time": "length"}
"""Our finish reasons in the two words of the OpenAI API; a loop was answered in full."""


class Outcome(Struct, frozen=True):
    """One chain. Tokens and seconds; `busy` is the part of them in which an engine worked for it."""

    reasoning: str
    content: str
    finish: str
    seed: int
    seconds: float
    busy: float
    usage: dict[str, Usage]
    kept: int
    reasoning_tokens: int
    prompt_tokens: int
    cached_tokens: int
    degraded: str | None
    trace: Trace

    @classmethod
    def of(cls, trace: Trace, *, close: Close | None = None, finish: str = "") -> Outcome:
        """`close`: a raw completion, all of whose text is content. `finish`: what a chain that was stopped by us came to."""
        ledger, started, last = trace.ledger, trace.started, trace.events[-1]
        stops, thinking, answer = started.problem.stop, ledger.text("thinking"), ledger.text("answer")
        if close is None:
            content = Cut.all(answer, stops, strip=True)
        else:
            end = next((piece.text for piece in reversed(ledger.pieces) if piece.phase == "thinking" and piece.text), "")
            content, thinking = Cut.all(thinking + (close(end) + answer if answer else ""), stops, strip=False), ""
        calls = list(_calls(trace))
        first = calls[0][1] if calls else None
        return cls(
            reasoning=thinking,
            content=content,
            finish=finish or (last.finish_reason if isinstance(last, Ended) else _stopped(trace)),
            seed=started.problem.seed,
            seconds=last.seconds if isinstance(last, Ended) else last.at,
            busy=_union(calls),
            usage=ledger.usage(),
            kept=ledger.kept,
            reasoning_tokens=_thought(ledger),
            prompt_tokens=first.prompt_tokens // max(1, first.requests) if first else 0,
            cached_tokens=first.cached_tokens // max(1, first.requests) if first else 0,
            degraded=trace.degraded,
            trace=trace,
        )

    @property
    def finish_reason(self) -> str:
        return SHORT.get(self.finish, "stop")

    @property
    def ours(self) -> dict[str, Any]:
        """What stands under `speculative` beside the choice."""
        return {
            "finish_reason": self.finish,
            "seed": self.seed,
            "seconds": self.seconds,
            "boxed": boxed(self.content),
            "degraded": self.degraded,
            "usage": to_builtins(self.usage),
        }


def usage(outcomes: Sequence[Outcome], chains_for_prompt: int) -> dict[str, Any]:
    """In the words of the OpenAI API: the prompt counts once for the choices of one prompt, the completion as it was kept."""
    prompts = outcomes[::chains_for_prompt]
    prompt, completion = sum(o.prompt_tokens for o in prompts), sum(o.kept for o in outcomes)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": sum(o.cached_tokens for o in prompts)},
        "completion_tokens_details": {"reasoning_tokens": sum(o.reasoning_tokens for o in outcomes)},
    }


def summed(outcomes: Iterable[Outcome]) -> dict[str, Usage]:
    """Usage by role, over all chains."""
    totals: dict[str, Usage] = {}
    for outcome in outcomes:
        for role, cost in outcome.usage.items():
            total = totals.setdefault(role, Usage())
            for field in Usage.__struct_fields__:
                setattr(total, field, getattr(total, field) + getattr(cost, field))
    return totals


def _thought(ledger: Ledger) -> int:
    return sum(piece.kept for piece in ledger.pieces if piece.phase == "thinking")


def _stopped(trace: Trace) -> str:
    """Why a chain without an end stopped."""
    return next((event.finish for event in reversed(trace.events) if isinstance(event, Stopped)), "stop")


def _calls(trace: Trace) -> Iterator[tuple[float, Call]]:
    """Every call that was made, with the time of its return."""
    for event in trace.walk():
        call: Call | None = getattr(event, "call", None)
        if call and call.requests:
            yield event.at, call


def _union(calls: Sequence[tuple[float, Call]]) -> float:
    """Seconds in which at least one call was under way."""
    total, until = 0.0, 0.0
    for begin, end in sorted((at - call.seconds, at) for at, call in calls):
        total += max(0.0, end - max(begin, until))
        until = max(until, end)
    return total
