"""Steps of the small model, kept where a reward model rewards them."""

from typing import ClassVar

from pydantic import Field

from speculative.chain.chain import Chain
from speculative.chain.drafts import Draft
from speculative.methods.checked_steps import CheckedSteps
from speculative.methods.step_loop import Pipeline
from speculative.trace.events import Judgement


class RewardGuided(CheckedSteps):
    """Small writes each step; big writes it again if the judge's reward is low.

    The judge is a reward model; it reads the chain and the step. The published threshold is for rewards from 0 to 1.

    Cost: a draft and a reward for each step, and a call of big for each step that is thrown away. A judge that rewards a text at its last
    token reads only the new tokens where its server caches the rest; one that pools over steps reads the whole chain each time.
    Needs: a judge with `reward`. Source: RSD (arXiv 2501.19324), and TRIM-Thr (arXiv 2601.10245). No chain waits for others, and none
    ends because others make no progress, as in the published code.
    """

    needs: ClassVar[dict[str, set[str]]] = {"judge": {"reward"}}

    threshold: float = Field(default=0.7, description="reward that a step needs to stay")
    pipeline: Pipeline = Field(
        default="off", description="what is drafted while the judge reads: nothing, the next step, or also big's own step"
    )

    async def judge(self, chain: Chain, step: Draft) -> Judgement | None:
        (reward,) = await chain.reward("judge", [step])
        return None if reward is None else Judgement(reward, self.threshold, "judge", "reward")
