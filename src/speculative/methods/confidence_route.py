"""The confidence of the small model in a step decides who writes the next one."""

import re
from collections.abc import Callable, Sequence
from math import exp, log, pi
from statistics import fmean
from typing import Any, ClassVar, Literal

from pydantic import Field

from speculative.chain.chain import Chain
from speculative.chain.drafts import Draft
from speculative.chain.steps import STEP
from speculative.methods.base import Method
from speculative.methods.families import Family
from speculative.methods.mixture import fit_mixture
from speculative.methods.step_loop import is_bare
from speculative.methods.tunable import GradedTrace, Tunable, judged
from speculative.trace.events import Judgement

MATHS = re.compile(rb"[0-9+\-*/=<>^%\\{}$]")

LIKELY = 5
"""Likeliest tokens of which a place's confidence is taken."""


class ConfidenceRoute(Method):
    """Small writes steps; big writes the step after one that small doubted.

    Small doubts a step if it was not confident of it.
    A token's confidence is its highest probability divided by 1 + the entropy of its five likeliest tokens; a step's is the mean over its
    tokens of mathematics, or over all. Two normal distributions, of confident and of unconfident steps, give the probability that
    the step is one of the latter; above `threshold` big writes the next step.

    Cost: one call a step; nothing is thrown away. The distributions are those of a pair and its problems: `speculative tune` fits
    them on your own. The defaults were fitted on steps of every fourth tuning problem of the bundled pair. Needs: `top` of small.
    Source: STEER (arXiv 2511.06190), which fits the distributions anew at each step over a batch of problems, and so needs a batch.
    """

    family: ClassVar[Family] = "small is unsure"
    probe: ClassVar[dict[str, Any]] = {"threshold": 1.0}
    needs: ClassVar[dict[str, set[str]]] = {"small": {"top"}}

    threshold: float = Field(default=0.4, ge=0, le=1, description="probability of an unconfident step above which big writes the next one")
    tokens: Literal["math", "all"] = Field(default="math", description="tokens whose confidence counts")
    low_mean: float = Field(default=0.952, ge=0, le=1, description="mean confidence of unconfident steps")
    low_sd: float = Field(default=0.034, gt=0, le=1, description="standard deviation of it")
    high_mean: float = Field(default=0.997, ge=0, le=1, description="mean confidence of confident steps")
    high_sd: float = Field(default=0.0035, gt=0, le=1, description="standard deviation of it")
    low_share: float = Field(default=0.56, gt=0, lt=1, description="share of unconfident steps")

    def tunables(self) -> tuple[Tunable, ...]:
        shares = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.75, 0.9)
        return (Tunable("threshold", "above", lambda trace: map(self.posterior, judged(trace)), shares=shares),)

    def fitted(self, runs: Sequence[GradedTrace]) -> dict[str, Any]:
        """Returns the two distributions of the confidence of small's steps."""
        found = fit_mixture([confidence for run in runs for confidence in judged(run.trace)])
        return {} if found is None else found.rounded()

    async def think(self, chain: Chain) -> None:
        while chain.thinking:
            step = await chain.draft("small", stop=STEP, logprobs=LIKELY)
            value = None if is_bare(step.text) else self._confidence(step, chain.engines[step.author].tokenizer.to_bytes)
            await chain.accept(
                step, judgement=None if value is None or step.ended else Judgement(value, role="small", measure="confidence in the tokens")
            )
            if value is not None and self.posterior(value) > self.threshold and chain.thinking:
                await chain.write("big", stop=STEP)

    def posterior(self, value: float) -> float:
        """Returns the probability that a step of this confidence is unconfident."""
        low = _log_normal(value, self.low_mean, self.low_sd) + log(self.low_share)
        high = _log_normal(value, self.high_mean, self.high_sd) + log(1 - self.low_share)
        return 1 / (1 + exp(min(high - low, 700.0)))

    def _confidence(self, step: Draft, to_bytes: Callable[[list[int]], bytes]) -> float | None:
        """Returns the mean confidence of the tokens of a step that count.

        With `tokens=math` the tokens of mathematics count, if there are any; else all do. None for a step without tokens.
        """
        every = [exp(step.top(place)[0][1]) / (1 + step.entropy(place)) for place in range(len(step.ids))]
        if not every:
            return None
        chosen = [value for token, value in zip(step.ids, every, strict=True) if MATHS.search(to_bytes([token]))]
        return fmean(chosen if chosen and self.tokens == "math" else every)


def _log_normal(value: float, mean: float, sd: float) -> float:
    return -((value - mean) ** 2) / (2 * sd**2) - log(sd * (2 * pi) ** 0.5)
