"""The parts that a chain is made of, wired together."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from hashlib import blake2b

from speculative.chain.budget import Budget
from speculative.chain.calls import EngineCalls, Taken
from speculative.chain.context import Prompts
from speculative.chain.contexts import RoleContexts
from speculative.chain.drafts import Draft, DraftTree
from speculative.chain.ending import Ending
from speculative.chain.failover import Failover
from speculative.chain.pending import PendingCalls
from speculative.chain.prefill import BackgroundPrefill
from speculative.chain.prefix_memory import PrefixMemory
from speculative.chain.recorder import EventRecorder
from speculative.chain.requests import Listener, OnIds, Requests
from speculative.chain.steps import STEP, Steps
from speculative.chain.text_stream import begun_stops
from speculative.engines.base import Engine
from speculative.problem import Problem
from speculative.trace.events import AnyEvent
from speculative.trace.trace import Trace


class ChainParts:
    """Holds the parts of one chain.

    `parent`: the parts of the chain that it is a child of. `share`: as in `Chain.child`.
    """

    def __init__(
        self,
        problem: Problem,
        engines: Mapping[str, Engine],
        trace: Trace,
        *,
        seed: int,
        path: tuple[int, ...] = (),
        listener: Listener | None = None,
        parent: ChainParts | None = None,
        share: int = 1,
        prompts: Prompts | None = None,
    ) -> None:
        self.problem, self.engines, self.ledger = problem, engines, trace.ledger
        self.steps = Steps()
        self.drafts = DraftTree(seed)
        self.pending, self.questions = PendingCalls(), PendingCalls()
        self.budget: Budget = parent.budget.split(share) if parent else Budget(problem, problem.max_produced)
        started_at = parent.recorder.started_at if parent else time.perf_counter()
        self.recorder = EventRecorder(trace, self.budget, started_at, None if parent else listener)
        self.record = self.recorder.record
        self.ending = Ending(problem, self.budget, self.recorder)
        key = blake2b(f"{problem.seed}{problem.messages}{path}".encode(), digest_size=8).hexdigest()
        self.calls = EngineCalls(key, self.record, parent.calls.memory if parent else PrefixMemory(), started_at)
        if parent and parent.problem is problem:
            prompts = parent.contexts.prompts
        self.contexts = RoleContexts(engines, problem, trace.ledger, prompts or {}, parent.contexts.instructions if parent else None)
        self.failover = Failover(engines, problem.degrade, self.record, parent.failover.lost if parent else None)
        self.prefills = BackgroundPrefill(problem.prefill_every, self.contexts, self.calls, self.failover, self.budget, self.record)
        self.requests = Requests(problem, engines, self.contexts, self.calls, self.budget, self.failover, self.prefills, listener, path)
        self.requests.displays = parent is not None and parent.requests.displays

    def enter_call(self, key: str, thought: str, listener: Callable[[AnyEvent], None], on_ids: OnIds | None, taken: Taken | None) -> None:
        """Makes the chain the work of one call of a tower, without an answer.

        Args:
            key: The outer chain, for engines with replicas.
            thought: The text of the thinking before the call.
            listener: Gets every event.
            on_ids: Gets the role and all tokens so far of each `write` that is under way.
            taken: Waits until the outer chain has used them.
        """
        self.calls.key, self.recorder.listener, self.requests.on_ids, self.requests.taken = key, listener, on_ids, taken
        self.ending.has_answer = False
        self.steps.add(thought.rpartition(STEP)[2])

    def begun_stops(self, stops: Iterable[str], after: Draft | None = None, written: str = "") -> tuple[str, ...]:
        """Returns the rests of stop strings that the text before a call begins.

        A step may have begun before the verb, and so may a stop string of a raw text. Another stop string is looked for in the verb's text.

        Args:
            stops: The stop strings of the verb.
            after: The draft that the call follows.
            written: The text of the verb before this call.
        """
        found = begun_stops(written, (stop for stop in stops if stop != STEP)) if written else ()
        if STEP in stops and (step := self.partial_step(after)).strip():
            found += begun_stops(step, (STEP,))
        return found + (self.begun_ends(after) if self.problem.raw else ())

    def begun_ends(self, after: Draft | None = None, cue: str = "") -> tuple[str, ...]:
        """Returns the rests of the problem's stop strings that its text begins.

        It is the answer's text; a raw text has no answer apart.
        """
        stops = self.problem.stop
        before = self.contexts.ending(max(map(len, stops), default=0), after, None if self.problem.raw else "answer")
        return begun_stops(before + cue, stops)

    def partial_step(self, after: Draft | None) -> str:
        """Returns the text of the incomplete step at the end of a draft.

        Without a draft it is the step at the end of the chain.
        """
        texts = list[str]()
        draft = after if after and after.state == "open" else None
        while draft:
            texts.append(draft.text)
            if STEP in draft.text:
                break
            draft = draft.parent_draft
        else:
            texts.append(self.steps.partial)
        return "".join(reversed(texts)).rpartition(STEP)[2]
