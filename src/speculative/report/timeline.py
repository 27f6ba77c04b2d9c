"""Computes the timeline of a chain from its events."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import Literal

from msgspec import Struct, structs

from speculative.trace import events
from speculative.trace.events import AnyEvent, Phase, Proposal, TextDelta
from speculative.trace.state import Piece
from speculative.trace.trace import Trace

Status = Literal["kept", "discarded", "note"]


class Span(Struct, frozen=True):
    """A run of text with one author and one status.

    Attributes:
        status: `kept`, `discarded`, or `note` for a remark beside the text of the chain.
        depth: the number of rejected drafts that it follows.
        tokens: the kept tokens of kept text, and the produced tokens of other text.
        verdict: the reason why a draft was kept or discarded.
        mean_logprob: nats a token of a draft, as its author sampled it.
        reading: a role that read the draft, and the nats a token that it found.
    """

    author: str
    text: str
    status: Status = "kept"
    phase: Phase = "thinking"
    depth: int = 0
    tokens: int = 0
    verdict: str = ""
    mean_logprob: float | None = None
    reading: tuple[str, float] | None = None


ACCEPTED, TAKEN_BACK, UNDECIDED = "accepted", "taken back", "undecided"
REST = "the rest of an accepted draft"


class Timeline:
    """Folds the events of one chain into spans.

    If a method takes nothing back, spans are only appended and never change.
    """

    def __init__(self, happened: Iterable[AnyEvent] = ()) -> None:
        self.spans: list[Span] = []
        self._pieces: list[int] = []  # the indexes of the spans that are the chain's text
        self._proposals: dict[int, tuple[str, Proposal]] = {}
        self._open: set[int] = set()
        self._readings: dict[int, tuple[str, Sequence[float]]] = {}
        self._ends: set[int] = set()  # the indexes of the spans whose last token ended their phase
        self._children: dict[int, Sequence[AnyEvent]] = {}
        self._replies: dict[int, list[Span]] = {}  # by draft that is not decided yet: they stand behind the decision
        self._copies: dict[int, set[int]] = {}  # by draft: itself and its equal drafts that are not discarded yet
        self._partial: events.Cancelled | None = None  # a call that was cut off; its text is kept if it is accepted next
        self.writing: dict[tuple[tuple[int, ...], int, str], TextDelta] = {}
        """Unfinished text from a listener's deltas, by chain, draft and role; for a child chain only the latest."""
        for event in happened:
            self.apply(event)

    def on_delta(self, delta: TextDelta) -> None:
        """Takes new text of a call; it becomes a span with the call's event."""
        place = (delta.chain, -1, "") if delta.chain else ((), delta.draft, delta.role)
        before = self.writing.get(place)
        self.writing[place] = structs.replace(delta, text=before.text + delta.text) if before and before.draft == delta.draft else delta

    def unfinished(self) -> list[Span]:
        """Returns the unfinished text that goes straight into the chain."""
        own = [delta for place, delta in self.writing.items() if delta.committed and not place[0]]
        return [Span(delta.role, delta.text, "kept", delta.phase) for delta in own]

    def apply(self, event: AnyEvent) -> None:
        """Takes the next event of the chain."""
        self._settle(event)
        if self._partial and not isinstance(event, events.Degraded | events.Inserted | events.Accepted):
            self._keep_partial(self._partial)
        match event:
            case events.Wrote():
                self._keep(Piece.of(event.call.role, event.proposal))
            case events.Drafted():
                self._propose(event)
            case events.Scored():
                scored = zip(event.drafts, event.logprobs, strict=True)
                self._readings.update((draft, (event.call.role, found)) for draft, found in scored)
            case events.Accepted():
                partial, self._partial = self._partial, None
                if partial and partial.proposal and partial.proposal.id not in event.drafts:
                    partial = self._keep_partial(partial)
                for number in event.drafts:
                    cut = event.cut if number == event.drafts[-1] else None
                    self._keep(Piece.of(*self._proposals[number], cut), ACCEPTED, *self._numbers(number, 0, cut[0] if cut else None))
                    self._open.discard(number)
                    if cut and not (partial and partial.proposal and partial.proposal.id == number):
                        self._discard_rest(number, *cut)
                if partial and not partial.lost:
                    rest = partial.call.produced_tokens - self.spans[-1].tokens
                    more = f", {rest} of its tokens are discarded" if rest else ""
                    self._note(partial.call.role, f"a call of {partial.call.role} was cut off here{more}", rest)
                self._answered(event.drafts)
            case events.Rejected():
                self._discard(event.drafts, event.reason)
                self._answered(event.drafts)
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
                self._reply(event.after, event.call, f"{event.call.role} was asked ({event.question}) and replied: {replies}")
            case events.Stopped():
                self._note("method", f"the thinking ends: {event.reason}")
            case events.Chose():
                self._note("method", event.reason)
            case events.Cancelled():
                self._cut_off(event)
            case events.Degraded():
                self._note(event.survivor, f"{event.role} is lost, {event.survivor} continues: {event.error}")
            case events.Ended():
                self.close()
            case _:
                pass

    def close(self) -> None:
        """Ends the timeline: open drafts are discarded."""
        if self._partial:
            self._keep_partial(self._partial)
        self._discard(sorted(self._open), UNDECIDED)
        self._answered(tuple(self._replies))
        self._leave(self._children)
        self._children = {}

    def _settle(self, event: AnyEvent) -> None:
        """Forgets unfinished text that is finished, cut off or replaced."""
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
            if copied:  # greedy drafts, which were computed once
                self._copies[proposal.id] = alike.setdefault((proposal.parent, proposal.completion.ids), set())
                self._copies[proposal.id].add(proposal.id)
            self._proposals[proposal.id] = (event.call.role, proposal)
            self._open.add(proposal.id)

    def _keep(self, piece: Piece, verdict: str = "", logprob: float | None = None, reading: tuple[str, float] | None = None) -> None:
        if piece.ends:
            self._ends.add(len(self.spans))
        self._pieces.append(len(self.spans))
        self.spans.append(Span(piece.author, piece.text, "kept", piece.phase, 0, piece.kept, verdict, logprob, reading))

    def _cut_off(self, event: events.Cancelled) -> None:
        if proposal := event.proposal:
            self._proposals[proposal.id] = (event.call.role, proposal)
            self._partial = event
        else:
            self._note_waste(event.call)

    def _keep_partial(self, partial: events.Cancelled) -> None:
        """Keeps the text of a cut-off call as it was streamed, since nothing continues it."""
        self._partial = None
        if partial.proposal:
            self.spans.append(Span(partial.call.role, partial.proposal.text, "kept", partial.proposal.phase))
        if not partial.lost:
            self._note_waste(partial.call)

    def _note_waste(self, call: events.Call) -> None:
        if tokens := call.produced_tokens:
            self._note(call.role, f"a call of {call.role} was cut off: its {tokens} tokens are discarded", tokens)

    def _reopen(self) -> None:
        """Takes back the end of the last phase: its token is no longer part of the chain."""
        last = next((place for place in reversed(self._pieces) if self.spans[place].text or self.spans[place].tokens), -1)
        if last in self._ends:
            self._ends.discard(last)
            self.spans[last] = structs.replace(self.spans[last], tokens=self.spans[last].tokens - 1)

    def _note(self, author: str, text: str, tokens: int = 0) -> None:
        self.spans.append(Span(author, text, "note", tokens=tokens))

    def _reply(self, after: int | None, call: events.Call, text: str) -> None:
        """Adds a model's reply: behind the decision on the draft that it was asked about."""
        span = Span(call.role, text, "note", tokens=call.produced_tokens)
        if after is not None and after in self._open:
            self._replies.setdefault(after, []).append(span)
        else:
            self.spans.append(span)

    def _answered(self, drafts: Iterable[int]) -> None:
        """Adds the replies about decided drafts."""
        for draft in drafts:
            self.spans += self._replies.pop(draft, ())

    def _discard(self, numbers: Iterable[int], why: str) -> None:
        for number in numbers:
            author, proposal = self._proposals[number]
            depth, above = 0, proposal.parent
            while above is not None:
                depth, above = depth + 1, self._proposals[above][1].parent
            self._open.discard(number)
            copies = self._copies.get(number, set())
            copies.discard(number)
            cost = 0 if copies else proposal.completion.produced
            self.spans.append(Span(author, proposal.text, "discarded", proposal.phase, depth, cost, why, *self._numbers(number)))

    def _discard_rest(self, number: int, tokens: int, characters: int) -> None:
        """Adds the tokens of an accepted draft that did not enter the chain."""
        author, proposal = self._proposals[number]
        if (left := proposal.completion.produced - tokens) > 0:
            verdict, text = REST if tokens else "rejected", proposal.text[characters:]
            self.spans.append(Span(author, text, "discarded", proposal.phase, 0, left, verdict, *self._numbers(number, tokens)))

    def _numbers(self, number: int, first: int = 0, end: int | None = None) -> tuple[float | None, tuple[str, float] | None]:
        """Returns `mean_logprob` and `reading` of the tokens first..end of a draft."""
        own = (self._proposals[number][1].completion.logprobs or ())[first:end]
        role, found = self._readings.get(number, ("", ()))
        logprob = _mean_logprob(found[first:end])
        return _mean_logprob(own), None if logprob is None else (role, logprob)

    def _take_back(self, pieces: int) -> None:
        for place in self._pieces[pieces:]:
            self.spans[place] = structs.replace(self.spans[place], status="discarded", verdict=TAKEN_BACK)
        del self._pieces[pieces:]

    def _become(self, index: int) -> None:
        self._take_back(0)
        self._leave({number: happened for number, happened in self._children.items() if number != index})
        child = Timeline(self._children[index])
        self._pieces = [len(self.spans) + place for place in child._pieces]
        self._ends = {len(self.spans) + place for place in child._ends}
        self.spans += child.spans
        self._children = {}

    def _leave(self, children: dict[int, Sequence[AnyEvent]]) -> None:
        """Adds the text of children that were not taken over."""
        for number, happened in children.items():
            self._note("method", f"chain {number + 1} on the same problem:")
            child = Timeline(happened)
            child.close()
            kept = [span for span in child.spans if span.status == "kept"]
            self.spans += [structs.replace(span, status="discarded", depth=1, verdict=f"chain {number + 1}") for span in _joined(kept)]


