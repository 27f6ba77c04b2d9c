"""How a chain calls its engines: what one more call may write, how it decodes, and what the listener hears of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from msgspec import Struct, structs

from speculative import events
from speculative.budget import Promise
from speculative.caller import LONGEST_CHARACTER, kept_text
from speculative.draft import Draft, Place
from speculative.engines.base import Completion, Decoding, Ids, finite
from speculative.events import Phase, TextDelta
from speculative.flights import Flight
from speculative.problem import FinishReason
from speculative.state import ChainState

Tell = Callable[[str, int], None]


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
        hanging = max(sum(draft.tokens for draft in parent.path()) if parent else 0 for parent in above)
        left = self.problem.max_tokens - self.problem.reserve - self.tokens - hanging
        return Room.least(left, self._positions(role, prefix), self._budget.producible(n * len(above)))

    def _answer_room(self, role: str, prefix: Ids, after: Draft | None = None) -> Room:
        left = self.problem.max_tokens - self.tokens - sum(draft.tokens for draft in (after.path() if after else ()))
        return Room.least(left, self.engines[role].context - len(prefix), self._budget.producible(answering=True))

    def _check_budget(self) -> None:
        """Ends the thinking when nothing more may be written."""
        if self.thinking and (self.problem.max_tokens - self.problem.reserve <= self.tokens or self._budget.spent):
            self._end("length")

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
        listener = self._listener
        if listener is None:
            return None
        return lambda text, offset: listener(TextDelta(role, text, number + offset, phase, committed, self.path)) if text else None

    async def _complete(
        self, role: str, prefixes: Sequence[Ids], decoding: Decoding, verb: str, room: Room = NO_ROOM, tell: Tell | None = None
    ) -> tuple[list[Completion], events.Call]:
        """One call for all prefixes. The completions come in one flat list. `room`: how long one may be at the most."""
        with self._budget.promise(decoding.max_tokens * decoding.n * len(prefixes)) as promise:
            return await self._call(role, prefixes, decoding, verb, room, tell, promise)

    async def _fly(
        self, flight: Flight, role: str, prefixes: Sequence[Ids], decoding: Decoding, verb: str, room: Room, tell: Tell | None
    ) -> tuple[list[Completion], events.Call] | None:
        """The same in a task of its own, which `accept` and `reject` may cancel. None if they did."""
        with self._budget.promise(decoding.max_tokens * decoding.n * len(prefixes)) as promise:
            return await flight.run(self._call(role, prefixes, decoding, verb, room, tell, promise))

    async def _call(
        self, role: str, prefixes: Sequence[Ids], decoding: Decoding, verb: str, room: Room, tell: Tell | None, promise: Promise
    ) -> tuple[list[Completion], events.Call]:
        engine = self.engines[role]

        def longer(size: int) -> int:
            limit = min(room.tokens, size + max(size, LONGEST_CHARACTER))
            if limit <= size or limit * decoding.n > self._budget.producible():
                return 0
            promise.add(limit * decoding.n)
            return limit

        def told(completion: Completion) -> Completion:
            """With a reason of its end and with log-probabilities that hold for the chain."""
            if room.then == "context" and completion.finish == "length" and len(completion.ids) >= room.tokens:
                completion = structs.replace(completion, finish="context")
            return structs.replace(completion, logprobs=finite(completion.logprobs or ())) if decoding.logprobs else completion

        if tell and len(prefixes) * decoding.n == 1 and "stream" in engine.abilities:
            found, call = await self._caller.stream(role, engine, prefixes[0], decoding, verb, longer, lambda text: tell(text, 0))
            return [told(found[0][0])], call
        found, call = await self._caller.complete(role, engine, prefixes, decoding, verb, longer)
        flat = [told(completion) for several in found for completion in several]
        if tell:
            for offset, completion in enumerate(flat):
                tell(kept_text(engine.vocabulary, completion)[0], offset)
        return flat, call
