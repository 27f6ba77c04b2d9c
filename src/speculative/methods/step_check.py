"""Has big check a step of small, by a question or by the step's likelihood."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from speculative.chain.chain import Chain
from speculative.chain.drafts import Draft
from speculative.methods.judging import REPLY, judge_step, likeliest
from speculative.methods.likelihood_verify import MEAN, mean_score
from speculative.trace.events import Judgement


class StepCheck(Struct, frozen=True):
    """The way in which big checks a step, and the score that a step needs."""

    by: Literal["ask", "score"]
    threshold: float
    step_tokens: int

    async def judge(self, chain: Chain, step: Draft) -> Judgement | None:
        """Has big judge a step. Returns None for one that it cannot judge."""
        if self.by == "score":
            score = await mean_score(chain, step)
            return None if score is None else Judgement(score, self.threshold, "big", MEAN)
        marks = await judge_step(chain, "big", step)
        return Judgement(likeliest(marks), self.threshold, "big", REPLY) if marks else None
