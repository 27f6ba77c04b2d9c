"""Checks that the events of a trace fit together.

The page has the same rules in `web/src/trace/check.ts`; a file of damaged traces holds both together.
"""

from __future__ import annotations

from collections.abc import Sequence

from speculative.trace import events
from speculative.trace.events import AnyEvent, Call, Proposal

MOST_SECONDS = 1e8
"""Three years: a chain never takes so long."""

MOST_TOKENS = 1e12

COUNTS = ("requests", "prompt_tokens", "cached_tokens", "produced_tokens", "scored_tokens", "shared_cache_tokens", "beyond_tokens")


def find_damage(happened: Sequence[AnyEvent]) -> tuple[int, str] | None:
    """Returns the place and the reason of the first damage, or None.

    An event is damaged if it does not fit the events before it.
    """
    return _Check().find(happened)


class _Check:
    """Folds the events of one chain down to what later events may refer to."""

    def __init__(self) -> None:
        self.pieces = 0
        self._texts: set[int] = set()
        """The ids of all texts."""
        self._drafts: dict[int, int] = {}
        """The number of tokens of each draft."""
        self._open: set[int] = set()
        """The drafts that are not decided."""
        self._children: dict[int, int] = {}
        """The number of pieces of each child."""

    def find(self, happened: Sequence[AnyEvent]) -> tuple[int, str] | None:
        last: AnyEvent | None = None
        for place, event in enumerate(happened):
            if reason := self._order(last, event) or self._own(event):
                return place, reason
            last = event
        return None

    def _order(self, last: AnyEvent | None, event: AnyEvent) -> str:
        if isinstance(last, events.Ended):
            return "the chain is over before it"
        if last and isinstance(event, events.Started):
            return "the chain begins a second time"
        call: Call | None = getattr(event, "call", None)
        if call and call.seconds and event == last:
            return "it stands there twice"
        return ""

    def _own(self, event: AnyEvent) -> str:
        """Returns the reason against an event, or counts it and returns an empty text."""
        call: Call | None = getattr(event, "call", None)
        return _between("at", event.at, MOST_SECONDS) or (_call(call) if call else "") or self._proposals(event) or self._references(event)

    def _proposals(self, event: AnyEvent) -> str:
        one: Proposal | None = getattr(event, "proposal", None)
        for proposal in (one,) if one else getattr(event, "proposals", ()):
            if reason := self._proposal(proposal, event.call.produced_tokens):  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownArgumentType]
                return reason
            self._texts.add(proposal.id)
            if isinstance(event, events.Drafted | events.Cancelled):
                self._drafts[proposal.id] = len(proposal.completion.ids)
                self._open.add(proposal.id)
        return ""

    def _proposal(self, proposal: Proposal, produced: int) -> str:
        completion, parent = proposal.completion, proposal.parent
        if proposal.id in self._texts:
            return f"draft {proposal.id} stands there already"
        if parent is not None and (parent not in self._drafts or parent >= proposal.id):
            return f"it follows draft {parent}, which is missing"
        if completion.produced > produced:
            return f"a text has {completion.produced} tokens, and its call produced {produced}"
        return _between("dropped", proposal.dropped, len(completion.ids))

    def _references(self, event: AnyEvent) -> str:
        match event:
            case events.Accepted(drafts=drafts, cut=cut):
                self.pieces += len(drafts)
                most = self._drafts.get(drafts[-1], 0) if drafts else 0
                return self._decided(drafts) or (_between("cut", cut[0], most) or _between("cut", cut[1], MOST_TOKENS) if cut else "")
            case events.Rejected(drafts=drafts):
                return self._decided(drafts)
            case events.Scored(drafts=drafts, logprobs=logprobs):
                if len(drafts) != len(logprobs):
                    return f"it has {len(logprobs)} lists of log-probabilities for {len(drafts)} drafts"
                return self._missing(drafts)
            case events.Rewarded(drafts=drafts):
                return self._missing(drafts)
            case events.Wrote() | events.Inserted():
                self.pieces += 1
            case events.Answered():
                self.pieces += 2 if event.cue else 1
            case events.Rewound():
                reason = _between("pieces", event.pieces, self.pieces)
                self.pieces = event.pieces
                return reason or ("" if event.entries is None else _between("entries", event.entries, MOST_TOKENS))
            case events.Child():
                child = _Check()
                damage = child.find(event.events)
                self._children[event.index] = child.pieces
                return f"in child chain {event.index + 1}, event {damage[0] + 1}: {damage[1]}" if damage else ""
            case events.Became():
                self.pieces = self._children.get(event.index, 0)
                return "" if event.index in self._children else f"it refers to child chain {event.index + 1}, which is missing"
            case events.Ended():
                return _between("seconds", event.seconds, MOST_SECONDS)
            case _:
                pass
        return ""

    def _missing(self, drafts: Sequence[int]) -> str:
        missing = next((draft for draft in drafts if draft not in self._texts), None)
        return "" if missing is None else f"it refers to draft {missing}, which is missing"

    def _decided(self, drafts: Sequence[int]) -> str:
        """Decides drafts, or returns the reason why one of them cannot be decided."""
        for draft in drafts:
            if draft not in self._drafts:
                return f"it refers to draft {draft}, which is missing"
            if draft not in self._open:
                return f"draft {draft} is decided already"
            self._open.discard(draft)
        return ""


def _call(call: Call) -> str:
    limits = {"seconds": MOST_SECONDS, "began": MOST_SECONDS, **dict.fromkeys(COUNTS, MOST_TOKENS)}
    return next((reason for name, most in limits.items() if (reason := _between(name, getattr(call, name), most))), "")


def _between(name: str, value: float, most: float) -> str:
    return "" if 0 <= value <= most else f"{name} must be from 0 to {most:.15g}, got {value:.15g}"
