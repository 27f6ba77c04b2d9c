"""One chain as a page of its own: what `speculative show --web` writes."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from speculative.answers import boxed, right
from speculative.report.html import page
from speculative.report.pack import PackedChain, pack
from speculative.report.terminal import FINISHES, INTERRUPTED
from speculative.trace.trace import Trace

MODULE, BLOCK = "show.js", "chain"


class Shown(Struct, frozen=True):
    """What the page shows. `right` is null where the right answer is not known; `engines` are the names of the roles' models."""

    problem: str
    method: str
    params: dict[str, Any]
    seed: int
    engines: dict[str, str]
    boxed: str | None
    expected: str | None
    right: bool | None
    finish: str
    chain: PackedChain

    @classmethod
    def of(cls, trace: Trace, expected: str | None = None) -> Shown:
        started, ended = trace.started, trace.ended
        found = boxed(trace.ledger.text("answer"))
        finish = f"finish reason {ended.finish_reason}: {FINISHES[ended.finish_reason]}" if ended else INTERRUPTED
        return cls(
            problem=started.problem.messages[-1].content,
            method=started.method,
            params=started.params,
            seed=started.problem.seed,
            engines={role: engine.name for role, engine in started.engines.items()},
            boxed=found,
            expected=expected,
            right=None if expected is None else right(found, expected),
            finish=f"{trace.seconds:.2f} s · {finish}",
            chain=PackedChain.of(trace),
        )


def chain_page(trace: Trace, expected: str | None = None) -> bytes:
    """The page of a trace. `expected`: the right answer, where it is known. Raises `TraceFormatError` for a trace that has no beginning."""
    return page(MODULE, {BLOCK: pack(Shown.of(trace, expected))})
