"""Collects the log-probabilities of one completion's tokens."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from speculative.engines.base import Top
from speculative.engines.local.sampler import logprobs, top_logprobs
from speculative.engines.local.weights import Array

BLOCK = 64
"""Tokens whose numbers are computed at once: one by one they would take as long as the model."""


class TokenValues:
    """Holds the logits of a block of tokens, and what was computed of earlier ones.

    The logits are copies: up to BLOCK rows [V] for each completion.
    `top`: the number of likely tokens that are wanted at each place.
    """

    def __init__(self, wants_logprobs: bool, top: int) -> None:
        self._wants_logprobs, self._count = wants_logprobs, top
        self._rows: list[Array] = []
        self._logprobs: list[float] = []
        self._top: list[Top] = []
        self._done = 0

    def add(self, logits: Array, ids: Sequence[int]) -> None:
        """Takes the logits [V] that the token after `ids` is drawn from.

        `ids` are all tokens so far: when a block is full, its numbers are computed from them.
        """
        if len(self._rows) == BLOCK:
            self._compute(ids)
        self._rows.append(logits.copy())

    def finish(self, ids: Sequence[int]) -> tuple[tuple[float, ...] | None, tuple[Top, ...] | None]:
        """Returns the log-probabilities and the likely tokens of all ids.

        The last block is computed now. Each is None if it is not wanted.
        """
        self._compute(ids)
        return tuple(self._logprobs) if self._wants_logprobs else None, tuple(self._top) if self._count else None

    def _compute(self, ids: Sequence[int]) -> None:
        new = ids[self._done :]
        if not new:
            return
        rows = np.stack(self._rows[: len(new)])
        if self._wants_logprobs:
            self._logprobs += logprobs(rows, np.array(new)).tolist()
        if self._count:
            self._top += top_logprobs(rows, self._count)
        self._done, self._rows = len(ids), []
