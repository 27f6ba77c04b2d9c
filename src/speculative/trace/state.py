"""Computes the state of a chain, its pieces and its usage, from events.

The state is a fold over the events.
The chain applies every event to its ledger as it happens, and a saved trace applies the same events again: text and
usage have one source.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct, structs

from speculative.engines.base import Authors
from speculative.trace import events
from speculative.trace.events import Phase, Proposal
from speculative.trace.usage import Usage


class Piece(Struct, frozen=True):
    """A text that entered the chain at once, or a note.

    `kept` counts its produced tokens. `ends` is True if the last one, `end_id`, ended the phase.

    `note_for`: the role in whose prompt alone it stands; then it does not belong to the text of the chain. `authors`: for a tower, the
    roles of its pair that wrote the kept tokens.
    """

    author: str
    text: str
    ids: tuple[int, ...]
    kept: int
    phase: Phase
    ends: bool = False
    note_for: str = ""
    end_id: int | None = None
    authors: Authors = ()

    @classmethod
    def of(cls, author: str, proposal: Proposal, cut: tuple[int, int] | None = None) -> Piece:
        """Returns a proposal, or its beginning, as a piece of the text.

        `cut`: the tokens and the characters of the beginning; None for all of the proposal.
        """
        if cut:
            tokens, characters = cut
            authors = first_authors(proposal.completion.authors, tokens)
            return cls(author, proposal.text[:characters], proposal.completion.ids[:tokens], tokens, proposal.phase, authors=authors)
        completion, size = proposal.completion, len(proposal.completion.ids) - proposal.dropped
        ends = completion.end_id is not None
        authors = first_authors(completion.authors, size + ends)
        ids = completion.ids[:size]
        return cls(author, proposal.text, ids, size + ends, proposal.phase, ends, end_id=completion.end_id, authors=authors)


class Segment(Struct, frozen=True):
    """Neighbouring pieces of one author and phase, joined together."""

    author: str
    phase: Phase
    text: str
    tokens: int


class Ledger:
    """The state of one chain.

    `pieces` is its text, `kept` the number of its tokens that models wrote. `entries` are the pieces and the notes between them.
    """

    def __init__(self) -> None:
        self.pieces: list[Piece] = []
        self.entries: list[Piece] = []
        self.places: list[int] = []
        """The places of the pieces among the entries."""
        self.inserted: dict[str, int] = {}
        """The texts among the pieces that no model wrote, and how often each stands there."""
        self.proposals: dict[int, tuple[str, Proposal]] = {}
        self.children: dict[int, Sequence[events.AnyEvent]] = {}  # their events: they grow with the children
        self.kept = 0
        self._costs: dict[str, Usage] = {}

    @classmethod
    def of(cls, happened: Iterable[events.AnyEvent]) -> Ledger:
        ledger = cls()
        for event in happened:
            ledger.apply(event)
        return ledger

    def apply(self, event: events.AnyEvent) -> int:
        """Applies an event and returns the number of tokens that it produced."""
        call: events.Call | None = getattr(event, "call", None)  # every call has a cost
        if call:
            self._pay(call)
        match event:
            case events.Started(engines=engines):
                self._costs = {role: Usage() for role in engines} | self._costs
            case events.Wrote():
                self._push(Piece.of(event.call.role, event.proposal))
            case events.Drafted():
                self.proposals.update((p.id, (event.call.role, p)) for p in event.proposals)
            case events.Cancelled(proposal=events.Proposal() as proposal):
                self.proposals[proposal.id] = (event.call.role, proposal)
            case events.Accepted():
                for draft in event.drafts:
                    self._push(Piece.of(*self.proposals[draft], event.cut if draft == event.drafts[-1] else None))
            case events.Inserted():
                self.reopen()
                self._push(Piece("method", event.text, (), 0, event.phase))
            case events.Rewound():
                while len(self.pieces) > event.pieces:
                    self._pop()
                    del self.entries[self.places.pop() :]
                if event.entries is not None:
                    del self.entries[event.entries :]
            case events.Noted():
                self.entries.append(Piece("method", event.text, (), 0, "answer" if self.answered else "thinking", note_for=event.role))
            case events.Answered():
                if event.cue:
                    self._push(Piece("method", event.cue, (), 0, "answer"))
                self._push(Piece.of(event.call.role, event.proposal))
            case events.Child():
                self.children[event.index] = event.events
            case events.Became():
                child = Ledger.of(self.children[event.index])
                self.pieces, self.kept, self.inserted = list(child.pieces), child.kept, child.inserted
                self.entries, self.places = list(child.entries), list(child.places)
            case _:
                pass
        return call.produced_tokens if call else 0

    @property
    def answered(self) -> bool:
        """True if the answer has begun."""
        return bool(self.pieces) and self.pieces[-1].phase == "answer"

    @property
    def ended(self) -> bool:
        """True if the last token of the text ended its phase."""
        last = self._last()
        return last is not None and self.pieces[last].ends

    def reopen(self) -> None:
        """Takes back the end of the last phase: its token is no longer part of the chain."""
        last = self._last()
        if last is not None and self.pieces[last].ends:
            piece = self.pieces[last]
            kept = piece.kept - 1
            piece = structs.replace(piece, ends=False, end_id=None, kept=kept, authors=first_authors(piece.authors, kept))
            self.pieces[last] = self.entries[self.places[last]] = piece
            self.kept -= 1

    def _last(self) -> int | None:
        """Returns the index of the last piece that is not empty."""
        return next((place for place in reversed(range(len(self.pieces))) if self.pieces[place].text or self.pieces[place].kept), None)

    def text(self, phase: Phase) -> str:
        return "".join(piece.text for piece in self.pieces if piece.phase == phase)

    def segments(self) -> list[Segment]:
        """Returns the text by author, with neighbours joined."""
        joined: list[Segment] = []
        for piece in self.pieces:
            last = joined[-1] if joined else None
            if last and (last.author, last.phase) == (piece.author, piece.phase):
                joined[-1] = structs.replace(last, text=last.text + piece.text, tokens=last.tokens + piece.kept)
            elif piece.text or piece.kept:
                joined.append(Segment(piece.author, piece.phase, piece.text, piece.kept))
        return joined

    def usage(self) -> dict[str, Usage]:
        """Returns the usage by role, in which produced = kept + discarded."""
        totals = {role: structs.replace(cost) for role, cost in self._costs.items()}
        for happened in self.children.values():
            for role, cost in Ledger.of(happened).usage().items():
                totals[role] = totals.get(role, Usage()) + cost
        for total in totals.values():
            total.kept_tokens = 0
        for piece in self.pieces:
            for role, kept in ((piece.author, piece.kept), *_inner_kept(piece)):
                if role in totals:
                    totals[role].kept_tokens += kept
        for total in totals.values():
            total.discarded_tokens = total.produced_tokens - total.kept_tokens
        return totals

    def _push(self, piece: Piece) -> None:
        self.places.append(len(self.entries))
        self.entries.append(piece)
        self.pieces.append(piece)
        self.kept += piece.kept
        if piece.author == "method":
            self.inserted[piece.text] = self.inserted.get(piece.text, 0) + 1

    def _pop(self) -> None:
        piece = self.pieces.pop()
        self.kept -= piece.kept
        if piece.author == "method":
            self.inserted[piece.text] -= 1

    def _pay(self, call: events.Call) -> None:
        self._add(call.role, call)
        for inner in call.inner.calls if call.inner else ():
            self._add(f"{call.role}/{inner.role}", inner)

    def _add(self, role: str, call: events.Call) -> None:
        cost = self._costs.setdefault(role, Usage())
        cost.requests += call.requests
        cost.prompt_tokens += call.prompt_tokens
        cost.cached_tokens += call.cached_tokens
        cost.produced_tokens += call.produced_tokens
        cost.scored_tokens += call.scored_tokens
        cost.seconds += call.seconds


def first_authors(authors: Authors, tokens: int) -> Authors:
    """Returns the authors of the first tokens of a text."""
    found: list[tuple[str, int]] = []
    for author, count in authors:
        if tokens <= 0:
            break
        found.append((author, min(count, tokens)))
        tokens -= count
    return tuple(found)


def _inner_kept(piece: Piece) -> Iterator[tuple[str, int]]:
    """Yields the rows of usage inside a tower, with the kept tokens of a piece."""
    for author, kept in piece.authors:
        names = author.split("/")
        for depth in range(1, len(names) + 1):
            yield "/".join([piece.author, *names[:depth]]), kept
