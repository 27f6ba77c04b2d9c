"""The end of the thinking: budgets, loops, and methods that get nowhere."""

from __future__ import annotations

from speculative.chain.budget import Budget
from speculative.chain.recorder import EventRecorder
from speculative.chain.steps import Steps
from speculative.problem import FinishReason, Problem
from speculative.trace.events import Stopped

GIVE_UP = 100
"""After so many verbs in a row without room the thinking is over."""


class Ending:
    """Decides when the thinking of one chain is over, and holds the reason.

    `finish` is None while the chain thinks. `has_answer`: False for a raw text that its stop string ended, and within a tower.
    """

    def __init__(self, problem: Problem, budget: Budget, recorder: EventRecorder) -> None:
        self.finish: FinishReason | None = None
        self.has_answer = True
        self._empty_texts = 0
        self._room, self._thinking_tokens = problem.max_tokens - problem.reserve, problem.thinking_tokens
        self._budget, self._recorder = budget, recorder

    def end(self, finish: FinishReason, reason: str = "") -> None:
        """Ends the thinking."""
        self._recorder.record(Stopped(reason=reason or {"length": "budget"}.get(finish, finish), finish=finish))
        self.finish = finish

    def check_budget(self) -> None:
        """Ends the thinking when nothing more may be written."""
        kept = self._recorder.trace.ledger.kept
        if self.finish is not None or (kept < self._thinking_tokens and not self._budget.spent):
            return
        if self._room <= kept or self._budget.spent:
            self.end("length")
        else:
            self.end("stop", "the thinking budget is used up")

    def check_loop(self, steps: Steps, completed: int) -> None:
        """Ends the thinking when newly completed steps repeat the ones before."""
        if self.finish is None and completed and steps.looping:
            self.end("loop", "the same steps again and again")

    def check_progress(self, tokens: int) -> None:
        """Ends the thinking after many texts in a row of which no token is kept.

        No whole character fits any more.
        """
        self._empty_texts = 0 if tokens else self._empty_texts + 1
        if self.finish is None and self._empty_texts >= GIVE_UP:
            self.end("length", "no room for a whole character")

    def had_no_room(self, reason: FinishReason) -> None:
        """Counts a verb without room.

        After many in a row the thinking is over: nothing that the method asks for fits any more.
        """
        self._recorder.idle += 1
        if self.finish is None and self._recorder.idle >= GIVE_UP:
            self.end(reason, "no room for what the method asks for")
