"""How a chain calls its engines: what one more call may write, how it decodes, and what the listener hears of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Literal, Protocol, TypeVar

from msgspec import Struct, structs

from speculative.chain.budget import Promise
from speculative.chain.calls import LONGEST_CHARACTER, Cut, kept_text
from speculative.chain.drafts import Draft, Place
from speculative.chain.pending import Flight
from speculative.chain.state import ChainState
from speculative.chain.verb import GIVE_UP
from speculative.engines.base import SPARED, WARMING, Completion, Decoding, Ids, finite
from speculative.errors import EngineError
from speculative.problem import FinishReason
from speculative.trace import events
from speculative.trace.events import Phase, TextDelta

T = TypeVar("T")
Landed = tuple[list[Completion], events.Call] | None
"""What a call gave; None if it was cancelled by `accept` or `reject`."""


class Tell(Protocol):
    """Tells the listener of new text; `ids` are those of the completion so far, which it leaves to who warms."""

    def __call__(self, text: str, ids: Ids = (), offset: int = 0) -> None: ...


class Room(Struct, frozen=True):
    """Tokens that may still be written, and what the chain's finish is when there are none left."""

    tokens: int
    then: Literal["length", "context"] = "length"

    @classmethod
    def least(cls, left: int, positions: int, producible: int) -> Room:
        """What budgets and positions leave together."""
        budget = min(left, producible)
        return cls(positions, "context") if positions < budget else cls(budget)


NO_ROOM = Room(0)


