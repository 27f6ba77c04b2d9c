"""Continuous batching: one step writes a token for every sequence that decodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from speculative.engines.base import Completion
from speculative.engines.local.cache import MOST_ROWS, Store
from speculative.engines.local.calls import Sequence, WorkerCall
from speculative.engines.local.model import Model, RowBinding, Rows
from speculative.engines.local.sampler import Rule, Sampler, uniforms
from speculative.engines.local.stops import ID
from speculative.engines.local.weights import Array

AHEAD = 32
"""Random numbers that are drawn at once for each row."""

COMPACT_EVERY = 64
"""Steps after which the members are brought side by side."""


class Batch:
    """Decodes its members, which are rows of the store, in steps of one token.

    A step runs over a window of neighbouring rows that holds all members. A member that waits for its reader while others go on is held:
    it keeps its row and its logits outside of the steps.
    """

    def __init__(self, model: Model, store: Store) -> None:
        self._model, self._store = model, store
        self.members: dict[int, Sequence] = {}
        self.held: dict[int, tuple[Sequence, Array]] = {}  # with the logits [V] that its next token is drawn from
        self.suspended: list[Sequence] = []  # had to give up their rows; they go on when they are computed again
        self.shrinks = 0  # how often rows were given up, also by those who only held one
        self._rows = Rows(MOST_ROWS, model.shape.vocabulary)
        self._rule = Rule(MOST_ROWS)
        self._unfed = 0  # 1 between sampling a token and computing it
        self._age = 0  # steps since the members were side by side
        self._window: Window | None = None  # None: must be built again
        self._version = 0
        self._bindings: dict[tuple[int, int], RowBinding] = {}
        store.sync = self._record_all

    def join(self, row: int, sequence: Sequence, logits: Array) -> None:
        """Decodes a sequence in a busy row whose last token has these logits [V]."""
        decoding = sequence.call.decoding
        self.members[row] = sequence
        sequence.recorded = len(sequence.ids)
        self._rows.logits[row] = logits
        self._rows.lengths[row] = 2
        self._rows.last[row] = self._store.length[row]
        self._rule.set(row, self._model.shape.vocabulary, decoding.temperature, decoding.top_p, decoding.top_k)
        self._window = None

    def leave(self, row: int) -> Sequence:
        """Stops decoding a row; the row keeps its tokens."""
        sequence = self.held.pop(row)[0] if row in self.held else self._take_out(row)
        self._store.park(row)
        return sequence

    def abandon(self, call: WorkerCall) -> None:
        """Removes the sequences of a call."""
        held = {row: sequence for row, (sequence, _) in self.held.items()}
        for row in [row for row, sequence in (self.members | held).items() if sequence.call is call]:
            self.leave(row)
        self.suspended = [sequence for sequence in self.suspended if sequence.call is not call]

    @property
    def has_waiting(self) -> bool:
        """True if a sequence that waits for its reader has a row."""
        return bool(self.held) or any(sequence.waits for sequence in self.members.values())

    def suspend_waiting(self) -> None:
        """Makes the sequences that wait for their readers give up their rows."""
        self._hold()
        self._suspend_held()

    def _suspend_held(self) -> None:
        self.suspended += [self.leave(row) for row in list(self.held)]

    def take_resumable(self) -> list[Sequence]:
        """Returns the suspended sequences that wait for no reader, and forgets them."""
        resumable = [sequence for sequence in self.suspended if not sequence.waits]
        self.suspended = [sequence for sequence in self.suspended if sequence not in resumable]
        return resumable

    @property
    def sequences(self) -> list[Sequence]:
        """Returns the members, those that are held, and those that are suspended."""
        return [*self.members.values(), *(sequence for sequence, _ in self.held.values()), *self.suspended]

    @property
    def may_step(self) -> bool:
        """True if a sequence does not wait for its reader."""
        return any(not sequence.waits for sequence in self.members.values()) or any(not one.waits for one, _ in self.held.values())

    def step(self) -> None:
        """Writes one token for every sequence that does not wait for its reader."""
        self._hold()
        window = self._window
        if window is None or self._version != self._store.version:
            window = self._prepare()
        may_end = window.draw()
        self._unfed = 1
        if may_end:
            self._end_some(window)
        if window.streams:
            self._emit()
        if self.members:
            (self._window or self._prepare()).feed()
        self._unfed = 0
        self._age += 1
        if self._age >= COMPACT_EVERY and self.members:
            self._compact(0)
            self._age = 0

    def recover(self) -> None:
        """Makes the batch usable after a step that raised, once its members have left."""
        self._unfed = 0
        self._window = None

    def make_room(self, positions: int) -> None:
        """Gives every row at least this many positions.

        If fewer rows fit then, the members that joined last are suspended.
        """
        store = self._store
        if positions <= store.positions:
            return
        rows, _ = store.growth(positions)
        if rows < store.rows:
            self.shrinks += 1
            store.busy[:] = False
            self._suspend_held()
            while len(self.members) > rows:
                self.suspended.append(self.leave(next(reversed(self.members))))
            store.busy[list(self.members)] = True
            for row in [row for row in self.members if row >= rows]:
                self._move(row, int(np.flatnonzero(~store.busy[:rows])[0]))
        store.grow(positions)

    def _hold(self) -> None:
        """Takes members that wait out of the steps, and the others back in."""
        for row in [row for row, (sequence, _) in self.held.items() if not sequence.waits]:
            sequence, logits = self.held.pop(row)
            self.join(row, sequence, logits)
        for row in [row for row, sequence in self.members.items() if sequence.waits]:
            logits = self._rows.logits[row].copy()
            self.held[row] = self._take_out(row), logits

    def _take_out(self, row: int) -> Sequence:
        """Removes a member from the steps; its row stays busy."""
        self._record(row)
        sequence = self.members.pop(row)
        self._rows.lengths[row] = 0
        self._rows.last[row] = 0
        self._window = None
        return sequence

    def _record(self, row: int) -> None:
        """Notes in the store what was computed for a member."""
        sequence = self.members[row]
        computed = len(sequence.ids) - self._unfed
        if computed > sequence.recorded:
            self._store.write(row, np.array(sequence.ids[sequence.recorded : computed], np.int32))
            sequence.recorded = computed

    def _record_all(self) -> None:
        for row in self.members:
            self._record(row)

    def _prepare(self) -> Window:
        """Builds the window after the members, or the store's buffers, have changed."""
        store = self._store
        longest = max(int(self._rows.last[row]) for row in self.members) + 1
        self.make_room(longest + 2)
        if self._version != store.version:
            self._version = store.version
            self._bindings.clear()
        self._compact(len(self.members))
        left = min(sequence.limit - len(sequence.ids) for sequence in self.members.values())
        left = min(left, store.positions - longest - 1)
        first, end = min(self.members), max(self.members) + 1
        if (first, end) not in self._bindings:
            self._bindings[first, end] = self._model.bind_rows(store.kv, first, end, self._rows)
        self._window = Window(self._model, self._rows, self._rule, self.members, self._bindings[first, end], (first, end), left)
        return self._window

    def _compact(self, tolerated: int) -> None:
        """Moves members together if a step passes over more rows than tolerated.

        The fewest members move.
        """
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
        for values in (self._rows.ids, self._rows.last, self._rows.lengths, self._rows.logits):
            values[pair] = values[back]
        for values in (self._rule.scale, self._rule.drop, self._rule.cut, self._rule.greedy):
            values[pair] = values[back]
        self._window = None

    def _emit(self) -> None:
        """Hands new tokens to the calls that stream."""
        for sequence in self.members.values():
            if sequence.call.streams:
                sequence.call.emit(sequence.ids[sequence.streamed :])
                sequence.streamed = len(sequence.ids)

    def _end_some(self, window: Window) -> None:
        """Finishes the members that have ended, of those that may have."""
        if window.left <= 0:
            self._window = None  # the next limit, and whether there is room, is computed again
        for row, sequence in list(self.members.items()):
            stops = sequence.call.stops
            flag = stops.flag_bytes[sequence.ids[-1]]
            if flag == ID:
                self._finish(row, "end")
            elif flag and stops.completed(sequence.ids):
                self._finish(row, "stop")
            elif len(sequence.ids) >= sequence.limit:
                self._finish(row, "length" if sequence.limit == sequence.call.decoding.max_tokens else "context")

    def _finish(self, row: int, why: Literal["stop", "end", "length", "context"]) -> None:
        sequence = self.leave(row)
        end = sequence.ids.pop() if why == "end" else None
        values, top = sequence.values.finish(sequence.ids) if sequence.values else (None, None)
        completion = Completion(tuple(sequence.ids), why, end, values, top, sequence.choices)
        sequence.call.finish(sequence.i, sequence.j, completion, sequence.ids[sequence.streamed :])


