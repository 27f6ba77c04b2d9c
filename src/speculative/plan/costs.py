"""Computes the seconds of a server's steps and calls from its profile."""

from __future__ import annotations

import numpy as np

from speculative.plan.profile import Curve, ServerProfile

MS = 1e-3


class StepCosts:
    """The seconds of steps. Curves are interpolated once, and then looked up.

    A step that writes and reads costs its writing, and then the difference that its reading makes for a step of that size.
    """

    def __init__(self, profile: ServerProfile) -> None:
        self.profile = profile
        sizes = np.arange(profile.max_sequences + 1)
        plain = interpolate(profile.decode, sizes) - profile.context_ms * profile.decode_context * sizes
        self._decode: list[float] = (MS * np.maximum(plain, 0.05 * interpolate(profile.decode, sizes))).tolist()
        self._decode[0] = 0.0
        read = interpolate(profile.read, np.arange(profile.max_step_tokens + profile.max_sequences + 1))
        self._read: list[float] = (MS * np.maximum.accumulate(read)).tolist()
        self._read[0] = 0.0

    def decode(self, sequences: int, context: float) -> float:
        """Returns the seconds of a step that writes a token for each sequence.

        `context`: the tokens of all sequences together.
        """
        return self._decode[sequences] + MS * self.profile.context_ms * context

    def mixed(self, sequences: int, context: float, new: int, pairs: float) -> float:
        """Returns the seconds of a step that also reads `new` tokens.

        `pairs`: the number of tokens before each new token, added up.
        """
        reading = self._read[sequences + new] - self._read[sequences] + MS * self.profile.attend_ms * pairs
        return (self.decode(sequences, context) if sequences else 0.0) + reading

    def call(self, prompt: int) -> tuple[float, float]:
        """Returns a call's seconds at the front end, and those that it waits beside."""
        cpu = MS * (self.profile.call_cpu_ms + self.profile.prefix_cpu_ms * prompt / 1000)
        return cpu, MS * max(0.0, self.profile.call_ms - self.profile.call_cpu_ms)


def interpolate(curve: Curve, sizes: np.ndarray) -> np.ndarray:
    """Returns a curve's values between its points.

    Beyond the last point the curve goes on with the slope of its last part.
    """
    known = np.array([size for size, _ in curve], dtype=float)
    costs = np.array([cost for _, cost in curve], dtype=float)
    found = np.interp(sizes, known, costs)
    if len(known) > 1:
        slope = max(0.0, (costs[-1] - costs[-2]) / (known[-1] - known[-2]))
        found = np.where(sizes > known[-1], costs[-1] + slope * (sizes - known[-1]), found)
    return found
