"""Writes a page of one chain, for `speculative show --web`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from msgspec import Struct

from speculative import __version__
from speculative.answers import extract_boxed, is_correct
from speculative.report.timeline import Span, Status, Timeline
from speculative.trace.events import AnyEvent, Phase
from speculative.trace.trace import Trace
from speculative.trace.usage import Usage
from speculative.viewer.data import pack
from speculative.viewer.marks import Mark, mark_of
from speculative.viewer.page import page
from speculative.viewer.prices import EXAMPLE, TokenPriceCard, token_prices

SCRIPT, BLOCK, MATH = "show.js", "chain", "math.js"
FORMULA = re.compile(r"\\\(|\\\[|\$[^\s$]|\\boxed|\\frac")
"""Text that may hold a formula: then the page has the script that typesets them."""

Kind = tuple[str, Status, Phase, int, str]
"""Author, status, phase, depth and verdict of a span."""


class PackedChain(Struct, frozen=True):
    """The timeline of a chain by columns, and its usage.

    Span i is `texts[i]`, of the kind `kinds[kind_numbers[i]]`. `mean_logprobs` and `readings` are empty if no span has
    one.
    """

    kinds: list[Kind]
    kind_numbers: list[int]
    texts: list[str]
    tokens: list[int]
    mean_logprobs: list[float | None]
    readings: list[tuple[str, float] | None]
    usage: dict[str, Usage]

    @classmethod
    def of(cls, trace: Trace) -> PackedChain:
        """Packs the timeline of a trace."""
        timeline = Timeline(trace)
        timeline.close()
        spans = timeline.spans
        numbers = {kind: number for number, kind in enumerate(dict.fromkeys(map(_kind, spans)))}
        logprobs, readings = [span.mean_logprob for span in spans], [span.reading for span in spans]
        return cls(
            kinds=list(numbers),
            kind_numbers=[numbers[_kind(span)] for span in spans],
            texts=[span.text for span in spans],
            tokens=[span.tokens for span in spans],
            mean_logprobs=logprobs if any(found is not None for found in logprobs) else [],
            readings=readings if any(readings) else [],
            usage=trace.usage(),
        )

    def spans(self) -> list[Span]:
        """Unpacks the spans."""
        logprobs: Sequence[float | None] = self.mean_logprobs or [None] * len(self.texts)
        readings: Sequence[tuple[str, float] | None] = self.readings or [None] * len(self.texts)
        found: list[Span] = []
        for number, text, tokens, logprob, reading in zip(self.kind_numbers, self.texts, self.tokens, logprobs, readings, strict=True):
            author, status, phase, depth, verdict = self.kinds[number]
            found.append(Span(author, text, status, phase, depth, tokens, verdict, logprob, reading))
        return found


class ChainPage(Struct, frozen=True):
    """The data of the page: the events of the chain, and what is known beside them.

    `right` is null if the right answer is unknown. `prices` are for a million tokens, by role, where they are known.
    """

    events: list[AnyEvent]
    mark: Mark
    expected: str | None
    right: bool | None
    currency: str
    prices: dict[str, TokenPriceCard]
    priced: str
    library: str

    @classmethod
    def of(cls, trace: Trace, expected: str | None = None) -> ChainPage:
        """Collects the data from a trace."""
        started = trace.started
        found = extract_boxed(trace.ledger.text("answer"))
        currency, prices = token_prices({role: engine.name for role, engine in started.engines.items()})
        return cls(
            events=trace.events,
            mark=mark_of(started.method, started.method),
            expected=expected,
            right=None if expected is None else is_correct(found, expected),
            currency=currency,
            prices=prices,
            priced=EXAMPLE,
            library=__version__,
        )


def chain_page(trace: Trace, expected: str | None = None) -> bytes:
    """Returns the page of a trace.

    Raises `TraceFormatError` for a trace without a `started` event.

    Args:
        trace: the chain.
        expected: the right answer, where it is known.
    """
    formulas = [MATH] if FORMULA.search("".join(piece.text for piece in trace.ledger.pieces)) else []
    return page(SCRIPT, {BLOCK: pack(ChainPage.of(trace, expected))}, *formulas)


def _kind(span: Span) -> Kind:
    return (span.author, span.status, span.phase, span.depth, span.verdict)
