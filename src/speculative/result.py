"""What a chain came to: its text, the answer found in it, and what it cost."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, json, to_builtins

from speculative.answers import boxed
from speculative.problem import FinishReason
from speculative.trace.events import AnyEvent
from speculative.trace.trace import VERSION, Trace
from speculative.trace.usage import Usage


class SavedTrace(Struct, frozen=True):
    """A trace inside another object. `speculative_trace` is the version of its format."""

    speculative_trace: int
    events: list[AnyEvent]


class SavedResult(Struct, frozen=True):
    """A result as plain values: what `--json` prints.

    `finish_reason` is null for a chain that was interrupted; `seconds` is wall time.
    """

    text: str
    answer: str | None
    reasoning: str
    finish_reason: FinishReason | None
    method: str
    params: dict[str, Any]
    seed: int
    seconds: float
    trace: SavedTrace
    usage: dict[str, Usage]
    degraded: str | None = None


class Result(Struct, frozen=True):
    """What a chain came to.

    `text` is what a user reads: the text after the thinking. `reasoning` is the thinking. `answer` is the short final answer in
    the text: the content of its last `\\boxed{…}`, or None if there is none.
    `finish_reason` is None for a chain that was interrupted. `usage` has an entry for both roles of the pair, also for one that did
    nothing. `seconds` is wall time. `degraded`: the role whose server died, if the other one finished the chain
    (`Problem.degrade`).
    """

    text: str
    reasoning: str
    answer: str | None
    finish_reason: FinishReason | None
    method: str
    params: dict[str, Any]
    seed: int
    seconds: float
    usage: dict[str, Usage]
    trace: Trace
    degraded: str | None = None

    @classmethod
    def from_trace(cls, trace: Trace) -> Result:
        """Reads the result off a trace, also off one that was interrupted. Raises `TraceFormatError` if it has no beginning."""
        ledger, started, ended = trace.ledger, trace.started, trace.ended
        text = ledger.text("answer").strip()
        return cls(
            text=text,
            reasoning=ledger.text("thinking"),
            answer=boxed(text),
            finish_reason=ended.finish_reason if ended else None,
            method=started.method,
            params=started.params,
            seed=started.problem.seed,
            seconds=trace.seconds,
            usage=ledger.usage(),
            trace=trace,
            degraded=trace.degraded,
        )

    def saved(self) -> SavedResult:
        """Returns the same as plain values."""
        own = {name: getattr(self, name) for name in Result.__struct_fields__ if name != "trace"}
        return SavedResult(trace=SavedTrace(VERSION, self.trace.events), **own)

    def to_dict(self) -> dict[str, Any]:
        """Returns the same as a dict of plain values."""
        return to_builtins(self.saved())

    def to_json(self) -> str:
        """Returns the same as one line of JSON."""
        return json.encode(self.saved()).decode()
