"""Limits the tokens that a chain and its children may produce."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Literal

from msgspec import Struct

from speculative.problem import Problem

Use = Literal["write", "draft", "question", "answer"]
"""The purpose of a call: only the answer may use what is kept for it, and a draft leaves what is kept for questions."""

STEP_TOKENS = 256
"""The most that a call which ends with a step reserves at a time; under small caps it is a 16th of the cap."""

LEAST_STEP = 16
"""The least that such a call reserves, where there is so much."""

QUESTION_TOKENS = 64
"""The most that is kept free for questions while other calls are under way; under small caps it is a 16th of the cap."""


class TokenLimit(Struct, frozen=True):
    """Holds the tokens of one more completion, and the finish reason at zero."""

    tokens: int
    reason: Literal["length", "context"] = "length"

    @classmethod
    def smallest(cls, left: int, positions: int, producible: int) -> TokenLimit:
        """Returns what the budgets and the model's positions leave together."""
        budget = min(left, producible)
        return cls(positions, "context") if positions < budget else cls(budget)


NO_EXTRA = TokenLimit(0)
"""The limit of a call that must not write more than it first asks for."""


class Budget:
    """Counts the tokens generated for one problem against `max_produced`.

    Waste is included. A call that is under way counts with its reservation, the most that it may produce. A cancelled call counts with
    what it produced by then, which depends on its speed: so what is left is the same at any speed unless a call is cancelled. Prefills
    in the background have a part of the cap of their own, one token for every `prefill_every`: their number depends on the clock, and
    the text must not.
    """

    def __init__(self, problem: Problem, cap: int | None, parent: Budget | None = None) -> None:
        self._prefills = 0
        if cap is not None and problem.prefill_every and not parent:
            self._prefills = cap // (problem.prefill_every + 1)
            cap -= self._prefills
        self._problem, self._cap, self._parent = problem, cap, parent
        self.waiting: list[asyncio.Future[None]] = parent.waiting if parent else []
        self.produced = 0
        self.reserved = 0

    @property
    def left(self) -> int | None:
        """Tokens that the thinking may still produce, or None if there is no cap."""
        return None if self._cap is None else self.remaining()

    @property
    def spent(self) -> bool:
        """True if no tokens are left for the thinking."""
        return self._cap is not None and self.unproduced() - self._answer_reserve() < 1

    def split(self, n: int) -> Budget:
        """Returns the budget of a child: one of `n` equal parts of what is left now."""
        return Budget(self._problem, None if self._cap is None else self.unreserved() // n, self)

    def remaining(self, n: int = 1, use: Use = "write") -> int:
        """Returns the tokens that each of `n` completions may have now."""
        if self._cap is None:
            return self._problem.max_tokens
        return (self.unreserved() - (0 if use == "answer" else self._answer_reserve())) // n

    def first_share(self, tokens: int, n: int, use: Use, bounded: bool) -> int:
        """Returns the part of `tokens` that each of `n` completions reserves at first.

        A `bounded` call ends with a step: it reserves a step's worth, and more when it gets there. Other drafts leave what is kept for
        questions.
        """
        if self._cap is None or use in ("question", "answer"):
            return tokens
        if bounded:
            return min(tokens, self._step_share())
        return tokens if use == "write" else min(tokens, max(self.remaining(n) - self._share(QUESTION_TOKENS), 1))

    def next_share(self, tokens: int, n: int, bounded: bool) -> int:
        """Returns how many of `tokens` each of `n` completions may have in addition.

        It is 0 if none are left.
        """
        tokens = min(tokens, self.remaining(n))
        return max(0, min(tokens, self._step_share()) if bounded else tokens)

    def unreserved(self) -> int:
        """Returns the tokens that are neither produced nor reserved.

        The budgets above limit them, too.
        """
        left = (self._cap or 0) - self.produced - self.reserved
        return min(left, self._parent.unreserved()) if self._parent else left

    def add_produced(self, tokens: int) -> None:
        """Counts generated tokens, here and in the budgets above."""
        self.produced += tokens
        if self._parent:
            self._parent.add_produced(tokens)

    def take_inserted(self, tokens: int) -> bool:
        """Counts inserted tokens as produced, if they fit. Returns whether they do."""
        if self._cap is not None and tokens > self.unreserved():
            return False
        self.add_produced(tokens)
        return True

    def take_prefill(self, tokens: int) -> int:
        """Takes the tokens of one prefill out of the part for background prefills.

        Returns how many of them were left.
        """
        if self._parent:
            return self._parent.take_prefill(tokens)
        taken = tokens if self._cap is None else min(tokens, self._prefills)
        self._prefills -= taken
        return taken

    def reserve(self, tokens: int) -> Reservation:
        """Reserves tokens for one call."""
        return Reservation(self, tokens)

    def add_reserved(self, tokens: int) -> None:
        """Counts a reservation, or its end with a negative number.

        The budgets above count it, too.
        """
        self.reserved += tokens
        if self._parent:
            self._parent.add_reserved(tokens)
        elif tokens < 0:
            for waiter in self.waiting:
                if not waiter.done():
                    waiter.set_result(None)
            self.waiting.clear()

    async def wait_for_room(self, wanted: int, n: int = 1, use: Use = "write") -> bool:
        """Waits for the end of a call under way if its reservation leaves too little.

        Room is needed for `n` completions of `wanted` tokens. Too little is less than a step's worth, or for a question less than a
        question's worth. Returns whether it waited: then ask again.
        """
        if self._cap is None:
            return False
        held = self.unproduced() - self.unreserved()
        question = self._share(QUESTION_TOKENS)
        enough = min(wanted, max(question, 1) if use == "question" else self._step_share())
        free = self.remaining(n, use) - (question if use in ("write", "draft") else 0)
        if not held or free >= enough or self.remaining(n, use) + held // n < 1:
            return False
        waiter = asyncio.get_running_loop().create_future()
        self.waiting.append(waiter)
        await waiter
        return True

    def unproduced(self) -> int:
        """Returns what was not produced, reserved or not, here and in the budgets above."""
        left = (self._cap or 0) - self.produced
        return min(left, self._parent.unproduced()) if self._parent else left

    def _answer_reserve(self) -> int:
        return min(self._problem.reserve, (self._cap or 0) // 8)

    def _step_share(self) -> int:
        return max(self._share(STEP_TOKENS), LEAST_STEP)

    def _share(self, most: int) -> int:
        return min(most, (self._cap or 0) // 16)


class Reservation:
    """Holds the tokens that one call may produce.

    The reservation ends with the `with` block, when the true cost is known.
    """

    def __init__(self, budget: Budget, tokens: int) -> None:
        self._budget, self._tokens = budget, 0
        self.add(tokens)

    def add(self, tokens: int) -> None:
        """Reserves more."""
        self._tokens += tokens
        self._budget.add_reserved(tokens)

    def __enter__(self) -> Reservation:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.add(-self._tokens)
