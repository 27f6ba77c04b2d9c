"""Steps of the small model, kept where the big one finds them likely."""

from statistics import fmean
from typing import ClassVar, Literal

from pydantic import Field

from speculative.chain.chain import Chain
from speculative.chain.drafts import Draft
from speculative.methods.checked_steps import CheckedSteps
from speculative.methods.step_loop import Pipeline
from speculative.trace.events import Judgement

MEAN, LEAST = "mean log-probability of a token (nats)", "lowest log-probability of a token (nats)"
"""The measures of a judgement by likelihood."""


class LikelihoodVerify(CheckedSteps):
    """Small writes each step; big writes it again if it finds the step unlikely.

    Big reads the step and gives the log-probability of each of its tokens. The step stays if their mean, or the lowest of them, is
    at least `threshold`; else it is thrown away.

    Cost: a draft and a scoring call for each step, and a call of big for each step that is thrown away. A scoring call computes the
    new tokens only where the server keeps the rest cached. `pipeline`: small drafts on while big reads, and with `both` big also
    drafts its own step; drafts that are not needed are thrown away.
    Needs: `score` of big. Source: the likelihood half of SpecGuard (arXiv 2604.15244), in the loop of SpecReason (arXiv 2504.07891).
    """

    needs: ClassVar[dict[str, set[str]]] = {"big": {"score"}}

    threshold: float = Field(default=-0.1, le=0, description="log-probability (nats for each token) that a step needs to stay")
    measure: Literal["mean", "min"] = Field(default="mean", description="the tokens' mean log-probability, or that of the least likely one")
    pipeline: Pipeline = Field(default="off", description="what is drafted while big reads: nothing, the next step, or also big's own step")

    async def judge(self, chain: Chain, step: Draft) -> Judgement | None:
        score = await (mean_score if self.measure == "mean" else min_score)(chain, step)
        return None if score is None else Judgement(score, self.threshold, "big", MEAN if self.measure == "mean" else LEAST)


async def mean_score(chain: Chain, step: Draft) -> float | None:
    """Returns the mean log-probability that big gives a step's tokens.

    Returns None for a step without tokens.
    """
    (scores,) = await chain.score("big", [step])
    return fmean(scores) if scores else None


async def min_score(chain: Chain, step: Draft) -> float | None:
    """Returns the log-probability of the step's token that big finds least likely."""
    (scores,) = await chain.score("big", [step])
    return min(scores) if scores else None
