"""Checks that the events of a trace fit together.

The page has the same rules in `web/src/trace/check.ts`; a file of damaged traces holds both together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from speculative.trace import events
from speculative.trace.events import AnyEvent, Call, Proposal

MOST_SECONDS = 1e8
"""Three years: no chain takes so long, and a drawing of its time has no more room."""

COUNTS = ("requests", "prompt_tokens", "cached_tokens", "produced_tokens", "scored_tokens")


def find_damage(happened: Sequence[AnyEvent]) -> tuple[int, str] | None:
    """Returns the place and the reason of the first damage, or None.

    An event is damaged if it does not fit the events before it.
    """
    return _Check().find(happened)


class _Check:
    """Folds the events of one chain down to what later events may refer to."""

    def __init__(self) -> None:
        self.pieces = 0
        self._drafts: dict[int, int] = {}
        """The number of tokens of each draft."""
        self._children: dict[int, int] = {}
        """The number of pieces of each child."""

    def find(self, happened: Sequence[AnyEvent]) -> tuple[int, str] | None:
        over = False
        for place, event in enumerate(happened):
            if over:
                return place, "the chain is over before it"
            if place and isinstance(event, events.Started):
                return place, "the chain begins a second time"
            if reason := next(self._reasons(event), None):
                return place, reason
            over = isinstance(event, events.Ended)
        return None

    def _reasons(self, event: AnyEvent) -> Iterator[str]:
        """Yields the reasons against an event, and counts it if there is none."""
        yield from _between("at", event.at, MOST_SECONDS)
        if call := getattr(event, "call", None):
            yield from _call_reasons(call)
        for proposal in _proposals(event):
            yield from self._proposal_reasons(proposal)
            if isinstance(event, events.Drafted | events.Cancelled):
                self._drafts[proposal.id] = len(proposal.completion.ids)
        yield from self._own_reasons(event)

    def _proposal_reasons(self, proposal: Proposal) -> Iterator[str]:
        yield from _between("dropped", proposal.dropped, len(proposal.completion.ids))
        parent = proposal.parent
        if parent is not None and (parent not in self._drafts or parent >= proposal.id):
            yield f"it follows draft {parent}, which is missing"

    def _own_reasons(self, event: AnyEvent) -> Iterator[str]:
        match event:
            case events.Accepted(drafts=drafts) | events.Rejected(drafts=drafts):
                yield from (f"it refers to draft {draft}, which is missing" for draft in drafts if draft not in self._drafts)
                if isinstance(event, events.Accepted):
                    if event.cut:
                        yield from _between("cut", event.cut[0], self._drafts[drafts[-1]] if drafts else 0)
                        yield from _at_least("cut", event.cut[1])
                    self.pieces += len(drafts)
            case events.Scored(drafts=drafts, logprobs=logprobs):
                if len(drafts) != len(logprobs):
                    yield f"it has {len(logprobs)} lists of log-probabilities for {len(drafts)} drafts"
            case events.Wrote() | events.Inserted():
                self.pieces += 1
            case events.Answered():
                self.pieces += 2 if event.cue else 1
            case events.Rewound():
                yield from _between("pieces", event.pieces, self.pieces)
                if event.entries is not None:
                    yield from _at_least("entries", event.entries)
                self.pieces = event.pieces
            case events.Child():
                child = _Check()
                if damage := child.find(event.events):
                    yield f"in child chain {event.index + 1}, event {damage[0] + 1}: {damage[1]}"
                self._children[event.index] = child.pieces
            case events.Became():
                if event.index not in self._children:
                    yield f"it refers to child chain {event.index + 1}, which is missing"
                self.pieces = self._children.get(event.index, 0)
            case events.Ended():
                yield from _between("seconds", event.seconds, MOST_SECONDS)
            case _:
                pass


def _proposals(event: AnyEvent) -> Sequence[Proposal]:
    one: Proposal | None = getattr(event, "proposal", None)
    return (one,) if one else getattr(event, "proposals", ())


def _call_reasons(call: Call) -> Iterator[str]:
    for name in COUNTS:
        yield from _at_least(name, getattr(call, name))
    yield from _between("seconds", call.seconds, MOST_SECONDS)
    yield from _between("began", call.began, MOST_SECONDS)


def _between(name: str, value: float, most: float) -> Iterator[str]:
    if not 0 <= value <= most:
        yield f"{name} must be from 0 to {most:.15g}, got {value:.15g}"


def _at_least(name: str, value: int) -> Iterator[str]:
    if value < 0:
        yield f"{name} must be at least 0, got {value}"
