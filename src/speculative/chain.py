"""The chain: what a method can do with the one text that two models write.

`write`, `accept`, `insert`, `rewind`, `become` and `answer` (of the chain itself) are exclusive: a second one at the same
time is a bug in the method and raises `ChainMisuse`. Drafts, scores and questions may overlap freely.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

from speculative import events
from speculative.asking import Asking, at_least_one
from speculative.draft import Draft, Mark, joined
from speculative.engines.base import Completion
from speculative.errors import ChainMisuse
from speculative.problem import FinishReason
from speculative.steps import STEP, Steps

Watcher = Callable[["Chain"], Awaitable[None]]


class Chain(Asking):
    """One chain of thought, and then its answer, that the engines of the roles write for one problem."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._busy: str | None = None
        self._watchers: list[Watcher] = []
        self._children: list[Chain] = []
        self._taken_back: list[int] = []
        self._over = False

    # ---- writing ----------------------------------------------------------------------------------------------------

    async def write(self, role: str, *, max_tokens: int | None = None, stop: str | None = None, temperature: float | None = None) -> Draft:
        """Generates and commits. Once the thinking is over nothing is written and no engine called.

        A chunk is longer than `max_tokens` only to end a character. When somebody watches the steps it pauses after each,
        and the draft that it gives is all of them together.
        """
        stops, parts, left = self._stops(stop), list[Draft](), max_tokens
        while True:
            part, steps = await self._write(role, left, stops, temperature)
            parts.append(part)
            await self._watch(steps)
            left = None if left is None else left - part.tokens
            paused = self._watchers and part.finish == "stop" and stop != STEP and not (stop and stop in part.text)
            if not paused or not self.thinking or (left is not None and left < 1):
                return joined(parts)

    async def _write(self, role: str, max_tokens: int | None, stops: tuple[str, ...], temperature: float | None) -> tuple[Draft, int]:
        at_least_one("write", max_tokens=max_tokens)
        with self._exclusive("write"):
            prefix = self._prefix(role)
            room = self._room(role, prefix)
            if self.thinking and room.tokens < 1:
                self._end(room.then)
            if not self.thinking:
                await asyncio.sleep(0)  # a method that never looks at `thinking` must still meet its deadline and Ctrl-C
                return self._nothing(role), 0
            base, place, number = self._place, self._place.below(), self._number(1)
            limit = room.tokens if max_tokens is None else min(room.tokens, max_tokens)
            decoding = self._decoding(place, limit, temperature=temperature, stop=stops, stop_ids=self._view(role).stop_ids)
            tell = self._telling(role, number, "thinking", self._append_only)
            found, call = await self._complete(role, [prefix], decoding, "write", room, tell)
            draft = self._make(role, number, found[0], place, base=base)
            self.record(events.Wrote(call=call, seed=decoding.seed, proposal=draft.proposal))
            steps = self._commit([draft])
            if self.thinking and (not draft.tokens or (draft.finish == "length" and limit == room.tokens)):
                self._end(room.then)
            return draft, steps

    async def accept(self, draft: Draft, *, keep_descendants: bool = False) -> None:
        """Commits the draft and what it hangs on. Every other open draft is rejected, and its work cancelled.

        `keep_descendants`: drafts that hang off the accepted one stay open, and so does the work on them.
        """
        with self._exclusive("accept"):
            path = draft.path()
            if not path or path[0].base is not self._place or any(above.state != "open" for above in path):
                raise ChainMisuse(f"accept: draft {draft.id} is {draft.state} or no longer hangs off the chain's end")
            self.record(events.Accepted(drafts=tuple(accepted.id for accepted in path)))
            for accepted in path:
                accepted.state = "accepted"
                del self._open[accepted.id]

            def lost(other: Draft | None) -> bool:
                above = other.path() if other else []
                return not (keep_descendants and (other is draft or (above and above[0].parent is draft)))

            grounded = self._flights.ground(lost)
            self._drop([other for other in self._open.values() if lost(other)], "another draft was accepted")
            steps = self._commit(path)
            await _landing(grounded)
        await self._watch(steps)

    async def insert(self, text: str) -> None:
        """Adds text that no model wrote. After an end of thinking it takes the end back, and the thinking goes on."""
        with self._exclusive("insert"):
            if self.answered:
                raise ChainMisuse("insert: the chain is answered already")
            if self._ledger.ended:
                self.finish = None
            self.record(events.Inserted(text=text, phase="thinking"))
            self._place = self._place.below()
            steps = self.steps.add(text)
            self._check_loop(steps)
            self._check_budget()
            await asyncio.sleep(0)  # a method that only inserts must still meet its deadline
        await self._watch(steps)

    async def resume(self) -> None:
        """Inserts the dialect's cue to go on thinking ("Wait"), be the thinking ended or not."""
        await self.insert(self._view(next(iter(self.engines))).dialect.resume(self._last_text()))

    def mark(self) -> Mark:
        """The chain's end, to `rewind` to."""
        return Mark(len(self._ledger.pieces), self._place, self.steps.mark, len(self._taken_back))

    async def rewind(self, mark: Mark) -> None:
        """Takes back all text after the mark: its tokens go from kept to discarded.

        The seeds of what is written then are new ones. An end that an `insert` took back stays taken back.
        """
        with self._exclusive("rewind"):
            if mark.pieces > min((len(self._ledger.pieces), *self._taken_back[mark.age :])):
                raise ChainMisuse("rewind: the text at the mark was taken back already")
            self.record(events.Rewound(pieces=mark.pieces))
            self._taken_back.append(mark.pieces)
            self._place = mark.place
            self.steps.rewind(mark.steps)
            self.finish = "stop" if self._ledger.ended else None
            self._check_budget()

    def at_step(self, watcher: Watcher) -> None:
        """Calls `watcher` after every commit that completes a step, of this chain or of a child that begins later."""
        self._watchers.append(watcher)

    # ---- whole chains -----------------------------------------------------------------------------------------------

    def child(self, seed: int | None = None, *, share: int = 1) -> Chain:
        """An empty chain on the same problem; its events are nested in this one's, its cost is this one's too.

        It may produce one of `share` equal parts of what is left of `max_produced`: so children that work at the same time
        do not depend on who comes first.
        """
        index = len(self._children)
        seed = self._place.below().key if seed is None else seed
        nested: dict[str, Any] = {"listener": self._listener, "append_only": False, "path": (*self.path, index)}
        child = Chain(self.problem, self.engines, parent=self, seed=seed, share=share, **nested)
        child._watchers = list(self._watchers)
        self._children.append(child)
        self.record(events.Child(index=index, seed=seed, events=child.trace.events))
        return child

    async def become(self, child: Chain) -> None:
        """Takes over a child's text, answer and finish reason; what this chain had written is discarded, its open drafts too."""
        with self._exclusive("become"):
            if child not in self._children:
                raise ChainMisuse("become: that chain is no child of this one")
            if child._busy:
                raise ChainMisuse(f"become: {child._busy} is still at work on the child; await it first")
            await child.close()
            self._drop(list(self._open.values()), "another chain was taken over")
            self.record(events.Became(index=child.path[-1]))
            self._taken_back.append(0)
            self._place, self.steps, self.finish = child._place, Steps(child.text), child.finish
            await _landing(self._flights.ground(lambda _: True))

    def stop(self, reason: str) -> None:
        """Ends the thinking from outside."""
        if self.thinking:
            self._end("stop", reason)

    async def answer(self, role: str, after: Draft | None = None) -> Draft:
        """Closes the thinking and writes the answer; cues one if a budget ended the thinking. After a draft it stays a draft."""
        if after and not (after.state == "accepted" and after.place is self._place):
            return await self._answer_draft(role, after)
        with self._exclusive("answer"):
            if self.answered:
                raise ChainMisuse("answer: the chain is answered already")
            if self._over:  # a raw text that its stop string ended has no answer apart
                return self._nothing(role, "answer")
            view = self._view(role)
            cue = view.dialect.answer_cue if self.finish in ("length", "loop", "context") else ""
            prefix = self._prefix(role) + view.parts([*view.dialect.close(self._last_text()), cue])
            room = self._answer_room(role, prefix)
            if room.tokens < 1:
                self.finish = room.then
                return self._nothing(role, "answer")
            base, place, number = self._place, self._place.below(), self._number(1)
            decoding = self._decoding(place, room.tokens, stop=self.problem.stop, stop_ids=view.end_ids)
            tell = self._telling(role, number, "answer", not self._parent)
            if cue and self._listener is not None:
                self._listener(events.TextDelta("method", cue, number, "answer", not self._parent, self.path))
            found, call = await self._complete(role, [prefix], decoding, "answer", room, tell)
            draft = self._make(role, number, found[0], place, base=base, phase="answer")
            self.record(events.Answered(call=call, seed=decoding.seed, cue=cue, proposal=draft.proposal))
            self._commit([draft])
            return draft

    async def _answer_draft(self, role: str, after: Draft) -> Draft:
        self._check_open(after, "answer")
        if after.phase == "answer":
            raise ChainMisuse(f"answer: draft {after.id} is an answer already")
        view, place, number = self._view(role), after.place.below(), self._number(1)
        prefix = self._prefix(role, after) + view.parts(view.dialect.close(self._last_text(after)))
        room = self._answer_room(role, prefix, after)
        decoding = self._decoding(place, room.tokens, stop=self.problem.stop, stop_ids=view.end_ids)
        flight, nothing = self._flights.begin([after]), [Completion((), room.then)]
        landed = nothing, self._caller.free(role)
        if room.tokens > 0:
            landed = await self._fly(flight, role, [prefix], decoding, "answer", room, self._telling(role, number, "answer"))
        found, call = landed or (nothing, None)
        draft = self._make(role, number, found[0], place, base=after.place, parent=after, phase="answer")
        self._propose([draft], decoding.seed, call, flight)
        self._check_budget()
        return draft

    async def abandon(self) -> None:
        """Cancels what is still under way and waits until its cost is taken down. Nothing can be written any more."""
        for child in self._children:
            await child.abandon()
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

    # ---- under the verbs --------------------------------------------------------------------------------------------

    def _stops(self, stop: str | None) -> tuple[str, ...]:
        """Where writing stops: at what the method wants, and at every step if somebody watches."""
        wanted = (stop,) if stop else ()
        return (*wanted, STEP) if self._watchers and stop != STEP else wanted

    @contextmanager
    def _exclusive(self, verb: str) -> Generator[None]:
        if self._busy:
            raise ChainMisuse(f"{verb}: {self._busy} is still at work on this chain; await it first")
        self._busy = verb
        try:
            yield
        finally:
            self._busy = None

    def _commit(self, path: Sequence[Draft]) -> int:
        """What follows from new text at the chain's end; says how many steps it completed."""
        steps = 0
        for draft in path:
            draft.state = "accepted"
            steps += self.steps.add(draft.text) if draft.phase == "thinking" else 0
        last = path[-1]
        self._place = last.place
        if last.phase == "answer":
            if self.finish in (None, "stop"):
                self.finish = last.finish if last.finish in ("length", "context") else "stop"
        elif last.ended:
            self.finish = "stop"
        elif last.finish == "context":
            self._end("context")
        elif self.problem.raw and last.finish == "stop" and any(stop in last.text for stop in self.problem.stop):
            self._over = True
            self._end("stop", "a stop string of the text")
        self._check_loop(steps)
        self._check_budget()
        return steps

    def _check_loop(self, steps: int) -> None:
        if self.thinking and steps and self.steps.looping:
            self._end("loop", "the same steps again and again")

    async def _watch(self, steps: int) -> None:
        if steps:
            for watcher in self._watchers:
                await watcher(self)


async def _landing(grounded: Sequence[asyncio.Task[Any]]) -> None:
    """Waits until cancelled calls are over and their cost is taken down."""
    if grounded:
        await asyncio.wait(grounded)
