"""A draft: text that a model proposed, and the place in the tree of text that it hangs at."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Literal

from msgspec import Struct, structs

from speculative.trace.events import Phase, Proposal


class Place(Struct, eq=False, gc=False):
    """A node of the tree of all text that was ever proposed for a chain. `taken`: how many hang below it.

    Seeds come from the place (path and sibling number), never from arrival order: so a chain among many draws what it
    draws alone.
    """

    key: int
    taken: int = 0

    def below(self) -> Place:
        """The next sibling below this place."""
        self.taken += 1
        return Place(int.from_bytes(blake2b(b"%d/%d" % (self.key, self.taken), digest_size=6).digest(), "big"))


class Mark:
    """A place in the chain's text to go back to. `age`: how often text had been taken back when it was made."""

    def __init__(self, pieces: int, place: Place, steps: tuple[int, str], age: int) -> None:
        self.pieces, self.place, self.steps, self.age = pieces, place, steps, age


class Draft:
    """Text that a model proposed; it hangs off the chain's end (`parent` None) or off another draft.

    `tokens` would be kept if it were accepted. `base` is the chain's end that it and the drafts above it hang off.
    """

    __slots__ = ("_hanging", "author", "base", "id", "parent", "place", "proposal", "scores", "state", "text", "tokens")

    def __init__(self, author: str, proposal: Proposal, parent: Draft | None, base: Place, place: Place) -> None:
        self.id = proposal.id
        self.text = proposal.text
        self.tokens = self._hanging = proposal.completion.produced - proposal.dropped
        self.author = author
        self.proposal = proposal
        self.parent = parent
        self.base = base
        if parent and parent.state == "open":
            self.base = parent.base
            self._hanging += parent._hanging
        self.place = place
        self.state: Literal["open", "accepted", "rejected"] = "open"
        self.scores: dict[str, list[float]] = {}

    def __repr__(self) -> str:
        return f"Draft({self.id}, {self.author}, {self.state}, {self.text!r})"

    @property
    def phase(self) -> Phase:
        return self.proposal.phase

    @property
    def ids(self) -> tuple[int, ...]:
        """The tokens of `text`, in the author's vocabulary."""
        completion = self.proposal.completion
        return completion.ids[: len(completion.ids) - self.proposal.dropped]

    @property
    def logprobs(self) -> tuple[float, ...]:
        """Log-probabilities (nats) of `ids` under the author. Empty unless they were asked for."""
        return (self.proposal.completion.logprobs or ())[: len(self.ids)]

    @property
    def finish(self) -> str:
        """Why its text ends: `stop`, `end` (of the thinking, or of the text), `length` or `context`."""
        return self.proposal.completion.finish

    @property
    def ended(self) -> bool:
        """Whether its author ended the thinking (or the answer) with it: nothing can be drafted after it."""
        return self.proposal.completion.end_id is not None

    @property
    def hanging(self) -> int:
        """Tokens from the chain's end down to its own last."""
        return 0 if self.state == "accepted" else self._hanging

    @property
    def above(self) -> Draft | None:
        """The draft that it hangs off; None when that is the chain's end."""
        return self.parent if self.parent and self.parent.state != "accepted" else None

    def path(self) -> list[Draft]:
        """From the first draft above that is not committed yet down to this one."""
        path: list[Draft] = []
        draft: Draft | None = self
        while draft is not None and draft.state != "accepted":
            path.append(draft)
            draft = draft.parent
        return path[::-1]

    def follows(self, committed: Draft) -> None:
        """What it hung off is committed down to that draft: from here on it hangs off the chain's new end."""
        self.base = committed.place
        self._hanging -= committed._hanging


def joined(parts: Sequence[Draft]) -> Draft:
    """Committed drafts that follow each other, as the one that they are together."""
    if len(parts) == 1:
        return parts[0]
    first, last = parts[0], parts[-1]
    before = tuple(token for part in parts[:-1] for token in part.ids)
    whole = structs.replace(last.proposal.completion, ids=before + last.proposal.completion.ids, logprobs=None)
    proposal = structs.replace(last.proposal, id=first.id, text="".join(part.text for part in parts), completion=whole)
    draft = Draft(last.author, proposal, first.parent, first.base, last.place)
    draft.state = last.state
    return draft
