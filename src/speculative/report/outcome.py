"""What a trace comes to, as one object of plain values: what `--json` prints (docs/trace.md)."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, json

from speculative.problem import FinishReason, Usage, boxed
from speculative.trace.events import AnyEvent
from speculative.trace.trace import VERSION, Trace


class SavedTrace(Struct, frozen=True):
    """A trace inside another object; `speculative_trace` is its version."""

    speculative_trace: int
    events: list[AnyEvent]


class Outcome(Struct, frozen=True):
    """One chain and what it cost. `finish_reason` is null when the chain was interrupted; `seconds` is wall time.

    `degraded`: the role whose server was lost, when the other role's model finished the chain.
    """

    answer: str
    boxed: str | None
    reasoning: str
    finish_reason: FinishReason | None
    method: str
    params: dict[str, Any]
    seed: int
    seconds: float
    trace: SavedTrace
    usage: dict[str, Usage]
    degraded: str | None = None

    @classmethod
    def of(cls, trace: Trace) -> Outcome:
        ledger, started, ended = trace.ledger, trace.started, trace.ended
        answer = ledger.text("answer").strip()
        return cls(
            answer=answer,
            boxed=boxed(answer),
            reasoning=ledger.text("thinking"),
            finish_reason=ended.finish_reason if ended else None,
            method=started.method,
            params=started.params,
            seed=started.problem.seed,
            seconds=seconds_of(trace),
            trace=SavedTrace(VERSION, trace.events),
            usage=ledger.usage(),
            degraded=trace.degraded,
        )

    def dump(self) -> str:
        """One line of JSON."""
        return json.encode(self).decode()


def seconds_of(trace: Trace) -> float:
    """Wall time of the chain; of one that was interrupted, until the last that is known of it."""
    return trace.ended.seconds if trace.ended else max(event.at for event in trace.walk())