class Calling(ChainState):
    """The chain's state, and the calls that the verbs are made of."""

    # ---- budgets ----------------------------------------------------------------------------------------------------

    def _room(self, role: str, prefix: Ids, above: Sequence[Draft | None] = (None,), n: int = 1) -> Room:
        """What one more call may write of thinking, for each of its completions; what the answer needs stays free."""
        hanging = max(draft.hanging if draft else 0 for draft in above)
        left = self.problem.max_tokens - self.problem.reserve - self.tokens - hanging
        return Room.least(left, self._positions(role, prefix), self._budget.producible(n * len(above)))

    def _answer_room(self, role: str, prefix: Ids, after: Draft | None = None) -> Room:
        left = self.problem.max_tokens - self.tokens - (after.hanging if after else 0)
        return Room.least(left, self.engines[role].context - len(prefix), self._budget.producible(answering=True))

    def _check_budget(self) -> None:
        """Ends the thinking when nothing more may be written."""
        if self.finish is None and (self.problem.max_tokens - self.problem.reserve <= self.tokens or self._budget.spent):
            self._end("length")

    def _check_room(self, role: str) -> None:
        """Ends the thinking when a role could not write even one text at the chain's end."""
        role = self._roles.acting(role)
        room = self._room(role, self._prefix(role))
        if room.tokens < 1:
            self._end(room.then)

    def _roomless(self, verb: str, then: FinishReason) -> None:
        """A verb had no room. After many in a row the thinking is over: nothing that the method asks for fits any more."""
        self._did_nothing(verb)
        if self.finish is None and self._idle >= GIVE_UP:
            self._end(then, "no room for what the method asks for")

    def _end(self, finish: FinishReason, reason: str = "") -> None:
        self.record(events.Stopped(reason=reason or {"length": "budget"}.get(finish, finish), finish=finish))
        self.finish = finish

    # ---- calls ------------------------------------------------------------------------------------------------------

    def _decoding(
        self,
        place: Place,
        limit: int,
        *,
        temperature: float | None = None,
        n: int = 1,
        stop: tuple[str, ...] = (),
        stop_ids: tuple[int, ...] = (),
        logprobs: bool = False,
    ) -> Decoding:
        """How one call decodes: with the problem's sampling, unless told otherwise, and the seed of its place."""
        sampling = self.problem.sampling
        temperature = sampling.temperature if temperature is None else temperature
        if self.problem.raw:  # a raw text has no answer apart: its stop strings end any part of it
            stop = (*stop, *self.problem.stop)
        return Decoding(limit, temperature, sampling.top_p, sampling.top_k, place.key, n, stop, stop_ids, logprobs)

    def _telling(self, role: str, number: int, phase: Phase, committed: bool = False) -> Tell | None:
        """What tells the listener of new text, of the draft `number` plus an offset; None when nobody listens."""
        listener, path = self._listener, self.path
        if listener is None:
            return None

        def tell(text: str, ids: Ids = (), offset: int = 0) -> None:
            if text:
                listener(TextDelta(role, text, number + offset, phase, committed, path))

        return tell

    async def _complete(
        self,
        role: str,
        prefixes: Sequence[Ids],
        decoding: Decoding,
        verb: str,
        room: Room = NO_ROOM,
        tell: Tell | None = None,
        cut: Cut | None = None,
    ) -> tuple[list[Completion], events.Call]:
        """One call for all prefixes. The completions come in one flat list. `room`: how long one may be at the most.

        `cut`: makes the proposal that is kept of a call which ends before its completion does.
        """
        with self._budget.promise(decoding.max_tokens * decoding.n * len(prefixes)) as promise:
            return await self._call(role, prefixes, decoding, verb, room, tell, promise, cut)

    async def _fly(
        self, flight: Flight, role: str, prefixes: Sequence[Ids], decoding: Decoding, verb: str, room: Room, tell: Tell | None
    ) -> Landed:
        """The same in a task of its own, which `accept` and `reject` may cancel. None if they did."""
        with self._budget.promise(decoding.max_tokens * decoding.n * len(prefixes)) as promise:
            return await flight.run(self._call(role, prefixes, decoding, verb, room, tell, promise))

    async def _call(
        self,
        role: str,
        prefixes: Sequence[Ids],
        decoding: Decoding,
        verb: str,
        room: Room,
        tell: Tell | None,
        promise: Promise,
        cut: Cut | None = None,
    ) -> tuple[list[Completion], events.Call]:
        engine = self.engines[role]
        warms = verb == "write" and self._warms(role)

        def longer(size: int) -> int:
            limit = min(room.tokens, size + max(size, LONGEST_CHARACTER))
            if limit <= size or limit * decoding.n > self._budget.producible():
                return 0
            promise.add(limit * decoding.n)
            return limit

        def told(completion: Completion) -> Completion:
            """With a reason of its end and with log-probabilities that hold for the chain."""
            if room.then == "context" and completion.finish == "length" and max(len(completion.ids), decoding.max_tokens) >= room.tokens:
                completion = structs.replace(completion, finish="context")
            return structs.replace(completion, logprobs=finite(completion.logprobs or ())) if decoding.logprobs else completion

        def warming(text: str, ids: Ids) -> None:
            if tell:
                tell(text)
            self._warm_idle(role, ids)

        if verb in ("write", "draft", "answer"):
            self._warming.saw(role, self.tokens)
        if warms:
            self._warm_idle(role)
        heard = warming if warms and (tell or decoding.max_tokens > self._warming.every) else tell
        if heard and len(prefixes) * decoding.n == 1 and "stream" in engine.abilities:
            found, call = await self._caller.stream(role, engine, prefixes[0], decoding, verb, longer, heard, cut)
            return [told(found[0][0])], call
        found, call = await self._caller.complete(role, engine, prefixes, decoding, verb, longer, cut)
        flat = [told(completion) for several in found for completion in several]
        if tell:
            for offset, completion in enumerate(flat):
                tell(kept_text(engine.vocabulary, completion)[0], offset=offset)
        return flat, call

    # ---- a server that is lost --------------------------------------------------------------------------------------

    async def _surviving(self, role: str, attempt: Callable[[str], Awaitable[T]]) -> T:
        """Has the engine of a role do it; the survivor's, if that one is lost already or is lost over it (`Problem.degrade`)."""
        while True:
            acting = self._roles.acting(role)
            spared = SPARED.set(self._roles.spares(acting))
            try:
                return await attempt(acting)
            except EngineError as error:
                if not self._roles.survives(acting, error):
                    raise
                self._lose(acting, error)
            finally:
                SPARED.reset(spared)

    def _lose(self, role: str, error: EngineError) -> None:
        """From here on the survivor does what is asked of the role. Calls that were under way find that out one by one."""
        if self._roles.lost is None and self._roles.survivor:
            self._roles.lost = role
            self.record(events.Degraded(role=role, survivor=self._roles.survivor, error=str(error)))

    # ---- warm-ups in the background ---------------------------------------------------------------------------------

    def _warms(self, writer: str) -> bool:
        """Whether another model is to be warmed while this one writes."""
        return bool(self.problem.warm_every) and self._roles.idle(writer) is not None

    def _warm_idle(self, writer: str, fresh: Ids = ()) -> None:
        """Begins to warm the other model, if it has not seen enough. `fresh`: what the writer has written in the call under way."""
        role, tokens = self._roles.idle(writer), self.tokens + len(fresh)
        if role is None or not self._warming.due(role, tokens):
            return
        view = self._view(role)
        if fresh and writer not in view.same:
            prefix = view.extended(self._ledger.pieces, self._view(writer).vocabulary.to_bytes(fresh).decode("utf-8", "replace"))
        else:
            prefix = [*self._prefix(role), *fresh]
        if len(prefix) < view.engine.context and self._budget.warm_up():
            self._warming.begin(role, tokens, self._warm_up(role, prefix))

    async def _warm_up(self, role: str, prefix: Ids) -> None:
        """One token, which is thrown away. A failure is recorded with the call, and is none of the chain."""
        view = self._view(role)
        decoding = Decoding(1, seed=WARMING, stop_ids=view.stop_ids)
        with suppress(EngineError):
            found, call = await self._caller.complete(role, view.engine, [prefix], decoding, "warm", lambda _: 0)
            self.record(events.Warmed(call=call, seed=WARMING, completion=found[0][0]))
