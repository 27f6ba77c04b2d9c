"""The reply to a side question."""

from __future__ import annotations

from collections.abc import Mapping
from math import exp

from msgspec import Struct, field


class Reply(Struct, frozen=True, gc=False):
    """The reply of a model to a side question; it never enters the chain.

    `ids` are the tokens of `text`, `logprobs` (nats) theirs if they were asked for; `top`, with `logprobs=K`, the texts of the K most
    likely tokens at each place with their log-probabilities, the likeliest first. `choices`: the log-probability of each choice of
    the question as the reply's first token. `finish` is `stop`, `end`, `length`, `context` or `loop`. It is `no room` if
    there was no room to ask, and `cut` if the draft that it was about was accepted or rejected meanwhile.
    """

    text: str
    finish: str
    ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    choices: Mapping[str, float] = field(default_factory=dict[str, float])
    top: tuple[tuple[tuple[str, float], ...], ...] = ()

    def __str__(self) -> str:
        return self.text

    @property
    def no_room(self) -> bool:
        """True if the question was not asked, because there was no room for a reply."""
        return self.finish == "no room"

    @property
    def has_text(self) -> bool:
        """True if the model replied: there was room, and nothing cut the question off."""
        return self.finish not in ("no room", "cut")

    @property
    def probabilities(self) -> dict[str, float]:
        """The probability of each choice among the choices.

        Empty if the model did not reply.
        """
        most = max(self.choices.values(), default=0.0)
        weights = {choice: exp(logprob - most) for choice, logprob in self.choices.items()}
        total = sum(weights.values())
        return {choice: weight / total for choice, weight in weights.items()}
