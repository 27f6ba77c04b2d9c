"""The cache of keys and values: rows that are found by longest prefix."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from speculative.engines.local.model import Ints, Model

MOST_ROWS = 256
TAIL_RATIO = 4  # where no row is empty, a tail is cut off, rather than the beginning copied, when it is so many times shorter
FIRST_ROWS = 4
FIRST_POSITIONS = 512


class Store:
    """Keeps R rows of M positions. A busy row is written to, a parked one is kept.

    `tokens` [R, M] are the ids whose keys and values the row holds, `length` [R] how many. Rows and positions grow in
    powers of two as long as they fit into `budget` bytes; then the least recently used parked row makes room.
    """

    def __init__(self, model: Model, budget: int) -> None:
        self._model = model
        self._budget = budget
        self._clock = 0
        self._used = np.zeros(MOST_ROWS, np.int64)
        self.busy: NDArray[np.bool_] = np.zeros(MOST_ROWS, np.bool_)
        self.length: Ints = np.zeros(MOST_ROWS, np.int32)
        self.version = 0  # of the buffers
        self.park_count = 0  # calls of `park`
        self.sync: Callable[[], None] = lambda: None  # called before rows move, so that `length` says what they hold
        positions = min(FIRST_POSITIONS, self._ceiling())
        self._allocate(min(FIRST_ROWS, self._limit(positions)), positions)

    def _ceiling(self) -> int:
        """Returns the most positions that a row needs: the context plus one."""
        return self._model.positions + 1

    def _limit(self, positions: int) -> int:
        """Returns how many rows of this length fit the budget, at least one."""
        return max(1, min(MOST_ROWS, self._budget // (positions * self._model.token_bytes)))

    def _allocate(self, rows: int, positions: int) -> None:
        self.kv = self._model.buffers(rows, positions)
        self.tokens: Ints = np.zeros((rows, positions), np.int32)
        self.version += 1

    @property
    def rows(self) -> int:
        return self.tokens.shape[0]

    @property
    def positions(self) -> int:
        return self.tokens.shape[1]

    @property
    def nbytes(self) -> int:
        """Returns the size of the buffers in bytes."""
        return self.kv.nbytes

    def claim(self, ids: Ints, most: int) -> tuple[int, int] | None:
        """Returns a busy row that begins with the longest cached prefix of `ids`.

        Its second value is the length of that prefix, at most `most`.

        None when all rows are busy. A row keeps its tail, and its beginning is copied, if a row is empty or the tail is long.
        """
        row, shared = self.longest(ids, most)
        tail = int(self.length[row]) - shared
        cheap = not tail or (tail * TAIL_RATIO <= shared and not len(self._empty()))
        if shared and not self.busy[row] and cheap:
            return self._begin(row, shared), shared
        fresh = self.take(len(ids) + 2, row if shared else None)
        if fresh is None and (not shared or self.busy[row]):
            return None
        target = row if fresh is None else fresh
        self.copy(row, target, shared)
        return self._begin(target, shared), shared

    def longest(self, ids: Ints, most: int) -> tuple[int, int]:
        """Returns the row that shares most tokens with `ids`, and how many.

        Among equals, parked and short rows come first.
        """
        count = min(len(ids), most, self.positions)
        if count == 0:
            return 0, 0
        differ = self.tokens[:, :count] != ids[:count]
        length = self.length[: self.rows]
        shared = np.minimum(np.where(differ.any(axis=1), differ.argmax(axis=1), count), length)
        best = int(shared.max())
        rank = np.where(shared == best, length - best + np.where(self.busy[: self.rows], 1 << 20, 0), 1 << 30)
        return int(rank.argmin()), best

    def _begin(self, row: int, length: int) -> int:
        self._touch(row)
        self.busy[row] = True
        self.length[row] = length
        return row

    def _touch(self, row: int) -> None:
        self._clock += 1
        self._used[row] = self._clock

    def take(self, positions: int, avoid: int | None = None) -> int | None:
        """Returns an empty busy row: a free, a new, or the least recently used one.

        Returns None if all are busy. Rows may have to `grow` before the text fits.
        """
        if len(free := self._empty()):
            return self._begin(self._nearest(free), 0)
        if self.rows < self._limit(self.positions):
            self._resize(min(self.rows * 2, self._limit(self.positions)), self.positions)
            return self.take(positions, avoid)
        idle = ~self.busy[: self.rows]
        if avoid is not None:
            idle[avoid] = False
        parked = np.flatnonzero(idle)
        if not len(parked):
            return None
        oldest = int(parked[self._used[parked].argmin()])
        self.length[oldest] = 0
        if self._shrinks(positions):
            return self.take(positions, avoid)
        return self._begin(oldest, 0)

    def _empty(self) -> NDArray[np.intp]:
        return np.flatnonzero(~self.busy[: self.rows] & (self.length[: self.rows] == 0))

    def _nearest(self, rows: NDArray[np.intp]) -> int:
        """Returns the row closest to the busy ones, as steps run over a window."""
        busy = np.flatnonzero(self.busy)
        return int(rows[np.abs(rows - int(busy[-1])).argmin()] if len(busy) else rows[0])

    def _shrinks(self, positions: int) -> bool:
        """Goes back to shorter and more rows, if no long text is left."""
        half = max(self.positions // 2, min(FIRST_POSITIONS, self._ceiling()))
        self.sync()
        if half == self.positions or max(self.length.max() + 2, positions) > half or self._limit(half) <= self.rows:
            return False
        self._resize(min(2 * self.rows, self._limit(half)), half)
        return True

    def park(self, row: int) -> None:
        """Ends the writing to a row, which is kept."""
        self._touch(row)
        self.busy[row] = False
        self.park_count += 1

    def drop(self, row: int) -> None:
        """Ends the writing to a row and forgets its tokens."""
        self.length[row] = 0
        self.park(row)

    def write(self, row: int, ids: Ints) -> None:
        """Records tokens that were computed at the row's end."""
        start = int(self.length[row])
        self.tokens[row, start : start + len(ids)] = ids
        self.length[row] = start + len(ids)

    def copy(self, source: int, target: int, count: int) -> None:
        """Copies the first `count` tokens of `source` to `target`."""
        if source != target and count:
            self.kv[:, target, :, :count] = self.kv[:, source, :, :count]
            self.tokens[target, :count] = self.tokens[source, :count]
        self.length[target] = count

    def swap(self, one: int, other: int) -> None:
        """Exchanges two rows."""
        self.sync()
        n, m = int(self.length[one]), int(self.length[other])
        kept = self.kv[:, other, :, :m].copy()
        self.kv[:, other, :, :n] = self.kv[:, one, :, :n]
        self.kv[:, one, :, :m] = kept
        for values in (self.tokens, self.length, self.busy, self._used):
            values[[one, other]] = values[[other, one]]

    def growth(self, positions: int) -> tuple[int, int]:
        """Returns the shape of buffers whose rows have at least `positions`."""
        wanted = self.positions
        while wanted < positions:
            wanted *= 2
        wanted = min(wanted, self._ceiling())
        return min(self.rows, self._limit(wanted)), wanted

    def grow(self, positions: int) -> None:
        """Makes every row this long.

        Busy rows must be below the new number of rows (`growth`) before.
        """
        self._resize(*self.growth(positions))

    def _resize(self, rows: int, positions: int) -> None:
        """Moves the rows to new buffers.

        If too many are parked, the least recently used ones are dropped.
        """
        self.sync()
        old, tokens = self.kv, self.tokens
        held = self.length[: len(tokens)] > 0
        parked = np.flatnonzero(held & ~self.busy[: len(tokens)])
        parked = parked[self._used[parked].argsort()[::-1]][: rows - int(self.busy[:rows].sum())]
        staying = [int(row) for row in np.flatnonzero(self.busy[:rows])] + [int(row) for row in parked if row < rows]
        places = iter(sorted(set(range(rows)) - set(staying)))
        moves = {row: row for row in staying} | {int(row): next(places) for row in parked if row >= rows}
        length, used = self.length.copy(), self._used.copy()
        self._allocate(rows, positions)
        self.length[:] = 0
        self.busy[rows:] = False
        for source, target in moves.items():
            count = int(length[source])
            self.kv[:, target, :, :count] = old[:, source, :, :count]
            self.tokens[target, :count] = tokens[source, :count]
            self.length[target], self._used[target] = count, used[source]
        self._model.forget()
