"""Limits the tokens that a chain and its children may produce."""

from __future__ import annotations

from types import TracebackType
from typing import Literal

from msgspec import Struct

from speculative.problem import Problem


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
    """Counts everything that is generated for one problem, waste included, against `max_produced`.

    A call that is under way counts with the most that it may produce: its reservation. Prefills in the background have a part of
    the cap of their own, one token for every `prefill_every`: their number depends on the clock, and the text must not.
    """

    def __init__(self, problem: Problem, cap: int | None, parent: Budget | None = None) -> None:
        self._prefills = 0
        if cap is not None and problem.prefill_every and not parent:
            self._prefills = cap // (problem.prefill_every + 1)
            cap -= self._prefills
        self._problem, self._cap, self._parent = problem, cap, parent
        self.produced = 0
        self.reserved = 0

    @property
    def left(self) -> int | None:
        """Tokens that the thinking may still produce, or None if there is no cap."""
        return None if self._cap is None else self.remaining()

    @property
    def spent(self) -> bool:
        """Whether nothing is left for the thinking."""
        return self._cap is not None and self.unreserved() + self.reserved - self._answer_reserve() < 1

    def split(self, n: int) -> Budget:
        """Returns the budget of a child: one of `n` equal parts of what is left now."""
        return Budget(self._problem, None if self._cap is None else self.unreserved() // n, self)

    def remaining(self, n: int = 1, *, answering: bool = False) -> int:
        """Returns the tokens that each of `n` completions may have. Only the answer may use what is kept for the answer."""
        if self._cap is None:
            return self._problem.max_tokens
        return (self.unreserved() - (0 if answering else self._answer_reserve())) // n

    def unreserved(self) -> int:
        """Returns what neither was produced nor is reserved, here and in the budgets above."""
        left = (self._cap or 0) - self.produced - self.reserved
        return min(left, self._parent.unreserved()) if self._parent else left

    def add_produced(self, tokens: int) -> None:
        """Counts generated tokens, here and in the budgets above."""
        self.produced += tokens
        if self._parent:
            self._parent.add_produced(tokens)

    def take_prefill(self) -> bool:
        """Takes one token out of the part for background prefills. Returns whether there was one."""
        if self._parent:
            return self._parent.take_prefill()
        self._prefills -= 1
        return self._cap is None or self._prefills >= 0

    def reserve(self, tokens: int) -> Reservation:
        """Reserves tokens for one call."""
        return Reservation(self, tokens)

    def add_reserved(self, tokens: int) -> None:
        """Counts a reservation, or its end with a negative number, here and in the budgets above."""
        self.reserved += tokens
        if self._parent:
            self._parent.add_reserved(tokens)

    def _answer_reserve(self) -> int:
        return min(self._problem.reserve, (self._cap or 0) // 8)


class Reservation:
    """Tokens that one call may produce, held until the end of the `with` block, when its true cost is known."""

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