def _mean_logprob(logprobs: Sequence[float]) -> float | None:
    return round(fmean(logprobs), 4) if logprobs else None


def _joined(spans: Iterable[Span]) -> list[Span]:
    """Joins neighbours of one author and phase."""
    joined: list[Span] = []
    for span in spans:
        last = joined[-1] if joined else None
        if last and (last.author, last.phase) == (span.author, span.phase):
            tokens, logprob = last.tokens + span.tokens, _weighed(last, span)
            joined[-1] = structs.replace(last, text=last.text + span.text, tokens=tokens, mean_logprob=logprob, reading=None)
        else:
            joined.append(span)
    return joined


def _weighed(one: Span, other: Span) -> float | None:
    """Returns the mean over the tokens of both; None if that of one is not known."""
    parts = [span for span in (one, other) if span.tokens]
    known = [(span.mean_logprob, span.tokens) for span in parts if span.mean_logprob is not None]
    if not known or len(known) < len(parts):
        return None
    return sum(mean * tokens for mean, tokens in known) / sum(tokens for _, tokens in known)


class TraceRecorder:
    """A listener that keeps the events and the timeline of one chain."""

    def __init__(self) -> None:
        self.trace = Trace([])
        self.timeline = Timeline()

    def __call__(self, happened: AnyEvent | TextDelta) -> None:
        if isinstance(happened, TextDelta):
            self.timeline.on_delta(happened)
        else:
            self.trace.events.append(happened)
            self.timeline.apply(happened)
