"""Drafts, and the tree of all text that was ever proposed for a chain."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Literal, cast

from msgspec import Struct, field, structs

from speculative.chain.text_stream import cut, extended
from speculative.engines.base import Scores, Top, entropy_of
from speculative.errors import ChainStateError
from speculative.trace.events import Phase, Proposal

Limit = Literal["length", "context"]
"""The reasons why a text ends that could go on."""

CHILD = "child"
"""The domain of child chains: they are no text of the chain."""


class TreeNode(Struct, eq=False, gc=False):
    """Marks a place in the tree of all proposed text.

    `children` counts the nodes below it, by domain. Seeds come from the node: its path, and its number among the siblings of one domain
    (a verb and a role). They never come from arrival order. Calls in one domain change nothing in another.
    """

    key: int
    children: dict[str, int] = field(default_factory=dict[str, int])

    def new_child(self, domain: str) -> TreeNode:
        """Returns the next sibling of a domain below this node."""
        number = self.children[domain] = self.children.get(domain, 0) + 1
        return TreeNode(int.from_bytes(blake2b(f"{self.key}/{domain}/{number}".encode(), digest_size=6).digest(), "big"))

    def moved(self) -> TreeNode:
        """Returns a node for a later end of the same text.

        It has the seeds of this node, but is another place to attach drafts to.
        """
        return TreeNode(self.key, self.children)


class Checkpoint:
    """Marks an end of the chain to rewind to.

    `rewinds` counts the rewinds before it was made, `tree` is that of the chain.
    """

    def __init__(self, pieces: int, entries: int, node: TreeNode, steps: tuple[int, str], rewinds: int, tree: DraftTree) -> None:
        self.pieces, self.entries, self.node, self.steps, self.rewinds, self.tree = pieces, entries, node, steps, rewinds, tree


class Draft:
    """Holds text that a model proposed after the chain's end or another draft.

    `parent` is that other draft, or None at the chain's end. `tokens` would be kept if it were accepted: one that ends the thinking counts,
    although `ids`, `logprobs` and `top` are those of `text` alone. `base` is the chain's end that it and the drafts before it follow,
    `depth` the tokens from there down to its own last.
    """

    __slots__ = ("author", "base", "depth", "id", "node", "parent", "proposal", "rewards", "scores", "state", "text", "tokens")

    def __init__(self, author: str, proposal: Proposal, parent: Draft | None, base: TreeNode, node: TreeNode) -> None:
        self.id = proposal.id
        self.text = proposal.text
        self.tokens = self.depth = proposal.completion.produced - proposal.dropped
        self.author = author
        self.proposal = proposal
        self.parent = parent
        self.base = base
        if parent and parent.state == "open":
            self.base = parent.base
            self.depth += parent.depth
        self.node = node
        self.state: Literal["open", "accepted", "rejected"] = "open"
        self.scores: dict[str, Scores] = {}
        self.rewards: dict[str, float] = {}

    def __repr__(self) -> str:
        return f"Draft({self.id}, {self.author}, {self.state}, {self.text!r})"

    @property
    def phase(self) -> Phase:
        """`thinking` or `answer`."""
        return self.proposal.phase

    @property
    def ids(self) -> tuple[int, ...]:
        """The tokens of `text`, in the author's vocabulary."""
        completion = self.proposal.completion
        return completion.ids[: len(completion.ids) - self.proposal.dropped]

    @property
    def logprobs(self) -> tuple[float, ...]:
        """Log-probabilities (nats) of `ids` under the author.

        Empty unless they were asked for.
        """
        return (self.proposal.completion.logprobs or ())[: len(self.ids)]

    @property
    def finish(self) -> str:
        """The reason why its text ends.

        `stop`, `end` (of the thinking, or of the text), `length`, `context`, `loop` or `until`. It is `no room` if there was no room to
        draft it, and `cut` if `accept` or `reject` cancelled the work on it.
        """
        return self.proposal.completion.finish

    @property
    def no_room(self) -> bool:
        """True if no engine was called, because there was no room for any text."""
        return self.finish == "no room"

    def top(self, place: int) -> Top:
        """Returns the most likely tokens at the place of a token, likeliest first.

        Each comes with its log-probability (nats). Raises `ChainStateError` unless the draft was made with `logprobs=K`, and for a place
        that it does not have.
        """
        tops, given, count = self.proposal.completion.top_logprobs, cast("object", place), len(self.ids)
        if tops is None:
            raise ChainStateError(f"draft {self.id} must have its likely tokens; draft it with logprobs=K")
        if isinstance(given, bool) or not isinstance(given, int) or not 0 <= given < count:
            allowed = f"must be from 0 to {count - 1}" if count else "cannot be given for a draft without text"
            raise ChainStateError(f"draft {self.id}: the place of a token {allowed}, got {given!r:.80}")
        return tops[place]

    def entropy(self, place: int) -> float:
        """Returns the entropy (nats) of the K most likely tokens at a place.

        Their probabilities are scaled to a sum of 1.
        """
        return entropy_of(self.top(place))

    def cut(self, text: str, tokens: int) -> None:
        """Shortens the draft to the text of its first tokens."""
        kept = cut(self.proposal.completion, tokens, "until")
        self.proposal = structs.replace(self.proposal, text=text, completion=kept, dropped=0)
        self.depth -= self.tokens - tokens
        self.text, self.tokens = text, tokens
        self.scores, self.rewards = {}, {}  # they were of the whole draft
        self.node = self.node.new_child(f"cut {tokens}")

    @property
    def ended(self) -> bool:
        """True if its author ended the thinking (or the answer) with this draft.

        Nothing can be drafted after it.
        """
        return self.proposal.completion.end_id is not None

    @property
    def depth_tokens(self) -> int:
        """Tokens that its acceptance would add to the chain."""
        return 0 if self.state == "accepted" else self.depth

    @property
    def parent_draft(self) -> Draft | None:
        """The open draft that it follows; None if it follows the chain's end."""
        return self.parent if self.parent and self.parent.state != "accepted" else None

    @property
    def answer_start(self) -> Draft:
        """The first part of the answer that it belongs to; itself if it is thinking."""
        return next((draft for draft in self.path() if draft.phase == "answer"), self)

    def path(self) -> list[Draft]:
        """Returns the drafts from the chain's end down to this one."""
        path: list[Draft] = []
        draft: Draft | None = self
        while draft is not None and draft.state != "accepted":
            path.append(draft)
            draft = draft.parent
        return path[::-1]

    def reparent(self, committed: Draft) -> None:
        """Moves this draft to the chain's new end after the draft before it was accepted."""
        self.base = committed.node
        self.depth -= committed.depth


