"""The last steps of every row, column by column: the random numbers to sample by, and what was sampled."""

from __future__ import annotations

import numpy as np

from speculative.engines.local.model import Longs
from speculative.engines.local.sampler import uniforms
from speculative.engines.local.weights import Array

STEPS = 64


class Block:
    """Arrays [STEPS, rows]: a step writes one line, and a row's column is read only when somebody looks at it."""

    def __init__(self, rows: int) -> None:
        self.tokens: Longs = np.zeros((STEPS, rows), np.int64)
        self.logprobs: Array = np.zeros((STEPS, rows), np.float32)
        self.uniforms = np.zeros((STEPS, rows))
        self.step = 0  # the line to write next

    def refill(self, rows: list[int], keys: list[int], places: list[int]) -> None:
        """Numbers for the lines that are left: for each row those of its stream from its place on."""
        if rows:
            numbers = uniforms(np.array(keys, np.uint64), np.array(places, np.int64), STEPS - self.step)
            self.uniforms[self.step :, rows] = numbers

    def swap(self, one: int, other: int) -> None:
        """Exchange two rows."""
        for values in (self.tokens, self.logprobs, self.uniforms):
            values[:, [one, other]] = values[:, [other, one]]
