"""The cells of an evaluation in the order in which they can be run: those that were asked for, and then their controls.

Which controls there are depends on the samples of the round before, and on nothing else: who comes again gets the same rounds.
"""

from __future__ import annotations

from collections.abc import Sequence

from speculative.evaluate.cells import Cell
from speculative.evaluate.controls import Rounds, Samples, controls
from speculative.methods.spec import Contender
from speculative.runs.folder import RunFolder
from speculative.stats.cost import View
from speculative.stats.prices import Prices


class Schedule:
    """Rounds of cells. `cells` are all that were given out so far, `notes` what could not be had."""

    def __init__(self, asked: Sequence[Cell], folder: RunFolder, prices: Prices | None, view: View | None) -> None:
        """`view` is the price view in which a control costs what its method does; None is for no controls."""
        self.cells: list[Cell] = []
        self.notes: list[str] = []
        self._asked, self._folder, self._prices = list(asked), folder, prices
        self._view: View | None = view
        self._controls: list[tuple[Cell, Rounds]] = []
        self._last: list[tuple[Cell, Rounds, list[Cell]]] = []

    def next(self) -> list[Cell]:
        """The next round, with what is done of it already; nothing when all is done. The round before has to be run."""
        if not self.cells:
            return self._given(self._asked)
        if self._view and not self._controls:
            return self._given(self._begun(self._view))
        last, self._last = self._last, []
        return self._given([cell for first, rounds, cells in last for cell in self._follow(first, rounds, _samples(cells))])

    @property
    def controlled(self) -> bool:
        """Whether any control was given out."""
        return len(self.cells) > len(self._asked)

    def _given(self, cells: list[Cell]) -> list[Cell]:
        for cell in cells:
            cell.resume(self._folder.samples)
        self.cells += cells
        return cells

    def _begun(self, view: View) -> list[Cell]:
        """The first controls of every task and seed."""
        groups: dict[tuple[str, int], list[Cell]] = {}
        for cell in self._asked:
            groups.setdefault((cell.task.name, cell.problem.seed), []).append(cell)
        found: list[Cell] = []
        for group in groups.values():
            rounds = controls([cell.contender for cell in group], _samples(group), self._prices, view)
            self._controls.append((group[0], rounds))
            found += self._follow(group[0], rounds, None)
        return found

    def _follow(self, first: Cell, rounds: Rounds, found: Samples | None) -> list[Cell]:
        """What a task's controls ask for next."""
        try:
            asked: list[Contender] = next(rounds) if found is None else rounds.send(found)
        except StopIteration as over:
            self.notes += over.value
            return []
        cells = [first.like(contender) for contender in asked]
        self._last.append((first, rounds, cells))
        return cells


def _samples(cells: Sequence[Cell]) -> Samples:
    return {cell.contender.label: list(cell.done.values()) for cell in cells}
