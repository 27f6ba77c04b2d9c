"""The chain: what a method can do with the one text that two models write.

`write`, `accept`, `insert`, `rewind`, `become` and `answer` (of the chain itself) are exclusive: a second one at the same
time is a bug in the method and raises `ChainMisuse`. Drafts, scores and questions may overlap freely.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from speculative import events
from speculative.draft import Draft, Place
from speculative.engines.base import Completion, Tally, digest
from speculative.errors import ChainMisuse
from speculative.problem import FinishReason
from speculative.prompts import Question
from speculative.state import ChainState
from speculative.steps import Steps


class Mark:
    """A place in the chain's text to go back to."""

    def __init__(self, pieces: int, place: Place) -> None:
        self.pieces, self.place = pieces, place


class Chain(ChainState):
    """One chain of thought, and then its answer, that the engines of the roles write for one problem."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._busy: str | None = None
        self._watchers: list[Callable[[Chain], Awaitable[None]]] = []

    # ---- writing ----------------------------------------------------------------------------------------------------

    async def write(self, role: str, *, max_tokens: int | None = None, stop: str | None = None, temperature: float | None = None) -> Draft:
        """Generates and commits. Once the thinking is over nothing is written and no engine called."""
        with self._exclusive("write"):
            place, number, prefix = self._place.below(), self._number(1), self._prefix(role)
            room = self._room(role, prefix)
            if not self.thinking or room < 1:
                self._out_of_room(role, prefix)
                return self._make(role, number, Completion((), "length"), None, self._place, place, "thinking")
            decoding = self._decoding(role, room, place, max_tokens=max_tokens, stop=stop, temperature=temperature)
            found, call = await self._complete(role, [prefix], decoding, "write", self._telling(role, number, "thinking", self._append_only))
            draft = self._make(role, number, found[0], None, self._place, place, "thinking")
            self.record(events.Wrote(call=call, seed=decoding.seed, proposal=draft.proposal))
            steps = self._commit([draft])
        await self._watch(steps)
        return draft

    async def draft(
        self,
        role: str,
        n: int = 1,
        after: Draft | Sequence[Draft] | None = None,
        *,
        max_tokens: int | None = None,
        stop: str | None = None,
        temperature: float | None = None,
        logprobs: bool = False,
        asked: Question | None = None,
    ) -> list[Draft]:
        """Generates and commits nothing: `n` drafts after the chain's end, a draft, or each of several drafts (one call for all).

        With `asked` the text is the reply to that question instead of the chain's continuation. Where no room is left
        the drafts are empty. If `accept` ends the work meanwhile, what comes back is rejected and empty.
        """
        parents: list[Draft | None] = [after] if after is None or isinstance(after, Draft) else list(after)
        for parent in parents:
            self._check_open(parent, "draft")
            if parent and parent.ended:
                raise ChainMisuse(f"draft: draft {parent.id} ended, nothing can follow it")
        bases = [parent.place if parent else self._place for parent in parents for _ in range(n)]
        owners, places, first = [parent for parent in parents for _ in range(n)], [base.below() for base in bases], self._number(n * len(parents))
        prefixes = [self._asking(role, asked, parent)[0] if asked else self._prefix(role, parent) for parent in parents]
        room = self._room(role, max(prefixes, key=len), parents, n)
        landed: tuple[list[Completion], events.Call] | None = ([Completion((), "length")] * len(owners), self._caller.free(role))
        decoding = self._decoding(role, room, places[0], max_tokens=max_tokens, stop=stop, temperature=temperature, n=n, logprobs=logprobs)
        if self.thinking and room > 0:
            landed = await self._fly(self._complete(role, prefixes, decoding, "draft", self._telling(role, first, "thinking")), parents)
        found, call = landed or ([Completion((), "length")] * len(owners), None)
        drafts = [self._make(role, first + i, found[i], owners[i], bases[i], places[i], "thinking") for i in range(len(owners))]
        self._propose(drafts, decoding.seed, call)
        return drafts

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

            def spared(other: Draft | None) -> bool:
                return keep_descendants and other is not None and (other is draft or (other.state == "open" and other.path()[0].parent is draft))

            self._drop([other for other in self._open.values() if not spared(other)], "another draft was accepted")
            self._ground(spared)
            steps = self._commit(path)
        await self._watch(steps)

    def reject(self, draft: Draft | Sequence[Draft], reason: str = "") -> None:
        """Records the waste: these drafts, and what hangs off them, will not be in the chain."""
        drafts = [draft] if isinstance(draft, Draft) else list(draft)
        self._drop([other for other in self._open.values() if any(above in drafts for above in other.path())], reason)

    async def insert(self, text: str) -> None:
        """Adds text that no model wrote. After an end of thinking it takes the end back, and the thinking goes on."""
        with self._exclusive("insert"):
            if self.answered:
                raise ChainMisuse("insert: the chain is answered already")
            if self._ledger.pieces and self._ledger.pieces[-1].ends:
                self.finish = None
            self.record(events.Inserted(text=text, phase="thinking"))
            self._place = self._place.below()
            steps = self.steps.add(text)
            self._check_budget()
        await self._watch(steps)

    async def resume(self) -> None:
        """Inserts the dialect's cue to go on thinking ("Wait"), be the thinking ended or not."""
        await self.insert(self._view(next(iter(self.engines))).dialect.resume(self._last_text))

    def mark(self) -> Mark:
        """The chain's end, to `rewind` to."""
        return Mark(len(self._ledger.pieces), self._place)

    async def rewind(self, mark: Mark) -> None:
        """Takes back all text after the mark: its tokens go from kept to discarded."""
        with self._exclusive("rewind"):
            if mark.pieces > len(self._ledger.pieces):
                raise ChainMisuse("rewind: the mark lies ahead of the chain's end")
            self.record(events.Rewound(pieces=mark.pieces))
            self._place, self.steps, self.finish = mark.place, Steps(self.text), None
            if self._ledger.pieces and self._ledger.pieces[-1].ends:
                self.finish = "stop"
            self._check_budget()

    def at_step(self, watcher: Callable[[Chain], Awaitable[None]]) -> None:
        """Calls `watcher` after every commit that completes a step."""
        self._watchers.append(watcher)

    # ---- asking -----------------------------------------------------------------------------------------------------

    async def score(self, role: str, drafts: Sequence[Draft]) -> list[list[float]]:
        """Log-probability (nats) under a role's model of every token of each draft, one call for all; also in `draft.scores`."""
        view, same = self._view(role), self._same(role)
        for draft in drafts:
            self._check_open(draft, "score")
        prefixes = [self._prefix(role, draft.parent if draft.parent and draft.parent.state == "open" else None) for draft in drafts]
        given = [tuple(view.ids_of(draft.author, draft.text, draft.ids, same)) for draft in drafts]

        async def work(tally: Tally) -> list[list[float]]:
            return await view.engine.score(prefixes, given, key=self._caller.key, tally=tally)

        scores, call = await self._caller.paid(role, "score", work)
        for draft, logprobs in zip(drafts, scores, strict=True):
            draft.scores[role] = logprobs
        numbers, found = tuple(draft.id for draft in drafts), tuple(tuple(logprobs) for logprobs in scores)
        self.record(events.Scored(call=call, drafts=numbers, logprobs=found, digest=digest(prefixes, given)))
        return scores

    async def ask(
        self, role: str, question: Question | str, after: Draft | None = None, *, n: int = 1, max_tokens: int = 256, temperature: float | None = None
    ) -> list[str]:
        """A side question about the chain, or about the chain and a draft: `n` replies, which never enter the chain."""
        question = Question("free", question) if isinstance(question, str) else question
        self._check_open(after, "ask")
        view, place = self._view(role), (after.place if after else self._place).below()
        prefix, stop = self._asking(role, question, after)
        room = min(max_tokens, view.engine.context - len(prefix), self._producible(n))
        if room < 1:
            return [""] * n
        decoding = self._sampled(place, room, temperature, n, stop, view.stop_ids)
        found, call = await self._complete(role, [prefix], decoding, "ask")
        replies, number = tuple(view.text_of(reply) for reply in found), after.id if after else None
        self.record(
            events.Asked(call=call, seed=place.key, question=question.kind, after=number, replies=replies, completions=tuple(found))
        )
        self._check_budget()
        return list(replies)

    async def warm(self, role: str) -> None:
        """Lets an idle model prefill what it has not seen: one token, which is thrown away."""
        place = self._place.below()
        found, call = await self._complete(role, [self._prefix(role)], self._sampled(place, 1, 0.0, 1, (), ()), "warm")
        self.record(events.Warmed(call=call, seed=place.key, completion=found[0]))
        self._check_budget()

    # ---- whole chains -----------------------------------------------------------------------------------------------

    def child(self, seed: int | None = None) -> Chain:
        """An empty chain on the same problem; its events are nested in this one's, its cost is this one's too."""
        index = len(self._children)
        seed = self._place.below().key if seed is None else seed
        child = Chain(self.problem, self.engines, listener=self._listener, append_only=False, parent=self, path=(*self.path, index), seed=seed)
        self._children.append(child)
        self.record(events.Child(index=index, seed=seed, events=child.trace.events))
        return child

    async def become(self, child: Chain) -> None:
        """Takes over a child's text, answer and finish reason; what this chain had written is discarded."""
        with self._exclusive("become"):
            if child not in self._children:
                raise ChainMisuse("become: that chain is no child of this one")
            child.close()
            self.record(events.Became(index=child.path[-1]))
            self._place, self.steps, self.finish = child._place, Steps(child.text), child.finish

    def stop(self, reason: str) -> None:
        """Ends the thinking from outside."""
        if self.thinking:
            self._end(reason, "stop")

    async def answer(self, role: str, after: Draft | None = None) -> Draft:
        """Closes the thinking and writes the answer; cues one if a budget ended the thinking. After a draft it stays a draft."""
        if after:
            return await self._answer_draft(role, after)
        with self._exclusive("answer"):
            if self.answered:
                raise ChainMisuse("answer: the chain is answered already")
            view, place, number = self._view(role), self._place.below(), self._number(1)
            cue = view.dialect.answer_cue if self.finish in ("length", "loop", "context") else ""
            prefix = self._prefix(role) + view.parts([*view.dialect.close(self._last_text), *([cue] if cue else [])])
            room = min(self.problem.max_tokens - self.tokens, view.engine.context - len(prefix), self._producible(1, 0))
            if cue and self._listener:
                self._listener(events.TextDelta("method", cue, number, "answer", True, self.path))
            if room < 1:
                self.finish = "context" if len(prefix) >= view.engine.context else "length"
                return self._make(role, number, Completion((), "length"), None, self._place, place, "answer")
            decoding = self._sampled(place, room, None, 1, self.problem.stop, view.end_ids)
            found, call = await self._complete(role, [prefix], decoding, "answer", self._telling(role, number, "answer", not self._parent))
            draft = self._make(role, number, found[0], None, self._place, place, "answer")
            self.record(events.Answered(call=call, seed=decoding.seed, cue=cue, proposal=draft.proposal))
            self._finish_answer(draft)
            return draft

    async def _answer_draft(self, role: str, after: Draft) -> Draft:
        self._check_open(after, "answer")
        view, place, number = self._view(role), after.place.below(), self._number(1)
        prefix = self._prefix(role, after) + view.parts(view.dialect.close(after.text or self._last_text))
        spent = self.tokens + sum(draft.tokens for draft in after.path())
        room = min(self.problem.max_tokens - spent, view.engine.context - len(prefix), self._producible(1, 0))
        decoding = self._sampled(place, max(room, 1), None, 1, self.problem.stop, view.end_ids)
        landed = await self._fly(self._complete(role, [prefix], decoding, "answer", self._telling(role, number, "answer")), [after])
        draft = self._make(role, number, landed[0][0] if landed else Completion((), "length"), after, after.place, place, "answer")
        self._propose([draft], decoding.seed, landed[1] if landed else None)
        return draft

    def close(self) -> None:
        """The chain is over: what is still open is waste, and the trace gets its end. Called by the runner."""
        if self.trace.ended:
            return
        for child in self._children:
            child.close()
        self._ground(lambda _: False)
        self._drop(list(self._open.values()), "the chain ended")
        self.finish = self.finish or "stop"
        self.record(events.Ended(finish_reason=self.finish, seconds=self.elapsed))

    # ---- under the verbs --------------------------------------------------------------------------------------------

    @contextmanager
    def _exclusive(self, verb: str) -> Iterator[None]:
        if self._busy:
            raise ChainMisuse(f"{verb}: {self._busy} is still at work on this chain; await it first")
        self._busy = verb
        try:
            yield
        finally:
            self._busy = None

    def _propose(self, drafts: list[Draft], seed: int, call: events.Call | None) -> None:
        """Opens drafts that a call brought; without a call `accept` ended the work, and they are rejected."""
        if call is None:
            for draft in drafts:
                draft.state = "rejected"
            return
        self._open |= {draft.id: draft for draft in drafts}
        self.record(events.Drafted(call=call, seed=seed, proposals=tuple(draft.proposal for draft in drafts)))
        self._check_budget()

    def _commit(self, path: Sequence[Draft]) -> int:
        """What follows from new text at the chain's end; says how many steps it completed."""
        steps = 0
        for draft in path:
            draft.state = "accepted"
            steps += self.steps.add(draft.text) if draft.phase == "thinking" else 0
        last = path[-1]
        self._place = last.place
        if last.phase == "answer":
            self._finish_answer(last)
        elif last.ended:
            self.finish = self.finish or "stop"
        elif last.finish == "context":
            self._end("context", "context")
        elif self.thinking and self.steps.looping:
            self._end("the same steps again and again", "loop")
        self._check_budget()
        return steps

    def _finish_answer(self, draft: Draft) -> None:
        self._place = draft.place
        reason: FinishReason = {"length": "length", "context": "context"}.get(draft.finish, "stop")  # pyright: ignore[reportAssignmentType]
        self.finish = reason if self.finish in (None, "stop") else self.finish

    async def _watch(self, steps: int) -> None:
        if steps:
            for watcher in self._watchers:
                await watcher(self)
