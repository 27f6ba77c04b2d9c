"""What is drawn of a chain: strokes of text, each with an author and a fate, in the order in which their fate was decided."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import Literal

from msgspec import Struct, structs

from speculative.trace import events
from speculative.trace.events import AnyEvent, Phase, Proposal, TextDelta
from speculative.trace.state import Piece

Fate = Literal["kept", "discarded", "note"]


class Stroke(Struct, frozen=True):
    """A run of text. `depth`: how many rejected drafts it hangs off; a `note` is ours, not the chain's.

    `tokens`: of kept text those that count as kept, of other text those that it took to produce. `verdict`: why a draft is
    kept or discarded. `sureness`: the mean log-probability (nats a token) of a draft, as it was scored or as it was drawn.
    """

    author: str
    text: str
    fate: Fate = "kept"
    phase: Phase = "thinking"
    depth: int = 0
    tokens: int = 0
    verdict: str = ""
    sureness: float | None = None


ACCEPTED, TAKEN_BACK, UNDECIDED = "accepted", "taken back", "never decided on"


class Sketch:
    """Strokes, as a fold over the events of one chain.

    Under a method that takes nothing back, strokes are only ever appended: what was drawn once stays as it is.
    """

    def __init__(self, happened: Iterable[AnyEvent] = ()) -> None:
        self.strokes: list[Stroke] = []
        self._pieces: list[int] = []  # the strokes that are the chain's text, by their index
        self._proposals: dict[int, tuple[str, Proposal]] = {}
        self._open: set[int] = set()
        self._sureness: dict[int, float] = {}
        self._ends: set[int] = set()  # the strokes whose last token ended their phase
        self._children: dict[int, Sequence[AnyEvent]] = {}
        self._copies: dict[int, set[int]] = {}  # by draft: itself and its copies, but those that were discarded
        self._half: events.Cancelled | None = None  # a call that was cut off: what it wrote is kept, if that is accepted next
        self.writing: dict[tuple[tuple[int, ...], int, str], TextDelta] = {}
        """Text under way, of a listener's deltas: by chain, draft and role. Of a chain within the chain only the latest."""
        for event in happened:
            self.apply(event)

    def hear(self, delta: TextDelta) -> None:
        """Takes text that is under way: it becomes a stroke with its event, or when its call is cut off."""
        place = (delta.chain, -1, "") if delta.chain else ((), delta.draft, delta.role)
        before = self.writing.get(place)
        self.writing[place] = structs.replace(delta, text=before.text + delta.text) if before and before.draft == delta.draft else delta

    def committed(self) -> list[Stroke]:
        """Text under way that goes straight into the chain."""
        own = [delta for place, delta in self.writing.items() if delta.committed and not place[0]]
        return [Stroke(delta.role, delta.text, "kept", delta.phase) for delta in own]

    def apply(self, event: AnyEvent) -> None:
        self._settle(event)
        if self._half and not isinstance(event, events.Degraded | events.Inserted | events.Accepted):
            self._give_up(self._half)
        match event:
            case events.Wrote():
                self._keep(Piece.of(event.call.role, event.proposal))
            case events.Drafted():
                self._propose(event)
            case events.Scored():
                scored = zip(event.drafts, event.logprobs, strict=True)
                self._sureness.update((draft, _sureness(found)) for draft, found in scored if found)
            case events.Accepted():
                half, self._half = self._half, None
                if half and half.proposal and half.proposal.id not in event.drafts:
                    half = self._give_up(half)
                for number in event.drafts:
                    self._keep(Piece.of(*self._proposals[number]), ACCEPTED, self._sureness.get(number))
                    self._open.discard(number)
                if half and not half.lost:
                    rest = half.call.produced_tokens - self.strokes[-1].tokens
                    more = f", {rest} of its tokens are discarded" if rest else ""
                    self._note(half.call.role, f"a call of {half.call.role} was cut off here{more}", rest)
            case events.Rejected():
                self._discard(event.drafts, event.reason)
            case events.Inserted():
                self._reopen()
                self._keep(Piece("method", event.text, (), 0, event.phase))
            case events.Rewound():
                self._take_back(event.pieces)
            case events.Answered():
                if event.cue:
                    self._keep(Piece("method", event.cue, (), 0, "answer"))
                self._keep(structs.replace(Piece.of(event.call.role, event.proposal), phase="answer"))
            case events.Child():
                self._children[event.index] = event.events
            case events.Became():
                self._become(event.index)
            case events.Asked():
                replies = " · ".join(" ".join(reply.split()) for reply in event.replies)
                self._note(event.call.role, f"{event.call.role} is asked aside ({event.question}): {replies}", event.call.produced_tokens)
            case events.Stopped():
                self._note("method", f"the thinking ends: {event.reason}")
            case events.Cancelled():
                self._cut_off(event)
            case events.Degraded():
                self._note(event.survivor, f"{event.role} is lost, {event.survivor} goes on in its place: {event.error}")
            case events.Ended():
                self.close()
            case _:
                pass

    def close(self) -> None:
        """Nothing more will happen: what is still undecided is discarded."""
        if self._half:
            self._give_up(self._half)
        self._discard(sorted(self._open), UNDECIDED)
        self._leave(self._children)
        self._children = {}

    def _settle(self, event: AnyEvent) -> None:
        """Text that is no longer under way: its event came, its call was cut off, or another draft was accepted."""
        proposals: Sequence[Proposal] = getattr(event, "proposals", ())
        if isinstance(event, events.Wrote | events.Answered | events.Cancelled) and event.proposal:
            proposals = (event.proposal,)
        settled = {proposal.id for proposal in proposals}
        over = isinstance(event, events.Accepted | events.Became | events.Ended)
        left = [(place, delta) for place, delta in self.writing.items() if place[1] not in settled]
        self.writing = {place: delta for place, delta in left if delta.committed or not over}

    def _propose(self, event: events.Drafted) -> None:
        alike: dict[tuple[int | None, tuple[int, ...]], set[int]] = {}
        copied = sum(proposal.completion.produced for proposal in event.proposals) > event.call.produced_tokens
        for proposal in event.proposals:
            if copied:  # greedy ones, which were paid for once
                self._copies[proposal.id] = alike.setdefault((proposal.parent, proposal.completion.ids), set())
                self._copies[proposal.id].add(proposal.id)
            self._proposals[proposal.id] = (event.call.role, proposal)
            self._open.add(proposal.id)
            if proposal.completion.logprobs:
                self._sureness[proposal.id] = _sureness(proposal.completion.logprobs)

    def _keep(self, piece: Piece, verdict: str = "", sureness: float | None = None) -> None:
        if piece.ends:
            self._ends.add(len(self.strokes))
        self._pieces.append(len(self.strokes))
        self.strokes.append(Stroke(piece.author, piece.text, "kept", piece.phase, 0, piece.kept, verdict, sureness))

    def _cut_off(self, event: events.Cancelled) -> None:
        if proposal := event.proposal:
            self._proposals[proposal.id] = (event.call.role, proposal)
            self._half = event
        else:
            self._wasted(event.call)

    def _give_up(self, half: events.Cancelled) -> None:
        """Nothing goes on behind a call that was cut off. It had been told where somebody listens."""
        self._half = None
        if half.proposal:
            self.strokes.append(Stroke(half.call.role, half.proposal.text, "kept", half.proposal.phase))
        if not half.lost:
            self._wasted(half.call)

    def _wasted(self, call: events.Call) -> None:
        if tokens := call.produced_tokens:
            self._note(call.role, f"a call of {call.role} was cut off: its {tokens} tokens are discarded", tokens)

    def _reopen(self) -> None:
        """The end is taken back: its token is no longer part of the chain."""
        last = next((place for place in reversed(self._pieces) if self.strokes[place].text or self.strokes[place].tokens), -1)
        if last in self._ends:
            self._ends.discard(last)
            self.strokes[last] = structs.replace(self.strokes[last], tokens=self.strokes[last].tokens - 1)

    def _note(self, author: str, text: str, tokens: int = 0) -> None:
        self.strokes.append(Stroke(author, text, "note", tokens=tokens))

    def _discard(self, numbers: Iterable[int], why: str) -> None:
        for number in numbers:
            author, proposal = self._proposals[number]
            depth, above = 0, proposal.parent
            while above is not None:
                depth, above = depth + 1, self._proposals[above][1].parent
            self._open.discard(number)
            copies = self._copies.get(number, set())
            copies.discard(number)
            cost, sureness = 0 if copies else proposal.completion.produced, self._sureness.get(number)
            self.strokes.append(Stroke(author, proposal.text, "discarded", proposal.phase, depth, cost, why, sureness))

    def _take_back(self, pieces: int) -> None:
        for place in self._pieces[pieces:]:
            self.strokes[place] = structs.replace(self.strokes[place], fate="discarded", verdict=TAKEN_BACK)
        del self._pieces[pieces:]

    def _become(self, index: int) -> None:
        self._take_back(0)
        self._leave({number: happened for number, happened in self._children.items() if number != index})
        child = Sketch(self._children[index])
        self._pieces = [len(self.strokes) + place for place in child._pieces]
        self._ends = {len(self.strokes) + place for place in child._ends}
        self.strokes += child.strokes
        self._children = {}

    def _leave(self, children: dict[int, Sequence[AnyEvent]]) -> None:
        """Draws chains that were not taken over: their text is discarded, their notes are left out."""
        for number, happened in children.items():
            self._note("method", f"chain {number + 1} on the same problem:")
            child = Sketch(happened)
            child.close()
            kept = [stroke for stroke in child.strokes if stroke.fate == "kept"]
            self.strokes += [structs.replace(stroke, fate="discarded", depth=1, verdict=f"chain {number + 1}") for stroke in _joined(kept)]


def _sureness(logprobs: Sequence[float]) -> float:
    return round(fmean(logprobs), 4)


def _joined(strokes: Iterable[Stroke]) -> list[Stroke]:
    """Neighbours of one author and phase as one stroke."""
    joined: list[Stroke] = []
    for stroke in strokes:
        last = joined[-1] if joined else None
        if last and (last.author, last.phase) == (stroke.author, stroke.phase):
            joined[-1] = structs.replace(last, text=last.text + stroke.text, tokens=last.tokens + stroke.tokens)
        else:
            joined.append(stroke)
    return joined
