"""The verbs by which what a model writes enters the chain at once: `write` and `answer`."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from speculative.chain.asking import Asking
from speculative.chain.calling import Landed
from speculative.chain.calls import Cut
from speculative.chain.drafts import Draft, Place, joined
from speculative.chain.steps import STEP
from speculative.chain.verb import number, shown, typed, verb, whole
from speculative.engines.base import Completion
from speculative.errors import ChainStateError, EngineError
from speculative.trace import events
from speculative.trace.events import Phase


class Writing(Asking):
    """Text that is committed as it is written, and what follows from a commit."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._busy: str | None = None
        self._watchers: list[Callable[[Any], Awaitable[None]]] = []
        self._over = False

    @verb
    async def write(self, role: str, *, max_tokens: int | None = None, stop: str | None = None, temperature: float | None = None) -> Draft:
        """Generates and commits. Once the thinking is over nothing is written and no engine called.

        A chunk is longer than `max_tokens` only to end a character. When somebody watches the steps it pauses after each,
        and the draft that it gives is all of them together.
        """
        whole("write", max_tokens=max_tokens)
        number("write", temperature=temperature)
        typed("write", str, "a text", stop=stop)
        self._check_unanswered("write")
        stops, parts, left = self._stops(stop), list[Draft](), max_tokens
        while True:
            part, steps = await self._write(role, left, stops, temperature)
            parts.append(part)
            await self._watch(steps)
            left = None if left is None else left - part.tokens
            paused = self._watchers and part.finish == "stop" and stop != STEP and not (stop and stop in part.text)
            if not (paused or part.finish == "cut") or self.finish is not None or (left is not None and left < 1):
                return joined(parts)

    async def _write(self, role: str, max_tokens: int | None, stops: tuple[str, ...], temperature: float | None) -> tuple[Draft, int]:
        self._view(role)
        with self._exclusive("write"):
            base, place, number = self._place, self._place.below(), self._number(1)

            async def written(role: str) -> tuple[Draft, int]:
                prefix = self._prefix(role)
                room = self._room(role, prefix)
                if self.finish is None and room.tokens < 1:
                    self._end(room.then)
                if self.finish is not None:
                    await asyncio.sleep(0)  # a method that never looks at `thinking` must still meet its deadline and Ctrl-C
                    self._did_nothing("write")
                    return self._nothing(role), 0
                limit = room.tokens if max_tokens is None else min(room.tokens, max_tokens)
                decoding = self._decoding(place, limit, temperature=temperature, stop=stops, stop_ids=self._view(role).stop_ids)
                tell = self._telling(role, number, "thinking", self._append_only)
                half = Half(role, partial(self._proposal, role, number))
                try:
                    found, call = await self._complete(role, [prefix], decoding, "write", room, tell, half)
                except EngineError as error:
                    return self._rescued(half, error, base, place)
                except asyncio.CancelledError:
                    if half.proposal and self._append_only:
                        self._kept(half.role, half.proposal, base, place)
                    raise
                draft = self._make(role, number, found[0], place, base=base)
                self.record(events.Wrote(call=call, seed=decoding.seed, proposal=draft.proposal))
                steps = self._commit([draft])
                if self.finish is None and (not draft.tokens or (draft.finish == "length" and limit == room.tokens)):
                    self._end(room.then)
                return draft, steps

            return await self._surviving(role, written)

    @verb
    async def answer(self, role: str, after: Draft | None = None) -> Draft:
        """Closes the thinking and writes the answer; cues one if a budget ended the thinking. After a draft it stays a draft."""
        typed("answer", Draft, "a draft", after=after)
        if after and not (after.state == "accepted" and after.place is self._place):
            return await self._answer_draft(role, after)
        with self._exclusive("answer"):
            self._check_unanswered("answer")
            if self._over:  # a raw text that its stop string ended has no answer apart
                return self._nothing(role, "answer")
            dialect = self._view(self._roles.acting(role)).dialect
            cue = dialect.answer_cue if self.finish in ("length", "loop", "context") else ""
            parts = list[Draft]()
            following: tuple[str, Phase] | None = (cue, "answer")
            while following:
                parts.append(await self._answer(role, *following))
                following = self._following(parts[-1])
            return joined([part for part in parts if part.phase == "answer"])

    def _following(self, part: Draft) -> tuple[str, Phase] | None:
        """Returns the text and the phase that go on after a part of the answer, or None where the answer is over.

        A token that opens the thinking again begins more of it. One that closes thinking that is not open is text.
        """
        if part.finish == "cut":
            return "", part.phase
        view, end = self._view(part.author), part.proposal.completion.end_id
        if end is None or end in view.end_ids:
            return None
        if end == view.think_start_id:
            return "", "thinking"
        return "" if part.phase == "thinking" else view.dialect.think_end, "answer"

    async def _answer(self, role: str, cue: str, phase: Phase) -> Draft:
        base, place, number = self._place, self._place.below(), self._number(1)
        told = False

        async def answered(role: str) -> Draft:
            nonlocal told
            view = self._view(role)
            pieces = self._ledger.pieces
            last = pieces[-1].phase if pieces else "thinking"
            opening = [] if phase == last else view.reopening if phase == "thinking" else view.dialect.close(self._last_text())
            prefix = self._prefix(role) + view.parts([*opening, cue])
            room = self._answer_room(role, prefix)
            if room.tokens < 1:
                self.finish = room.then
                return self._nothing(role, "answer")
            stop, stop_ids = (self.problem.stop, view.answer_stop_ids) if phase == "answer" else ((), view.stop_ids)
            decoding = self._decoding(place, room.tokens, stop=stop, stop_ids=stop_ids)
            tell = self._telling(role, number, phase, not self._parent)
            if cue and self._listener is not None and not told:
                self._listener(events.TextDelta("method", cue, number, "answer", not self._parent, self.path))
            told, half = True, Half(role, partial(self._proposal, role, number, phase=phase))
            try:
                found, call = await self._complete(role, [prefix], decoding, "answer", room, tell, half)
            except EngineError as error:
                return self._rescued(half, error, base, place, cue)[0]
            except asyncio.CancelledError:
                if half.proposal and not self._parent:
                    self._kept(half.role, half.proposal, base, place, cue)
                raise
            draft = self._make(role, number, found[0], place, base=base, phase=phase)
            if phase == "answer":
                self.record(events.Answered(call=call, seed=decoding.seed, cue=cue, proposal=draft.proposal))
            else:
                self.record(events.Wrote(call=call, seed=decoding.seed, proposal=draft.proposal))
            self._commit([draft])
            if phase == "thinking" and draft.finish in ("length", "context"):
                self.finish = draft.finish
            return draft

        return await self._surviving(role, answered)

    async def _answer_draft(self, role: str, after: Draft) -> Draft:
        self._check_open(after, "answer")
        if after.phase == "answer":
            raise ChainStateError(f"answer: draft {after.id} is an answer already")
        self._view(role)
        base, place, number = after.place, after.place.below(), self._number(1)
        flight, empty = self._flights.begin([after]), list[Completion]()

        async def answered(role: str) -> tuple[str, Landed]:
            nonlocal empty
            if not self._stands(after, base):
                return role, None
            view = self._view(role)
            prefix = self._prefix(role, after) + view.parts(view.dialect.close(self._last_text(after)))
            room = self._answer_room(role, prefix, after)
            empty = [Completion((), room.then)]
            decoding = self._decoding(place, room.tokens, stop=self.problem.stop, stop_ids=view.end_ids)
            if room.tokens < 1:
                return role, (empty, self._caller.free(role))
            return role, await self._fly(flight, role, [prefix], decoding, "answer", room, self._telling(role, number, "answer"))

        author, landed = await self._surviving(role, answered)
        found, call = landed or (empty, None)
        draft = self._make(author, number, found[0], place, base=base, parent=after, phase="answer")
        self._propose([draft], place.key, call, flight)
        self._check_budget()
        return draft

    # ---- under them -------------------------------------------------------------------------------------------------

    def _rescued(self, half: Half, error: EngineError, base: Place, place: Place, cue: str = "") -> tuple[Draft, int]:
        """Commits what a listener was told before the server was lost; raises the error if that was nothing or the chain cannot go on.

        What was told as final stays: the survivor goes on behind it.
        """
        if half.proposal is None or not self._roles.survives(half.role, error):
            raise error
        self._lose(half.role, error)
        return self._kept(half.role, half.proposal, base, place, cue)

    def _kept(self, role: str, proposal: events.Proposal, base: Place, place: Place, cue: str = "") -> tuple[Draft, int]:
        """Commits what a listener was told, as final, before the call was cut off."""
        draft = Draft(role, proposal, None, base, place)
        if cue:
            self.record(events.Inserted(text=cue, phase="answer"))
        self.record(events.Accepted(drafts=(draft.id,)))
        return draft, self._commit([draft])

    def _stops(self, stop: str | None) -> tuple[str, ...]:
        """Where writing stops: at what the method wants, and at every step if somebody watches."""
        wanted = (stop,) if stop else ()
        return (*wanted, STEP) if self._watchers and stop != STEP else wanted

    @contextmanager
    def _exclusive(self, verb: str) -> Generator[None]:
        if self._busy:
            raise ChainStateError(f"{verb}: {self._busy} is still at work on this chain; await it first")
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
        self._warming.saw(last.author, self.tokens)
        if last.phase == "answer":
            if self.finish in (None, "stop"):
                self.finish = last.finish if last.finish in ("length", "context", "loop") else "stop"
        elif last.ended:
            self.finish = "stop"
        elif last.finish == "context":
            self._end("context")
        elif last.finish == "loop":
            self._end("loop", "the server saw the text repeat itself")
        elif self.problem.raw and last.finish == "stop" and any(stop in last.text for stop in self.problem.stop):
            self._over = True
            self._end("stop", "a stop string of the text")
        self._check_loop(steps)
        self._check_budget()
        return steps

    def _check_loop(self, steps: int) -> None:
        if self.finish is None and steps and self.steps.looping:
            self._end("loop", "the same steps again and again")

    async def _watch(self, steps: int) -> None:
        if steps:
            for watcher in self._watchers:
                watching: Any = watcher(self)
                if not inspect.isawaitable(watching):
                    raise ChainStateError(f"at_step: watcher must be an async function, got {shown(watcher)}")
                await watching


class Half:
    """Makes, of what a call had told when it was cut off, the proposal that it would have been; keeps it."""

    def __init__(self, role: str, make: Cut) -> None:
        self.role, self._make = role, make
        self.proposal: events.Proposal | None = None

    def __call__(self, done: Completion) -> events.Proposal:
        self.proposal = self._make(done)
        return self.proposal
