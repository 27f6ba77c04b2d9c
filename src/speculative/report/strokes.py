"""What is drawn of a chain: strokes of text, each with an author and a fate, in the order in which their fate was decided."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from msgspec import Struct, structs

from speculative import events
from speculative.events import AnyEvent, Phase, Proposal, TextDelta

Fate = Literal["kept", "discarded", "note"]


class Stroke(Struct, frozen=True):
    """A run of text. `depth`: how many rejected drafts it hangs off; a `note` is ours, not the chain's."""

    author: str
    text: str
    fate: Fate = "kept"
    phase: Phase = "thinking"
    depth: int = 0


class Sketch:
    """Strokes, as a fold over the events of one chain.

    Under a method that takes nothing back, strokes are only ever appended: what was drawn once stays as it is.
    """

    def __init__(self, happened: Iterable[AnyEvent] = ()) -> None:
        self.strokes: list[Stroke] = []
        self._pieces: list[int] = []  # the strokes that are the chain's text, by their index
        self._proposals: dict[int, tuple[str, Proposal]] = {}
        self._open: set[int] = set()
        self._children: dict[int, Sequence[AnyEvent]] = {}
        self._half: Stroke | None = None  # what a server that was lost had written: kept, if the chain goes on behind it
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
        match event:
            case events.Wrote():
                self._keep(event.call.role, event.proposal.text, event.proposal.phase)
            case events.Drafted():
                self._proposals.update((proposal.id, (event.call.role, proposal)) for proposal in event.proposals)
                self._open.update(proposal.id for proposal in event.proposals)
            case events.Accepted():
                self._half = None
                for number in event.drafts:
                    author, proposal = self._proposals[number]
                    self._keep(author, proposal.text, proposal.phase)
                    self._open.discard(number)
            case events.Rejected():
                self._discard(event.drafts)
            case events.Inserted():
                self._keep("method", event.text, event.phase)
            case events.Rewound():
                self._take_back(event.pieces)
            case events.Answered():
                if event.cue:
                    self._keep("method", event.cue, "answer")
                self._keep(event.call.role, event.proposal.text, "answer")
            case events.Child():
                self._children[event.index] = event.events
            case events.Became():
                self._become(event.index)
            case events.Asked():
                replies = " · ".join(" ".join(reply.split()) for reply in event.replies)
                self._note(event.call.role, f"{event.call.role} is asked aside ({event.question}): {replies}")
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
            self.strokes.append(self._half)
        self._discard(sorted(self._open))
        self._leave(self._children)
        self._half, self._children = None, {}

    def _settle(self, event: AnyEvent) -> None:
        """Text that is no longer under way: its event came, its call was cut off, or another draft was accepted."""
        proposals: Sequence[Proposal] = getattr(event, "proposals", ())
        if isinstance(event, events.Wrote | events.Answered | events.Cancelled) and event.proposal:
            proposals = (event.proposal,)
        settled = {proposal.id for proposal in proposals}
        over = isinstance(event, events.Accepted | events.Became | events.Ended)
        left = [(place, delta) for place, delta in self.writing.items() if place[1] not in settled]
        self.writing = {place: delta for place, delta in left if delta.committed or not over}

    def _keep(self, author: str, text: str, phase: Phase) -> None:
        self._pieces.append(len(self.strokes))
        self.strokes.append(Stroke(author, text, "kept", phase))

    def _cut_off(self, event: events.Cancelled) -> None:
        if proposal := event.proposal:
            self._proposals[proposal.id] = (event.call.role, proposal)
            half = Stroke(event.call.role, proposal.text, "kept", proposal.phase)
            if event.lost:
                self._half = half
                return
            self.strokes.append(half)
        if tokens := event.call.produced_tokens:
            self._note(event.call.role, f"a call of {event.call.role} was cut off: its {tokens} tokens are discarded")

    def _note(self, author: str, text: str) -> None:
        self.strokes.append(Stroke(author, text, "note"))

    def _discard(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            author, proposal = self._proposals[number]
            depth, above = 0, proposal.parent
            while above is not None:
                depth, above = depth + 1, self._proposals[above][1].parent
            self._open.discard(number)
            self.strokes.append(Stroke(author, proposal.text, "discarded", proposal.phase, depth))

    def _take_back(self, pieces: int) -> None:
        for place in self._pieces[pieces:]:
            self.strokes[place] = structs.replace(self.strokes[place], fate="discarded")
        del self._pieces[pieces:]

    def _become(self, index: int) -> None:
        self._take_back(0)
        self._leave({number: happened for number, happened in self._children.items() if number != index})
        child = Sketch(self._children[index])
        self._pieces = [len(self.strokes) + place for place in child._pieces]
        self.strokes += child.strokes
        self._children = {}

    def _leave(self, children: dict[int, Sequence[AnyEvent]]) -> None:
        """Draws chains that were not taken over: their text is discarded, their notes are left out."""
        for number, happened in children.items():
            self._note("method", f"chain {number + 1} on the same problem:")
            kept = [stroke for stroke in Sketch(happened).strokes if stroke.fate == "kept"]
            self.strokes += [structs.replace(stroke, fate="discarded", depth=1) for stroke in _joined(kept)]


def _joined(strokes: Iterable[Stroke]) -> list[Stroke]:
    """Neighbours of one author and phase as one stroke."""
    joined: list[Stroke] = []
    for stroke in strokes:
        last = joined[-1] if joined else None
        if last and (last.author, last.phase) == (stroke.author, stroke.phase):
            joined[-1] = structs.replace(last, text=last.text + stroke.text)
        else:
            joined.append(stroke)
    return joined
