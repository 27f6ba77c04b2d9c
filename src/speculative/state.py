"""What a chain is made of: its text, the place it is at, its budgets, and the drafts that are open."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from hashlib import blake2b

from msgspec import structs

from speculative import events
from speculative.caller import Caller, kept_text
from speculative.draft import Draft, Place
from speculative.engines.base import Completion, Decoding, Engine, Ids
from speculative.errors import ChainMisuse, ContextExceeded
from speculative.events import AnyEvent, Phase, Proposal, TextDelta
from speculative.ledger import Ledger
from speculative.problem import FinishReason, Problem, boxed
from speculative.prompts import Question
from speculative.steps import Steps
from speculative.trace import Trace
from speculative.view import View

Listener = Callable[[AnyEvent | TextDelta], None]


class ChainState:
    """The state under the verbs of `Chain`. Everything that happens goes through `record`."""

    def __init__(
        self,
        problem: Problem,
        engines: Mapping[str, Engine],
        *,
        listener: Listener | None = None,
        append_only: bool = True,
        parent: ChainState | None = None,
        path: tuple[int, ...] = (),
        seed: int | None = None,
    ) -> None:
        self.problem = problem
        self.engines = engines
        self.path = path
        self.seed = problem.seed if seed is None else seed
        self.random = random.Random(self.seed)
        self.trace = Trace([])
        self.steps = Steps()
        self.finish: FinishReason | None = None
        self._ledger = Ledger()
        self._views: dict[str, View] = {}
        self._place = Place(self.seed)
        self._open: dict[int, Draft] = {}
        self._flights: dict[asyncio.Task[object], Sequence[Draft | None]] = {}
        self._drafted = 0
        self._children: list[ChainState] = []
        self._parent = parent
        self._root: ChainState = parent._root if parent else self
        self._promised = 0
        self._append_only = append_only
        self._listener = listener
        self._began: float = parent._began if parent else time.perf_counter()
        key = blake2b(f"{problem.seed}{problem.messages}{path}".encode(), digest_size=8).hexdigest()
        self._caller = Caller(key, self.record)

    @property
    def thinking(self) -> bool:
        """False at the end-of-thinking marker, end of text, a loop of repeated steps, or when a budget is used up."""
        return self.finish is None

    @property
    def answered(self) -> bool:
        return bool(self._ledger.pieces) and self._ledger.pieces[-1].phase == "answer"

    @property
    def text(self) -> str:
        """The thinking so far."""
        return self._ledger.text("thinking")

    @property
    def answer_text(self) -> str:
        return self._ledger.text("answer")

    @property
    def boxed(self) -> str | None:
        """What the answer holds in its last box."""
        return boxed(self.answer_text)

    @property
    def tokens(self) -> int:
        """Tokens of the chain and its answer that models wrote."""
        return self._ledger.kept

    @property
    def produced(self) -> int:
        """Tokens that all models wrote for this chain and its children, waste included."""
        return self._ledger.produced + sum(child.produced for child in self._children)

    @property
    def elapsed(self) -> float:
        """Seconds since the chain began."""
        return round(time.perf_counter() - self._began, 6)

    def record(self, event: AnyEvent) -> None:
        """The one door by which anything happens: stamps the event, applies it, tells the listener."""
        event = structs.replace(event, at=self.elapsed)
        self.trace.events.append(event)
        self._ledger.apply(event)
        if self._listener:
            self._listener(event)

    def check_fits(self) -> None:
        """Raises `ContextExceeded` if the problem leaves a model of the pair no room to write."""
        for role, engine in self.engines.items():
            prefix = self._prefix(role)
            if self._positions(role, prefix) < 1:
                raise ContextExceeded(engine.name, len(prefix), engine.context)

    # ---- prefixes ---------------------------------------------------------------------------------------------------

    def _view(self, role: str) -> View:
        if role not in self._views:
            if role not in self.engines:
                raise ChainMisuse(f"no engine has the role {role!r}; the pair has {', '.join(self.engines)}")
            self._views[role] = View(self.engines[role], self.problem)
        return self._views[role]

    def _same(self, role: str) -> frozenset[str]:
        """The roles whose token ids this role can take over as they are."""
        fingerprint = self.engines[role].vocabulary.fingerprint
        return frozenset(other for other, engine in self.engines.items() if engine.vocabulary.fingerprint == fingerprint)

    def _prefix(self, role: str, after: Draft | None = None) -> list[int]:
        return self._view(role).prefix(self._ledger.pieces, self._same(role), after.path() if after else ())

    def _asking(self, role: str, question: Question, after: Draft | None) -> tuple[list[int], tuple[str, ...]]:
        """The prefix that puts a question to a role, and where its reply stops."""
        view = self._view(role)
        asking = view.dialect.ask(question, self.problem.messages, after.text if after else self._last_text)
        parts = view.parts(asking.parts)
        return (self._prefix(role, after) + parts if asking.follows_chain else parts), asking.stop

    @property
    def _last_text(self) -> str:
        """The end of the chain's text."""
        return next((piece.text for piece in reversed(self._ledger.pieces) if piece.text), "")

    # ---- budgets ----------------------------------------------------------------------------------------------------

    def _room(self, role: str, prefix: Sequence[int], above: Sequence[Draft | None] = (None,), n: int = 1) -> int:
        """Tokens of thinking that one more call may write; what the answer needs stays free."""
        hanging = max(sum(draft.tokens for draft in parent.path()) if parent else 0 for parent in above)
        left = self.problem.max_tokens - self.problem.reserve - self.tokens - hanging
        return min(left, self._positions(role, prefix), self._producible(n * len(above)))

    def _positions(self, role: str, prefix: Sequence[int]) -> int:
        """Positions of a role's model that the thinking may still fill."""
        return self.engines[role].context - len(prefix) - min(self.problem.reserve, self.engines[role].context // 8)

    def _producible(self, n: int, reserve: int | None = None) -> int:
        """Tokens that each of `n` completions may have under `max_produced`; what is under way counts as produced."""
        if self.problem.max_produced is None:
            return self.problem.max_tokens
        reserve = min(self.problem.reserve, self.problem.max_produced // 8) if reserve is None else reserve
        return (self.problem.max_produced - reserve - self._root.produced - self._root._promised) // n

    def _check_budget(self) -> None:
        """Ends the thinking when nothing more may be written."""
        if self.finish is None and (self.problem.max_tokens - self.problem.reserve <= self.tokens or self._producible(1) < 1):
            self._end("budget", "length")

    def _out_of_room(self, role: str, prefix: Sequence[int]) -> None:
        if self.finish is None:
            self._end("context", "context") if self._positions(role, prefix) < 1 else self._end("budget", "length")

    def _end(self, reason: str, finish: FinishReason) -> None:
        self.record(events.Stopped(reason=reason, finish=finish))
        self.finish = finish

    # ---- calls and drafts -------------------------------------------------------------------------------------------

    def _decoding(
        self,
        role: str,
        room: int,
        place: Place,
        *,
        max_tokens: int | None = None,
        stop: str | None = None,
        temperature: float | None = None,
        n: int = 1,
        logprobs: bool = False,
    ) -> Decoding:
        """How a piece of thinking is decoded, with the problem's sampling and the seed of its place."""
        limit = room if max_tokens is None else min(room, max_tokens)
        return self._sampled(place, limit, temperature, n, (stop,) if stop else (), self._view(role).stop_ids, logprobs)

    def _sampled(
        self, place: Place, limit: int, temperature: float | None, n: int, stop: tuple[str, ...], stop_ids: tuple[int, ...], logprobs: bool = False
    ) -> Decoding:
        sampling = self.problem.sampling
        temperature = sampling.temperature if temperature is None else temperature
        return Decoding(limit, temperature, sampling.top_p, sampling.top_k, place.key, n, stop, stop_ids, logprobs)

    def _telling(self, role: str, number: int, phase: Phase, committed: bool = False) -> Callable[[str, int], None] | None:
        """What tells the listener of new text, of the draft `number` plus an offset; None when nobody listens."""
        listener = self._listener
        if listener is None:
            return None
        return lambda text, offset: listener(TextDelta(role, text, number + offset, phase, committed, self.path)) if text else None

    async def _complete(
        self, role: str, prefixes: Sequence[Ids], decoding: Decoding, verb: str, tell: Callable[[str, int], None] | None = None
    ) -> tuple[list[Completion], events.Call]:
        """One call for all prefixes; streamed only when somebody listens. The completions come in one flat list."""
        engine, promised = self.engines[role], decoding.max_tokens * decoding.n * len(prefixes)
        self._root._promised += promised
        try:
            if tell and len(prefixes) * decoding.n == 1 and "stream" in engine.abilities:
                found, call = await self._caller.stream(role, engine, prefixes[0], decoding, verb, lambda text: tell(text, 0))
                return found[0], call
            found, call = await self._caller.complete(role, engine, prefixes, decoding, verb)
            flat = [completion for several in found for completion in several]
            for offset, completion in enumerate(flat if tell else ()):
                tell and tell(kept_text(engine.vocabulary, completion)[0], offset)
            return flat, call
        finally:
            self._root._promised -= promised

    async def _fly(self, work: Awaitable[tuple[list[Completion], events.Call]], parents: Sequence[Draft | None]) -> tuple[list[Completion], events.Call] | None:
        """Runs the call of drafts in a task of its own, which `accept` may cancel. None if it did."""
        flight = asyncio.ensure_future(work)
        self._flights[flight] = parents
        try:
            return await flight
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if flight in self._flights or (task and task.cancelling()):  # it is our own task that is being cancelled
                raise
            return None
        finally:
            self._flights.pop(flight, None)

    def _ground(self, spared: Callable[[Draft | None], bool]) -> None:
        """Cancels the calls in flight, but for those whose drafts hang off a spared one."""
        for flight, parents in list(self._flights.items()):
            if not all(spared(parent) for parent in parents):
                del self._flights[flight]
                flight.cancel()

    def _number(self, n: int) -> int:
        """Reserves `n` numbers for drafts, in the order of the calls, not of their returns."""
        self._drafted += n
        return self._drafted - n

    def _make(self, role: str, number: int, completion: Completion, parent: Draft | None, base: Place, place: Place, phase: Phase) -> Draft:
        text, dropped = kept_text(self._view(role).vocabulary, completion)
        above = parent.id if parent and parent.state != "accepted" else None
        return Draft(role, Proposal(number, above, text, completion, dropped, phase), parent, base, place)

    def _check_open(self, draft: Draft | None, verb: str) -> None:
        """A draft can be built on while it is open, or while the chain ends in it."""
        if draft is None or draft.state == "open" or (draft.state == "accepted" and draft.place is self._place):
            return
        raise ChainMisuse(f"{verb}: draft {draft.id} is {draft.state}, nothing can follow it")

    def _drop(self, drafts: Sequence[Draft], reason: str) -> None:
        if drafts:
            for draft in drafts:
                draft.state = "rejected"
                del self._open[draft.id]
            self.record(events.Rejected(drafts=tuple(draft.id for draft in drafts), reason=reason))