class DraftTree:
    """The open drafts of one chain. `end` is the node of the chain's end."""

    def __init__(self, seed: int) -> None:
        self.end = self._root = TreeNode(seed)
        self.open: dict[int, Draft] = {}
        self._numbers = 0

    @property
    def has_grown(self) -> bool:
        """True if any text was written, drafted or inserted, or a question asked."""
        return bool(self._numbers or self.end is not self._root or any(domain != CHILD for domain in self.end.children))

    def new_numbers(self, n: int) -> int:
        """Reserves `n` numbers for drafts, and returns the first.

        They follow the order of the calls, not of their returns.
        """
        self._numbers += n
        return self._numbers - n

    def can_attach(self, parent: Draft | None, base: TreeNode) -> bool:
        """Returns whether a draft can still be attached below `parent`.

        Without a parent, `base` must still be the chain's end.
        """
        if parent is None or parent.state == "accepted":
            return base is self.end
        return parent.state == "open" and parent.base is self.end

    def check_open(self, draft: Draft | None, verb: str) -> None:
        """Raises `ChainStateError` for a draft that nothing can follow.

        A draft can be followed if it is open at the chain's end, or is the chain's end.
        """
        if draft is None or (draft.state == "accepted" and draft.node is self.end):
            return
        if draft.state != "open":
            raise ChainStateError(f"{verb}: draft {draft.id} is {draft.state}, nothing can follow it")
        if draft.base is not self.end:
            raise ChainStateError(f"{verb}: draft {draft.id} does not follow the chain's end")

    def check_parents(self, parents: Sequence[Draft | None]) -> None:
        """Raises `ChainStateError` for a draft that no thinking can follow."""
        for parent in parents:
            self.check_open(parent, "draft")
            if parent and (parent.ended or parent.phase == "answer"):
                raise ChainStateError(f"draft: draft {parent.id} ended, nothing can follow it")

    def check_scorable(self, drafts: Sequence[Draft], verb: str) -> None:
        """Raises `ChainStateError` for a draft that is not open."""
        for draft in drafts:
            self.check_open(draft, verb)
            if draft.state != "open":
                raise ChainStateError(f"{verb}: draft {draft.id} is in the chain already; {verb} it before it is accepted")

    def check_acceptable(self, draft: Draft) -> list[Draft]:
        """Returns the drafts from the chain's end down to one that can be accepted.

        Raises `ChainStateError` for any other.
        """
        if draft.state != "open":
            raise ChainStateError(f"accept: draft {draft.id} must be open, got {draft.state}; draft again")
        if draft.base is not self.end:
            raise ChainStateError(f"accept: draft {draft.id} does not follow the chain's end")
        return draft.path()

    def add(self, drafts: Sequence[Draft]) -> None:
        """Opens drafts."""
        self.open |= {draft.id: draft for draft in drafts}

    def take(self, path: Sequence[Draft]) -> None:
        """Takes accepted drafts out of the open ones."""
        for draft in path:
            draft.state = "accepted"
            del self.open[draft.id]

    def reparent_all(self, committed: Draft) -> None:
        """Moves the drafts that are still open to the chain's new end."""
        for draft in self.open.values():
            draft.reparent(committed)

    def with_descendants(self, drafts: Iterable[Draft]) -> set[Draft]:
        """Returns the drafts and all open ones that follow them.

        A draft is opened after the one that it follows.
        """
        found = set(drafts)
        for draft in self.open.values():
            if draft.parent in found:
                found.add(draft)
        return found

    def drop(self, drafts: Sequence[Draft]) -> None:
        """Takes rejected drafts out of the open ones."""
        for draft in drafts:
            draft.state = "rejected"
            del self.open[draft.id]


def joined(parts: Sequence[Draft], finish: Limit | None = None) -> Draft:
    """Returns committed drafts that follow each other as one draft.

    `finish` is the reason why its text ends, the last part's if None.
    """
    if len(parts) == 1 and finish is None:
        return parts[0]
    first, last = parts[0], parts[-1]
    whole = last.proposal.completion
    for part in reversed(parts[:-1]):
        whole = extended(cut(part.proposal.completion, len(part.ids), "stop"), whole)
    lacking = [name for name in ("logprobs", "top_logprobs") if any(getattr(one.proposal.completion, name) is None for one in parts)]
    whole = structs.replace(whole, finish=finish or whole.finish, **dict.fromkeys(lacking))
    proposal = structs.replace(last.proposal, id=first.id, text="".join(part.text for part in parts), completion=whole)
    draft = Draft(last.author, proposal, first.parent, first.base, last.node)
    draft.state = last.state
    return draft