class Window:
    """Holds the rows first..end of a step: members, and rows between them.

    What stays the same from step to step is computed once, here. `left` counts the steps to the next limit of a member or a row.
    """

    def __init__(
        self, model: Model, rows: Rows, rule: Rule, members: Mapping[int, Sequence], binding: RowBinding, span: tuple[int, int], left: int
    ) -> None:
        first, end = span
        window = slice(first, end)
        self._run, self._binding = model.run, binding.io
        self._logits, self._ids, self._last = rows.logits[window], rows.ids[window, 0], rows.last[window]
        self._fed = np.minimum(rows.lengths[window], 1)
        self._sampler = Sampler(rule, first, end, self._logits)
        self.left = left
        places = sorted(members)
        self._sequences = [members[row] for row in places]
        self._places = np.array(places) - first
        self._holes = np.setdiff1d(np.arange(end - first), self._places)
        self._keys = np.array([sequence.key for sequence in self._sequences], np.uint64)
        self._numbers, self._line = np.zeros((AHEAD, end - first)), AHEAD
        self._inspects = any(sequence.inspects for sequence in self._sequences)
        self.streams = any(sequence.call.streams for sequence in self._sequences)
        kinds = {id(sequence.call.stops): sequence.call.stops for sequence in self._sequences}
        order = {name: place for place, name in enumerate(kinds)}
        self._watches = any(stops.any for stops in kinds.values())
        self._flags = np.stack([stops.flags for stops in kinds.values()])
        self._kind = np.zeros(end - first, np.int64)
        self._kind[self._places] = [order[id(sequence.call.stops)] for sequence in self._sequences]
        self._sequence = self._sequences[0]
        self._stats, self._flag_bytes = self._sequence.call.stats, self._sequence.call.stops.flag_bytes
        self.draw = self._draw_one if end - first == 1 else self._draw_all

    def feed(self) -> None:
        """Computes the sampled tokens: the next logits of every member."""
        self._last += self._fed
        self._run(self._binding)

    def _draw_all(self) -> bool:
        """Samples a token for each member; returns whether one of them may have ended."""
        if self._inspects:
            for sequence, place in zip(self._sequences, self._places.tolist(), strict=True):
                if sequence.inspects:
                    sequence.inspect(self._logits[place])
        line = self._refill() if self._line == AHEAD else self._line
        self._line = line + 1
        self.left -= 1
        tokens = self._sampler.draw(self._numbers[line])
        if len(self._holes):
            tokens[self._holes] = 0
        self._ids[:] = tokens
        for sequence, token in zip(self._sequences, tokens[self._places].tolist(), strict=True):
            sequence.ids.append(token)
            sequence.call.stats.produced_tokens += 1
        return self.left <= 0 or (self._watches and bool(self._flags[self._kind, tokens].any()))

    def _draw_one(self) -> bool:
        """Samples a token for a window of one row."""
        if self._inspects and self._sequence.inspects:
            self._sequence.inspect(self._logits[0])
        sequence, line = self._sequence, self._line
        if line == AHEAD:
            line = self._refill()
        self._line = line + 1
        self.left -= 1
        token = self._sampler.draw_one(self._numbers[line, 0])
        self._ids[0] = token
        sequence.ids.append(token)
        self._stats.produced_tokens += 1
        return self.left <= 0 or self._flag_bytes[token] != 0

    def _refill(self) -> int:
        """Draws the next numbers of every member's own stream; returns line 0."""
        starts = np.array([sequence.drawn + len(sequence.ids) for sequence in self._sequences], np.int64)
        self._numbers[:, self._places] = uniforms(self._keys, starts, AHEAD)
        return 0
