"""What a chain and its children may still cost."""

from __future__ import annotations

from types import TracebackType

from speculative.problem import Problem


class Budget:
    """Counts all that is generated for one problem, waste included, against `max_produced`.

    A call that is under way counts with the most that it may produce: that is its promise. Warm-ups in the background have a
    part of the cap of their own: how many there are depends on the clock, and what is written must not. It is enough for one
    token after every `warm_every`.
    """

    def __init__(self, problem: Problem, cap: int | None, above: Budget | None = None) -> None:
        self._warm_ups = 0
        if cap is not None and problem.warm_every and not above:
            self._warm_ups = cap // (problem.warm_every + 1)
            cap -= self._warm_ups
        self._problem, self._cap, self._above = problem, cap, above
        self.produced = 0
        self.promised = 0

    @property
    def left(self) -> int | None:
        """What may still be produced by the thinking; None when there is no cap."""
        return None if self._cap is None else self.producible()

    def part(self, share: int) -> Budget:
        """The budget of a child: one of `share` equal parts of what is left now."""
        return Budget(self._problem, None if self._cap is None else self._left() // share, self)

    @property
    def spent(self) -> bool:
        """Whether nothing is left for the thinking."""
        return self._cap is not None and self._left() + self.promised - self._kept_free() < 1

    def producible(self, n: int = 1, *, answering: bool = False) -> int:
        """Tokens that each of `n` completions may have. What the answer needs stays free, unless it is the answer that asks."""
        if self._cap is None:
            return self._problem.max_tokens
        return (self._left() - (0 if answering else self._kept_free())) // n

    def produce(self, tokens: int) -> None:
        """Takes down what was generated, here and in all that this is a part of."""
        self.produced += tokens
        if self._above:
            self._above.produce(tokens)

    def warm_up(self) -> bool:
        """Takes one token out of the part of the warm-ups; whether there was one left."""
        if self._above:
            return self._above.warm_up()
        self._warm_ups -= 1
        return self._cap is None or self._warm_ups >= 0

    def promise(self, tokens: int) -> Promise:
        return Promise(self, tokens)

    def owe(self, tokens: int) -> None:
        """Takes down a promise, or with fewer than no tokens that it was kept."""
        self.promised += tokens
        if self._above:
            self._above.owe(tokens)

    def _left(self) -> int:
        left = (self._cap or 0) - self.produced - self.promised
        return min(left, self._above._left()) if self._above else left

    def _kept_free(self) -> int:
        return min(self._problem.reserve, (self._cap or 0) // 8)


class Promise:
    """What one call may produce, from now until the end of the `with` block, when its true cost is known."""

    def __init__(self, budget: Budget, tokens: int) -> None:
        self._budget, self._tokens = budget, 0
        self.add(tokens)

    def add(self, tokens: int) -> None:
        self._tokens += tokens
        self._budget.owe(tokens)

    def __enter__(self) -> Promise:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.add(-self._tokens)
