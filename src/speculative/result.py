"""The result of a chain: its text, its answer and its cost."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, json, to_builtins

from speculative.answers import extract_boxed
from speculative.problem import FinishReason
from speculative.trace.events import AnyEvent
from speculative.trace.notebook import chain_html
from speculative.trace.trace import VERSION, Trace
from speculative.trace.usage import Usage


class SavedTrace(Struct, frozen=True):
    """A trace inside another object. `speculative_trace` is the version of its format."""

    speculative_trace: int
    events: list[AnyEvent]


class SavedResult(Struct, frozen=True):
    """A result as plain values, as `--json` prints it.

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
    """The result of a chain.

    Attributes:
        text: the text after the thinking, for the user.
        reasoning: the thinking.
        answer: the short final answer: the content of the last `\\boxed{…}` of the text, or None without one.
        finish_reason: the reason why the chain ended; None for an interrupted chain.
        method: the method's name.
        params: the method's parameters.
        seed: the seed of the chain.
        seconds: wall time.
        usage: tokens and calls by role, always of both roles of the pair.
        trace: all events of the chain.
        degraded: the role whose server was lost, if the other one finished the chain (`Problem.degrade`).
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
        """Computes the result of a trace, which may be of an interrupted chain.

        Raises `TraceFormatError` without a `started` event.
        """
        ledger, started, ended = trace.ledger, trace.started, trace.ended
        text = ledger.text("answer").strip()
        return cls(
            text=text,
            reasoning=ledger.text("thinking"),
            answer=extract_boxed(text),
            finish_reason=ended.finish_reason if ended else None,
            method=started.method,
            params=started.params,
            seed=started.problem.seed,
            seconds=trace.seconds,
            usage=ledger.usage(),
            trace=trace,
            degraded=trace.degraded,
        )

    def _repr_html_(self) -> str:
        """Shows the chain in a notebook, in the colours of the viewer."""
        answer = "no answer found" if self.answer is None else f"answer {self.answer}"
        return chain_html(self.trace.segments(), self.usage, f"{self.method}: {answer}, {self.seconds:.2f} s")

    def saved(self) -> SavedResult:
        """Returns the result as plain values."""
        own = {name: getattr(self, name) for name in Result.__struct_fields__ if name != "trace"}
        return SavedResult(trace=SavedTrace(VERSION, self.trace.events), **own)

    def to_dict(self) -> dict[str, Any]:
        """Returns the result as a dict of plain values."""
        return to_builtins(self.saved())

    def to_json(self) -> str:
        """Returns the result as one line of JSON."""
        return json.encode(self.saved()).decode()
