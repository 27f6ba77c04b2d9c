"""Moves: what a right solver does next, as a recipe that gives the text of a step, right or wrong."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

LARGEST = 9999
PREVIOUS = "previous"
"""Stands for the result of the equation before it; "0" for that of the first."""

Operand = int | str
Sum = tuple[Operand, str, Operand]
State = Mapping[str, Any]
SIGNS: Mapping[str, Callable[[int, int], int]] = {"+": operator.add, "-": operator.sub, "*": operator.mul}


class DeadEndError(Exception):
    """An error led somewhere that nobody can go on from; draw another document."""


def reckon(left: int, sign: str, right: int) -> int:
    """Compute one equation. Raises `DeadEndError` where it leaves the whole numbers 0 to 9999."""
    if sign == "/":
        result, rest = divmod(left, right) if right else (0, 1)
    else:
        result, rest = SIGNS[sign](left, right), 0
    if rest or not 0 <= result <= LARGEST:
        raise DeadEndError
    return result


@dataclass(frozen=True)
class Step:
    """A written step: its text, its short form ("" where a rewrite leaves it out), what it changes, the value it ends on."""

    text: str
    short: str
    update: State
    value: int | None


@dataclass(frozen=True)
class Move:
    """A recipe for a step.

    The result of the equation `takes` goes to `key`, or `value` does where there are no equations. `finish` decides by the
    results what is said behind the equations, and what else changes. `other` is a plausible wrong move in its place.
    """

    words: str
    label: str = ""
    sums: tuple[Sum, ...] = ()
    key: str = ""
    takes: int = -1
    value: int | None = None
    update: Mapping[str, Any] = field(default_factory=dict[str, Any])
    finish: Callable[[Sequence[int]], tuple[str, Mapping[str, Any]]] | None = None
    other: Callable[[], Move | None] | None = None
    opening: str = ""  # the short form where there are no equations
    join: str = ", "  # between words and equations

    def operands(self, results: Sequence[int], index: int) -> tuple[int, str, int]:
        """The numbers of an equation, given the results before it."""
        left, sign, right = self.sums[index]
        first, second = (results[int(x) if x.isdecimal() else index - 1] if isinstance(x, str) else x for x in (left, right))
        return first, sign, second

    def results(self, change: Callable[[int, int], int] | None = None) -> list[int]:
        """The result of each equation; `change(index, result)` makes a wrong one of it."""
        results: list[int] = []
        for index in range(len(self.sums)):
            result = reckon(*self.operands(results, index))
            results.append(change(index, result) if change else result)
        return results

    def step(self, results: Sequence[int] | None = None) -> Step:
        """Write the step with these results; right ones unless given."""
        results = self.results() if results is None else results
        said = ", ".join(f"{a}{sign}{b}={r}" for i, r in enumerate(results) for a, sign, b in [self.operands(results, i)])
        end, more = self.finish(results) if self.finish else ("", {})
        value = results[self.takes] if results else self.value
        update = {**self.update, **({self.key: value} if self.key else {}), **more, **({"last": value} if value is not None else {})}
        text = f"{self.words}{f'{self.join}{said}' if said else ''}{end}.\n\n"
        short = f"{self.label} {said}{end}.\n\n" if said and self.label else f"{self.opening}{end}.\n\n" if self.opening else ""
        return Step(text, short, update, value)
