"""Appends events to a chain's trace."""

from __future__ import annotations

import time
from collections.abc import Callable

from msgspec import structs

from speculative.chain.budget import Budget
from speculative.chain.progress import IdleBound
from speculative.engines.base import PREFILL_SEED
from speculative.errors import ChainStateError
from speculative.trace.events import AnyEvent, Call, Cancelled, Prefilled
from speculative.trace.trace import Trace


class EventRecorder:
    """Records events; only this class changes a trace.

    It does not know the chain, so a chain that is over is freed at once. `idle` counts the verbs in a row that had no room: a call to an
    engine sets it back.
    """

    def __init__(self, trace: Trace, budget: Budget, started_at: float, listener: Callable[[AnyEvent], None] | None) -> None:
        self.trace, self.started_at, self.idle = trace, started_at, 0
        self.progress = IdleBound()
        self._budget, self.listener = budget, listener

    @property
    def elapsed(self) -> float:
        """Seconds since the chain began."""
        return round(time.perf_counter() - self.started_at, 6)

    def record(self, event: AnyEvent) -> None:
        """Appends an event: timestamps it, applies it, notifies the listener."""
        if self.trace.ended:
            raise ChainStateError(f"{type(event).__name__}: the chain is over; await all work before the method returns")
        event = structs.replace(event, at=self.elapsed)
        call: Call | None = getattr(event, "call", None)
        if call and call.requests:
            self.idle = 0
        produced = self.trace.add(event)
        self.progress.reach(self.trace.ledger.kept)
        if not (isinstance(event, (Prefilled, Cancelled)) and event.seed == PREFILL_SEED):
            self._budget.add_produced(produced - (call.beyond_tokens if call else 0))
        if self.listener is not None:
            self.listener(event)
