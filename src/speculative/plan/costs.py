"""Computes the seconds of a server's steps and calls from its profile."""

from __future__ import annotations

from functools import lru_cache
from itertools import accumulate, pairwise

from speculative.plan.profile import Curve, ServerProfile

MS = 1e-3
LEAST = 0.05
"""The least part of a measured step that remains without its context."""


class StepCosts:
    """The seconds of steps. Curves are interpolated once, and then looked up.

    A step that writes and reads costs its writing, and then the difference that its reading makes for a step of that size.
    """

    def __init__(self, profile: ServerProfile) -> None:
        self.profile = profile
        written = interpolate(profile.decode, profile.max_sequences)
        own = profile.context_ms * profile.decode_context
        self._decode = [MS * max(cost - own * size, LEAST * cost) for size, cost in enumerate(written)]
        read = interpolate(profile.read, profile.max_step_tokens + profile.max_sequences)
        self._read = [MS * cost for cost in accumulate(read, max)]
        self._decode[0] = self._read[0] = 0.0

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


@lru_cache(32)
def step_costs(profile: ServerProfile) -> StepCosts:
    """Returns the costs of a profile's steps, which are computed once."""
    return StepCosts(profile)


def interpolate(curve: Curve, last: int) -> list[float]:
    """Returns a curve's values at all sizes from 0 to `last`.

    Before the first point it is flat. Beyond the last one it goes on with the slope of its last part.
    """
    found = [curve[0][1]] * (min(curve[0][0], last) + 1)
    slope = 0.0
    for (size, cost), (following, above) in pairwise(curve):
        slope = (above - cost) / (following - size)
        found += [cost + slope * (place - size) for place in range(size + 1, min(following, last) + 1)]
    (size, cost), slope = curve[-1], max(0.0, slope)
    return found + [cost + slope * (place - size) for place in range(size + 1, last + 1)]
