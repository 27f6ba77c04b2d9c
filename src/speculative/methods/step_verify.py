"""Steps of the small model, kept where the big one gives them a good score."""

from typing import Literal

from pydantic import Field

from speculative.chain.chain import Chain
from speculative.chain.drafts import Draft
from speculative.methods.checked_steps import CheckedSteps
from speculative.methods.judging import MEAN_REPLY, REPLY, expected, judge_step, likeliest
from speculative.methods.step_loop import Pipeline
from speculative.methods.threshold import reaches
from speculative.methods.tunable import Tunable, judgements
from speculative.trace.events import Judgement
from speculative.trace.trace import Trace


class StepVerify(CheckedSteps):
    """Small writes steps; big scores each from 0 to 9, and writes low ones again.

    `score` says whether the likeliest score counts, or their mean by probability. With `gate=small` small is asked first: big is
    spared where small is sure enough that the score is high. Only big can reject. A step without a readable score is rejected.

    Cost: a draft and a question for each step, and a call of big for each step that is thrown away. The reply is one token where a
    model's score is its first token. `pipeline`: small drafts on while big judges, and with `both` big also drafts its own step.
    Needs: nothing; `choices` gives the scores' probabilities. Judges differ much on one chain: choose the threshold on problems of
    your own. Source: SpecReason (arXiv 2504.07891); the gate is ConfSpec's (arXiv 2602.18447).
    """

    threshold: float = Field(default=7, ge=0, le=9, description="score that a step needs to stay")
    score: Literal["greedy", "expected"] = Field(
        default="greedy", description="take the likeliest score, or the mean of all by probability"
    )
    gate: Literal["none", "small"] = Field(default="none", description="whether small is asked first")
    sure: float = Field(default=0.9, ge=0, le=1, description="probability of a high score with which small spares big the question")
    pipeline: Pipeline = Field(
        default="off", description="what is drafted while a step is judged: nothing, the next step, or also big's own step"
    )

    def tunables(self) -> tuple[Tunable, ...]:
        return (
            Tunable("score", values=("greedy", "expected"), shapes=True),
            Tunable("threshold", "below", _scores_of_big, exact=self.gate == "none"),  # small's gate has the threshold in its score
        )

    async def judge(self, chain: Chain, step: Draft) -> Judgement | None:
        if self.gate == "small":
            scores = await judge_step(chain, "small", step)
            high = sum(probability for score, probability in scores.items() if score >= self.threshold)
            if scores and reaches(high, self.sure):
                return Judgement(high, self.sure, "small", "probability of a reply at or above the threshold")
        scores = await judge_step(chain, "big", step)
        if not scores:
            return None
        if self.score == "greedy":
            return Judgement(likeliest(scores), self.threshold, "big", REPLY)
        return Judgement(expected(scores), self.threshold, "big", MEAN_REPLY)


def _scores_of_big(trace: Trace) -> list[float]:
    return [judgement.score for judgement in judgements(trace) if judgement.role == "big"]
