"""The rows that one step runs over, with everything that stays the same from step to step worked out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from speculative.engines.local.block import Block
from speculative.engines.local.calls import Sequence
from speculative.engines.local.model import Lane, Model, Rows
from speculative.engines.local.sampler import Rule, Sampler, logprobs


class Window:
    """Rows first..end: the members and, passed over, the rows between them."""

    def __init__(self, model: Model, rows: Rows, rule: Rule, members: Mapping[int, Sequence], lane: Lane, first: int, end: int) -> None:
        self._run, self._binding = model.run, lane.binding
        self._first, self._end = first, end
        window = slice(first, end)
        self._logits, self._ids, self._last = rows.logits[window], rows.ids[window, 0], rows.last[window]
        self._fed = np.minimum(rows.lengths[window], 1)
        self._sampler = Sampler(rule, first, end, self._logits)
        self.holes = [row - first for row in range(first, end) if row not in members]
        self.asks_logprobs = any(sequence.logprobs is not None for sequence in members.values())
        self.streams = any(sequence.call.streams for sequence in members.values())
        kinds = {id(sequence.call.stops): sequence.call.stops for sequence in members.values()}
        self._watches = any(stops.any for stops in kinds.values())
        order = {name: place for place, name in enumerate(kinds)}
        self._flags = np.stack([stops.flags for stops in kinds.values()]) if len(kinds) > 1 else next(iter(kinds.values())).flags[None]
        self._one_flags = next(iter(kinds.values())).flag_bytes
        self._kind = np.array([order[id(members[row].call.stops)] if row in members else 0 for row in range(first, end)])
        self.draw = self._draw_one if end - first == 1 else self._draw_all

    def _draw_all(self, block: Block) -> bool:
        """Sample a token for each row; says whether one of them may be an end."""
        first, end, step = self._first, self._end, block.step
        tokens = self._sampler.draw(block.uniforms[step, first:end])
        if self.holes:
            tokens[self.holes] = 0
        block.tokens[step, first:end] = tokens
        self._ids[:] = tokens
        if self.asks_logprobs:
            block.logprobs[step, first:end] = logprobs(self._logits, tokens)
        return self._watches and bool(self._flags[self._kind, tokens].any())

    def _draw_one(self, block: Block) -> bool:
        """The same for one row, with less ado."""
        row, step = self._first, block.step
        token = self._sampler.draw_one(block.uniforms[step, row])
        block.tokens[step, row] = token
        self._ids[0] = token
        if self.asks_logprobs:
            block.logprobs[step, row] = logprobs(self._logits, np.array([token]))[0]
        return self._watches and self._one_flags[token] != 0

    def feed(self) -> None:
        """Compute the sampled tokens: the next logits of every member."""
        self._last += self._fed
        self._run(self._binding)
