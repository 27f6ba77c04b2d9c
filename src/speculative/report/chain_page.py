"""Writes a page of one chain, for `speculative show --web`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from speculative.answers import extract_boxed, is_correct
from speculative.report.terminal import FINISHES, INTERRUPTED
from speculative.report.timeline import Span, Status, Timeline
from speculative.trace.events import Phase
from speculative.trace.trace import Trace
from speculative.trace.usage import Usage
from speculative.viewer.data import pack
from speculative.viewer.page import page

MODULE, BLOCK = "show.js", "chain"

Kind = tuple[str, Status, Phase, int, str]
"""Author, status, phase, depth and verdict of a span."""


class PackedChain(Struct, frozen=True):
    """The timeline of a chain by columns, and its usage.

    Span i is `texts[i]`, of the kind `kinds[kind_numbers[i]]`. `mean_logprobs` is empty if no span has one.
    """

    kinds: list[Kind]
    kind_numbers: list[int]
    texts: list[str]
    tokens: list[int]
    mean_logprobs: list[float | None]
    usage: dict[str, Usage]

    @classmethod
    def of(cls, trace: Trace) -> PackedChain:
        """Packs the timeline of a trace."""
        timeline = Timeline(trace)
        timeline.close()
        spans = timeline.spans
        numbers = {kind: number for number, kind in enumerate(dict.fromkeys(map(_kind, spans)))}
        logprobs = [span.mean_logprob for span in spans]
        return cls(
            kinds=list(numbers),
            kind_numbers=[numbers[_kind(span)] for span in spans],
            texts=[span.text for span in spans],
            tokens=[span.tokens for span in spans],
            mean_logprobs=logprobs if any(found is not None for found in logprobs) else [],
            usage=trace.usage(),
        )

    def spans(self) -> list[Span]:
        """Unpacks the spans."""
        logprobs: Sequence[float | None] = self.mean_logprobs or [None] * len(self.texts)
        found: list[Span] = []
        for number, text, tokens, logprob in zip(self.kind_numbers, self.texts, self.tokens, logprobs, strict=True):
            author, status, phase, depth, verdict = self.kinds[number]
            found.append(Span(author, text, status, phase, depth, tokens, verdict, logprob))
        return found


class ChainPage(Struct, frozen=True):
    """The data of the page.

    `right` is null if the right answer is unknown; `engines` has the models by role.
    """

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
    def of(cls, trace: Trace, expected: str | None = None) -> ChainPage:
        """Collects the data from a trace."""
        started, ended = trace.started, trace.ended
        found = extract_boxed(trace.ledger.text("answer"))
        finish = f"finish reason {ended.finish_reason}: {FINISHES[ended.finish_reason]}" if ended else INTERRUPTED
        return cls(
            problem=started.problem.messages[-1].content,
            method=started.method,
            params=started.params,
            seed=started.problem.seed,
            engines={role: engine.name for role, engine in started.engines.items()},
            boxed=found,
            expected=expected,
            right=None if expected is None else is_correct(found, expected),
            finish=f"{trace.seconds:.2f} s · {finish}",
            chain=PackedChain.of(trace),
        )


def chain_page(trace: Trace, expected: str | None = None) -> bytes:
    """Returns the page of a trace.

    Raises `TraceFormatError` for a trace without a `started` event.

    Args:
        trace: the chain.
        expected: the right answer, where it is known.
    """
    return page(MODULE, {BLOCK: pack(ChainPage.of(trace, expected))})


def _kind(span: Span) -> Kind:
    return (span.author, span.status, span.phase, span.depth, span.verdict)
