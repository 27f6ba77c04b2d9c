"""What a chain is made of: its text, the place it is at, how each role sees it, and the drafts that are open."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from hashlib import blake2b
from itertools import chain as flatten

from msgspec import structs

from speculative.answers import boxed
from speculative.chain.budget import Budget
from speculative.chain.calls import Caller, kept_text
from speculative.chain.context import Prompts, View
from speculative.chain.drafts import Draft, Place
from speculative.chain.failover import Roles
from speculative.chain.pending import Flight, Flights
from speculative.chain.prefill import Warming
from speculative.chain.steps import Steps
from speculative.chain.verb import IDLE, LoopGuard
from speculative.engines.base import WARMING, Completion, Engine, Ids
from speculative.errors import ChainStateError, ContextExceededError
from speculative.problem import FinishReason, Problem
from speculative.prompts import Question
from speculative.trace import events
from speculative.trace.events import AnyEvent, Phase, Proposal, TextDelta
from speculative.trace.trace import Trace

Listener = Callable[[AnyEvent | TextDelta], None]
"""Gets every text delta, and every event of the chain itself; a child's events come inside its `Child` event."""

WARM_UPS = (events.Warmed, events.Cancelled)
"""What becomes of a warm-up in the background. Its seed tells it from other calls."""


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
        share: int = 1,
        trace: Trace | None = None,
    ) -> None:
        self.problem = problem
        self.engines = engines
        self.path = path
        self.seed = problem.seed if seed is None else seed
        self.trace = Trace([]) if trace is None else trace
        self.steps = Steps()
        self.finish: FinishReason | None = None
        self._ledger = self.trace.ledger
        self._views: dict[str, View] = {}
        self._prompts: Prompts = parent._prompts if parent else {}
        self._place = Place(self.seed)
        self._open: dict[int, Draft] = {}
        self._flights = Flights()
        self._drafted = 0
        self._parent = parent
        self._budget: Budget = parent._budget.part(share) if parent else Budget(problem, problem.max_produced)
        self._append_only = append_only
        self._listener = listener
        self._began: float = parent._began if parent else time.perf_counter()
        key = blake2b(f"{problem.seed}{problem.messages}{path}".encode(), digest_size=8).hexdigest()
        self._caller = Caller(key, self.record, parent._caller.memory if parent else None, self._began)
        self._roles = Roles(engines, problem.degrade, parent._roles.lost if parent else None)
        self._warming = Warming(problem.warm_every)
        self._guard = LoopGuard()
        self._idle = 0
        self.forgotten: list[ChainStateError] = parent.forgotten if parent else []

    @cached_property
    def random(self) -> random.Random:
        """The chain's own source of chance, for its method."""
        return random.Random(self.seed)

    @property
    def thinking(self) -> bool:
        """False at the end-of-thinking marker, end of text, a loop of repeated steps, or when a budget is used up."""
        self.check_awaited()
        self._guard.read()
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
        """Tokens that all models wrote for this chain and its children, waste included, warm-ups in the background left out."""
        return self._budget.produced

    @property
    def left(self) -> int | None:
        """Tokens that the thinking may still produce, waste included; None when `max_produced` is not set."""
        return self._budget.left

    @property
    def elapsed(self) -> float:
        """Seconds since the chain began."""
        return round(time.perf_counter() - self._began, 6)

    def record(self, event: AnyEvent) -> None:
        """The one door by which anything happens: stamps the event, applies it, tells the listener."""
        if self.trace.ended:
            raise ChainStateError(f"{type(event).__name__}: the chain is over; await all work before the method returns")
        event = structs.replace(event, at=self.elapsed)
        call: events.Call | None = getattr(event, "call", None)
        if call and call.requests:
            self._idle = 0
        produced = self.trace.add(event)
        if not (isinstance(event, WARM_UPS) and event.seed == WARMING):
            self._budget.produce(produced)
        if self._listener is not None and not self._parent:
            self._listener(event)

    def check_awaited(self) -> None:
        """Raises `ChainStateError` if a verb of this chain, or of one of its family, was called and never awaited."""
        if self.forgotten:
            raise self.forgotten.pop()

    def check_fits(self) -> None:
        """Raises `ContextExceededError` if the problem leaves a model of the pair no room to write."""
        for role, engine in self.engines.items():
            prefix = self._prefix(role)
            if self._positions(role, prefix) < 1:
                error = ContextExceededError(engine.name, len(prefix), engine.context)
                error.role = role
                raise error

    # ---- prefixes ---------------------------------------------------------------------------------------------------

    def _view(self, role: str) -> View:
        if role not in self._views:
            if role not in self.engines:
                raise ChainStateError(f"no engine has the role {role!r}; the pair has {', '.join(self.engines)}")
            fingerprint = self.engines[role].vocabulary.fingerprint
            same = frozenset(other for other, engine in self.engines.items() if engine.vocabulary.fingerprint == fingerprint)
            self._views[role] = View(self.engines[role], self.problem, same, self._prompts)
        return self._views[role]

    def _prefix(self, role: str, after: Draft | None = None) -> list[int]:
        return self._view(role).prefix(self._ledger.pieces, after if after and after.state != "accepted" else None)

    def _asking(self, role: str, question: Question, after: Draft | None) -> tuple[list[int], tuple[str, ...]]:
        """The prefix that puts a question to a role, and where its reply stops."""
        view = self._view(role)
        asking = view.dialect.ask(question, self.problem.messages, self._last_text(after))
        parts = view.parts(asking.parts)
        return (self._prefix(role, after) + parts if asking.follows_chain else parts), asking.stop

    def _last_text(self, after: Draft | None = None) -> str:
        """The end of the text of the chain, or of the drafts down to this one."""
        hanging = (draft.text for draft in reversed(after.path() if after else ()))
        return next((text for text in flatten(hanging, (piece.text for piece in reversed(self._ledger.pieces))) if text), "")

    def _positions(self, role: str, prefix: Ids) -> int:
        """Positions of a role's model that the thinking may still fill; what the answer needs stays free."""
        return self.engines[role].context - len(prefix) - min(self.problem.reserve, self.engines[role].context // 8)

    # ---- drafts -----------------------------------------------------------------------------------------------------

    def _number(self, n: int) -> int:
        """Reserves `n` numbers for drafts, in the order of the calls, not of their returns."""
        self._drafted += n
        return self._drafted - n

    def _make(
        self,
        role: str,
        number: int,
        completion: Completion,
        place: Place,
        *,
        base: Place,
        parent: Draft | None = None,
        phase: Phase = "thinking",
    ) -> Draft:
        return Draft(role, self._proposal(role, number, completion, parent, phase), parent, base, place)

    def _proposal(self, role: str, number: int, completion: Completion, parent: Draft | None = None, phase: Phase = "thinking") -> Proposal:
        text, dropped = kept_text(self._view(role).vocabulary, completion)
        above = parent.id if parent and parent.state != "accepted" else None
        return Proposal(number, above, text, completion, dropped, phase)

    def _nothing(self, role: str, phase: Phase = "thinking") -> Draft:
        """What a verb gives that had nothing to write: no text, at the chain's end."""
        empty = self._make(role, self._number(1), Completion((), "length"), self._place, base=self._place, phase=phase)
        empty.state = "accepted"
        return empty

    def _stands(self, ground: Draft | None, base: Place) -> bool:
        """Whether something can still be hung at that place, which is below a draft or (None) was the chain's end."""
        if ground is None or ground.state == "accepted":
            return base is self._place
        return ground.state == "open" and ground.base is self._place

    def _did_nothing(self, verb: str) -> None:
        """Counts verbs that had nothing to do. Raises `ChainStateError` when there were too many in a row."""
        self._idle += 1
        if self._idle > IDLE:
            raise ChainStateError(f"{verb}: {IDLE} verbs in a row had nothing to do (finish: {self.finish}); loop `while chain.thinking`")

    def _check_unanswered(self, verb: str) -> None:
        if self.answered:
            raise ChainStateError(f"{verb}: the chain is answered already")

    def _check_open(self, draft: Draft | None, verb: str) -> None:
        """A draft can be built on while it is open and hangs off the chain's end, or while the chain ends in it."""
        if draft is None or (draft.state == "accepted" and draft.place is self._place):
            return
        if draft.state != "open":
            raise ChainStateError(f"{verb}: draft {draft.id} is {draft.state}, nothing can follow it")
        if draft.base is not self._place:
            raise ChainStateError(f"{verb}: draft {draft.id} no longer hangs off the chain's end")

    def _propose(self, drafts: Sequence[Draft], seed: int, call: events.Call | None, flight: Flight) -> None:
        """Opens drafts that a call brought. Those whose ground was lost meanwhile are rejected at once; there is no call if it was cut."""
        self._flights.end(flight)
        if call is None:
            for draft in drafts:
                draft.state = "rejected"
            return
        self._open |= {draft.id: draft for draft in drafts}
        self.record(events.Drafted(call=call, seed=seed, proposals=tuple(draft.proposal for draft in drafts)))
        lost = [draft for draft in drafts if flight.grounded or (draft.parent and draft.parent.state == "rejected")]
        self._drop(lost, "what it hangs off was rejected")

    def _drop(self, drafts: Sequence[Draft], reason: str) -> None:
        if drafts:
            for draft in drafts:
                draft.state = "rejected"
                del self._open[draft.id]
            self.record(events.Rejected(drafts=tuple(draft.id for draft in drafts), reason=reason))
