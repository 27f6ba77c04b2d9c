"""The chain: what a method can do with the one text that two models write.

`write`, `accept`, `insert`, `rewind`, `become` and `answer` (of the chain itself) are exclusive: a second one at the same
time is a bug in the method and raises `ChainStateError`. Drafts, scores and questions may overlap freely.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from speculative.chain.drafts import Draft, Mark
from speculative.chain.steps import Steps
from speculative.chain.verb import IDLE, shown, typed, verb, whole
from speculative.chain.writing import Writing
from speculative.errors import ChainStateError
from speculative.problem import FinishReason
from speculative.trace import events

Watcher = Callable[["Chain"], Awaitable[None]]


class Chain(Writing):
    """One chain of thought, and then its answer, that the engines of the roles write for one problem."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._children: list[Chain] = []
        self._taken_back: list[int] = []

    # ---- text ---------------------------------------------------------------------------------------------------------

    @verb
    async def accept(self, draft: Draft, *, keep_descendants: bool = False) -> None:
        """Commits the draft and what it hangs on. Every other open draft is rejected, and its work cancelled.

        `keep_descendants`: drafts that hang off the accepted one stay open, and so does the work on them.
        """
        with self._exclusive("accept"):
            if not isinstance(draft, Draft):  # pyright: ignore[reportUnnecessaryIsInstance]  of a method that is not typed
                raise ChainStateError(f"accept: draft must be a draft, got {shown(draft)}")
            if draft.state != "open" or draft.base is not self._place:
                raise ChainStateError(f"accept: draft {draft.id} is {draft.state} or no longer hangs off the chain's end")
            path = draft.path()
            self.record(events.Accepted(drafts=tuple(accepted.id for accepted in path)))
            for accepted in path:
                accepted.state = "accepted"
                del self._open[accepted.id]

            def lost(other: Draft | None) -> bool:
                return (
                    not keep_descendants or not other or (other is not draft and all(above.parent is not draft for above in other.path()))
                )

            grounded = self._flights.ground(lost)
            self._drop([other for other in self._open.values() if lost(other)], "another draft was accepted")
            for kept in self._open.values():
                kept.follows(draft)
            steps = self._commit(path)
            if self.finish is None and not draft.tokens and draft.finish == "length":
                self._check_room(draft.author)
            await _landing(grounded)
        await self._watch(steps)

    @verb
    async def insert(self, text: str) -> None:
        """Adds text that no model wrote. After an end of thinking it takes the end back, and the thinking goes on."""
        with self._exclusive("insert"):
            typed("insert", str, "a text", text=text)
            self._check_unanswered("insert")
            pieces = self._ledger.pieces
            if len(pieces) >= IDLE and not any(piece.kept > piece.ends for piece in reversed(pieces[-IDLE:])):
                raise ChainStateError(f"insert: {IDLE} texts in a row were inserted and no model wrote; end the loop that inserts them")
            if self._ledger.ended:
                self.finish = None
            self.record(events.Inserted(text=text, phase="thinking"))
            self._place = self._place.below()
            steps = self.steps.add(text)
            self._check_loop(steps)
            self._check_budget()
            await asyncio.sleep(0)  # a method that only inserts must still meet its deadline
        await self._watch(steps)

    @verb
    async def resume(self) -> None:
        """Inserts the dialect's cue to go on thinking ("Wait"), be the thinking ended or not."""
        await self.insert(self._view(next(iter(self.engines))).dialect.resume(self._last_text()))

    def mark(self) -> Mark:
        """The chain's end, to `rewind` to."""
        return Mark(len(self._ledger.pieces), self._place, self.steps.mark, len(self._taken_back))

    @verb
    async def rewind(self, mark: Mark) -> None:
        """Takes back all text after the mark: its tokens go from kept to discarded.

        The seeds of what is written then are new ones. An end that an `insert` took back stays taken back.
        """
        with self._exclusive("rewind"):
            typed("rewind", Mark, "a mark", mark=mark)
            if mark.pieces > min((len(self._ledger.pieces), *self._taken_back[mark.age :])):
                raise ChainStateError("rewind: the text at the mark was taken back already")
            self.record(events.Rewound(pieces=mark.pieces))
            self._taken_back.append(mark.pieces)
            self._warming.taken_back(self.tokens)
            self._place = mark.place
            self.steps.rewind(mark.steps)
            self.finish = "stop" if self._ledger.ended else None
            self._check_budget()

    def at_step(self, watcher: Watcher) -> None:
        """Calls `watcher` after every commit that completes a step, of this chain or of a child that begins later."""
        self.check_awaited()
        plain = inspect.isfunction(watcher) and watcher.__name__ != "<lambda>" and not hasattr(watcher, "__wrapped__")
        if not callable(watcher) or inspect.isbuiltin(watcher) or (plain and not inspect.iscoroutinefunction(watcher)):
            raise ChainStateError(f"at_step: watcher must be an async function, got {shown(watcher)}")
        self._watchers.append(watcher)

    # ---- whole chains -----------------------------------------------------------------------------------------------

    def child(self, seed: int | None = None, *, share: int = 1) -> Chain:
        """An empty chain on the same problem; its events are nested in this one's, its cost is this one's too.

        It may produce one of `share` equal parts of what is left of `max_produced`: so children that work at the same time
        do not depend on who comes first.
        """
        self.check_awaited()
        whole("child", None, seed=seed)
        whole("child", share=share)
        index = len(self._children)
        seed = self._place.below().key if seed is None else seed
        nested: dict[str, Any] = {"listener": self._listener, "append_only": False, "path": (*self.path, index)}
        child = Chain(self.problem, self.engines, parent=self, seed=seed, share=share, **nested)
        child._watchers = list(self._watchers)
        self._children.append(child)
        self.record(events.Child(index=index, seed=seed, events=child.trace.events))
        return child

    @verb
    async def become(self, child: Chain) -> None:
        """Takes over a child's text, answer and finish reason; what this chain had written is discarded, its open drafts too."""
        with self._exclusive("become"):
            if child not in self._children:
                raise ChainStateError("become: that chain is no child of this one")
            if child._busy:
                raise ChainStateError(f"become: {child._busy} is still at work on the child; await it first")
            await child.close()
            self._drop(list(self._open.values()), "another chain was taken over")
            self.record(events.Became(index=child.path[-1]))
            self._taken_back.append(0)
            self._warming.taken_back(0)
            self._roles.lost = self._roles.lost or child._roles.lost
            self._place, self.steps, self.finish = child._place, Steps(child.text), child.finish
            await _landing(self._flights.ground(lambda _: True))

    def stop(self, reason: str) -> None:
        """Ends the thinking from outside."""
        self.check_awaited()
        typed("stop", str, "a text", reason=reason)
        if self.finish is None:
            self._end("stop", reason)

    async def abandon(self) -> None:
        """Cancels what is still under way and waits until its cost is taken down. Nothing can be written any more."""
        for child in self._children:
            await child.abandon()
        await self._warming.close()
        await self._caller.close()

    async def close(self, finish: FinishReason = "stop") -> None:
        """The chain is over: what is still open is waste, and the trace gets its end. Called by the runner.

        `finish` is the reason if nothing else ended the thinking.
        """
        if self.trace.ended:
            return
        await self.abandon()
        self.finish = self.finish or finish
        for child in self._children:
            await child.close("time" if self.finish == "time" else "stop")
        self._drop(list(self._open.values()), "the chain ended")
        self.record(events.Ended(finish_reason=self.finish, seconds=self.elapsed))


async def _landing(grounded: Sequence[asyncio.Task[Any]]) -> None:
    """Waits until cancelled calls are over and their cost is taken down."""
    if grounded:
        await asyncio.wait(grounded)
