"""Learns how fast each way to go on really is, as a share of its prediction."""

from __future__ import annotations

import time
from collections.abc import Callable

from msgspec import Struct

from speculative.plan.adaptive import Way

LEAST, MOST = 400, 4000
"""Tokens before a way's pace counts, and tokens after which older ones have no weight."""
BAND = 1.15
"""A prediction is taken as right if the measured speed is within this factor of it: single steps differ by more than that."""
BOUNDS = 0.2, 2.0
"""The least and the highest pace that is believed."""
HALF_LIFE_S = 300.0
"""Seconds without a measurement after which half of what was learned of a way is forgotten, so that it is tried again."""


class _Learned(Struct):
    """Tokens of one way, with their measured and predicted seconds."""

    tokens: float = 0.0
    measured_s: float = 0.0
    predicted_s: float = 0.0
    at: float = 0.0


class Paces:
    """The measured speed of each way, as a share of the predicted one.

    A profile is of some hardware, and the servers may have another: a shared GPU, a busy neighbour, a version without cheap scores.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._learned: dict[Way, _Learned] = {}

    def note(self, way: Way, tokens: int, seconds: float, predicted: float) -> None:
        """Learns from tokens that one chain wrote.

        Args:
            way: the way in which they were written.
            tokens: their number; nothing is learned from 0.
            seconds: the time that they took.
            predicted: the predicted tokens a second of one chain.
        """
        if tokens <= 0 or seconds <= 0 or predicted <= 0:
            return
        one = self._learned.setdefault(way, _Learned())
        stay = max(0.0, 1 - tokens / MOST)
        one.tokens = stay * one.tokens + tokens
        one.measured_s = stay * one.measured_s + seconds
        one.predicted_s = stay * one.predicted_s + tokens / predicted
        one.at = self._clock()

    def of(self, way: Way) -> float:
        """Returns the pace of a way: 1 if it is as predicted, or not known."""
        one = self._learned.get(way)
        if one is None or one.tokens < LEAST:
            return 1.0
        ratio = min(BOUNDS[1], max(BOUNDS[0], one.predicted_s / one.measured_s))
        ratio **= 0.5 ** ((self._clock() - one.at) / HALF_LIFE_S)
        return 1.0 if 1 / BAND < ratio < BAND else ratio
