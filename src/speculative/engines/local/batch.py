"""Continuous batching: every step samples one token for each member row, and computes the next logits of all in one run."""

from __future__ import annotations

from typing import Literal

import numpy as np

from speculative.engines.base import Completion
from speculative.engines.local.block import STEPS, Block
from speculative.engines.local.cache import MOST_ROWS, Store
from speculative.engines.local.calls import Sequence
from speculative.engines.local.model import Lane, Model, Rows
from speculative.engines.local.sampler import Rule
from speculative.engines.local.stops import ID
from speculative.engines.local.weights import Array
from speculative.engines.local.window import Window


class Batch:
    """The members are rows of the store, by number. A step runs over a window of rows that holds them all.

    What was sampled stays in a block and is handed to the sequences only when somebody looks (`flush`), so that a step costs
    the same few array operations for one row or for many.
    """

    def __init__(self, model: Model, store: Store) -> None:
        self._model, self._store = model, store
        self.members: dict[int, Sequence] = {}
        self.suspended: list[Sequence] = []  # had to give up their rows; they go on when they are computed again
        self.shrinks = 0  # how often rows were given up, also by those who only held one
        self._rows = Rows(MOST_ROWS, model.shape.vocabulary)
        self._rule = Rule(MOST_ROWS)
        self._block = Block(MOST_ROWS)
        self._fresh: list[int] = []  # members that have no random numbers yet
        self._unfed = 0  # 1 between sampling a token and computing it
        self._left = 0  # steps until a member comes to its limit, or a row to its last position
        self._window: Window | None = None  # None: to be worked out
        self._version = 0
        self._lanes: dict[tuple[int, int], Lane] = {}
        store.settle = self.flush_all

    def join(self, row: int, sequence: Sequence, logits: Array) -> None:
        """Decode a sequence in a busy row whose last token has these logits [V]."""
        decoding = sequence.call.decoding
        self.members[row] = sequence
        sequence.written = len(sequence.ids)
        sequence.since = self._block.step
        self._rows.logits[row] = logits
        self._rows.lengths[row] = 2
        self._rows.last[row] = self._store.length[row]
        self._rule.set(row, self._model.shape.vocabulary, decoding.temperature, decoding.top_p, decoding.top_k)
        self._fresh.append(row)
        self._window = None

    def leave(self, row: int) -> Sequence:
        """Stop decoding a row; what it wrote is kept."""
        self.flush(row)
        sequence = self.members.pop(row)
        self._rows.lengths[row] = 0
        self._rows.last[row] = 0
        self._store.park(row)
        self._window = None
        return sequence

    def step(self) -> None:
        """One token for every member."""
        block, window = self._block, self._window
        if window is None or self._version != self._store.version:
            window = self._prepare()
        looks = window.draw(block)
        block.step += 1
        self._unfed = 1
        self._left -= 1
        if looks or self._left <= 0:
            self._end_some()
        if window.streams:
            self._tell()
        if self.members:
            window = self._window or self._prepare()
            window.feed()
        self._unfed = 0
        if block.step == STEPS:
            self._turn_over()

    def recover(self) -> None:
        """After a step that raised and took its members with it."""
        self._unfed = 0
        self._window = None

    def flush(self, row: int) -> None:
        """Hand a member what was sampled for it, and note in the store what was computed."""
        sequence, step = self.members[row], self._block.step
        if sequence.since < step:
            new = self._block.tokens[sequence.since : step, row].tolist()
            sequence.ids += new
            sequence.call.tally.produced_tokens += len(new)
            if sequence.logprobs is not None:
                sequence.logprobs += self._block.logprobs[sequence.since : step, row].tolist()
            sequence.since = step
        computed = len(sequence.ids) - self._unfed
        if computed > sequence.written:
            self._store.write(row, np.array(sequence.ids[sequence.written : computed], np.int32))
            sequence.written = computed

    def flush_all(self) -> None:
        """Hand every member what was sampled for it."""
        for row in self.members:
            self.flush(row)

    def make_room(self, positions: int) -> None:
        """Rows of at least so many positions. If fewer rows then fit, the members that joined last are suspended."""
        store = self._store
        if positions <= store.positions:
            return
        rows, _ = store.growth(positions)
        if rows < store.rows:
            self.shrinks += 1
            store.busy[:] = False
            while len(self.members) > rows:
                self.suspended.append(self.leave(next(reversed(self.members))))
            store.busy[list(self.members)] = True
            for row in [row for row in self.members if row >= rows]:
                self._move(row, int(np.flatnonzero(~store.busy[:rows])[0]))
        store.grow(positions)

    def _prepare(self) -> Window:
        """Set up the window after the members, or the store's buffers, have changed."""
        store = self._store
        longest = max(int(self._rows.last[row]) for row in self.members) + 1
        self.make_room(longest + 2)
        if self._version != store.version:
            self._version = store.version
            self._lanes.clear()
        self._compact(len(self.members))
        fresh = [row for row in self._fresh if row in self.members]
        self._block.refill(fresh, [self.members[row].key for row in fresh], [self._produced(self.members[row]) for row in fresh])
        self._fresh.clear()
        self._left = min(sequence.limit - self._produced(sequence) for sequence in self.members.values())
        self._left = min(self._left, store.positions - longest - 1)
        first, end = min(self.members), max(self.members) + 1
        if (first, end) not in self._lanes:
            self._lanes[first, end] = self._model.lane(store.kv, first, end, self._rows)
        self._window = Window(self._model, self._rows, self._rule, self.members, self._lanes[first, end], first, end)
        return self._window

    def _compact(self, tolerated: int) -> None:
        """Bring the members together when more rows than tolerated would be passed over in each step: the few go to the many."""
        rows = np.sort(list(self.members))
        size = len(rows) + tolerated
        if rows[-1] - rows[0] < size:
            return
        starts = np.minimum(rows, max(self._store.rows - size, 0))
        first = int(starts[(np.searchsorted(rows, starts + size) - np.searchsorted(rows, starts)).argmax()])
        free = first + np.flatnonzero(~self._store.busy[first : first + size])
        outside = [int(row) for row in rows if not first <= row < first + size]
        for source, target in zip(outside, free.tolist(), strict=False):
            self._move(source, target)

    def _move(self, source: int, target: int) -> None:
        pair, back = [source, target], [target, source]
        self._store.swap(source, target)
        self.members[target] = self.members.pop(source)
        self._fresh = [target if row == source else row for row in self._fresh]
        for values in (self._rows.ids, self._rows.last, self._rows.lengths, self._rows.logits):
            values[pair] = values[back]
        for values in (self._rule.scale, self._rule.drop, self._rule.cut, self._rule.greedy):
            values[pair] = values[back]
        self._block.swap(source, target)
        self._window = None

    def _produced(self, sequence: Sequence) -> int:
        return len(sequence.ids) + self._block.step - sequence.since

    def _turn_over(self) -> None:
        """The block is full: hand everything out and begin again, with the members side by side."""
        self.flush_all()
        if self.members:
            self._compact(0)
        self._block.step = 0
        for sequence in self.members.values():
            sequence.since = 0
        sequences = self.members.values()
        self._block.refill(list(self.members), [sequence.key for sequence in sequences], [len(sequence.ids) for sequence in sequences])

    def _tell(self) -> None:
        for row, sequence in self.members.items():
            if sequence.call.streams:
                self.flush(row)
                sequence.call.tell(sequence.ids[sequence.told :])
                sequence.told = len(sequence.ids)

    def _end_some(self) -> None:
        """Take out the members that have come to their end; most tokens that might end one do not."""
        if self._left <= 0:
            self._window = None  # how far it is now, and whether there is room, is worked out anew
        for row in list(self.members):
            sequence = self.members[row]
            flag = sequence.call.stops.flag_bytes[int(self._block.tokens[self._block.step - 1, row])]
            if flag == ID:
                self._finish(row, "end")
            elif flag and self._completes(row):
                self._finish(row, "stop")
            elif self._produced(sequence) >= sequence.limit:
                self._finish(row, "length" if sequence.limit == sequence.call.decoding.max_tokens else "context")

    def _completes(self, row: int) -> bool:
        self.flush(row)
        sequence = self.members[row]
        return sequence.call.stops.completed(sequence.ids)

    def _finish(self, row: int, why: Literal["stop", "end", "length", "context"]) -> None:
        sequence = self.leave(row)
        end = sequence.ids.pop() if why == "end" else None
        values = None if sequence.logprobs is None else tuple(sequence.logprobs[: len(sequence.ids)])
        completion = Completion(tuple(sequence.ids), why, end, values)
        sequence.call.finish(sequence.i, sequence.j, completion, sequence.ids[sequence.told :])
