"""Steps of small that a reward model judges, after RSD (arXiv 2501.19324)."""

from pydantic import Field

from speculative import STEP, Chain, Method


class RewardSteps(Method):
    """Small writes steps; a step whose reward is below `floor` big writes itself."""

    needs = {"judge": {"reward"}}
    floor: float = Field(default=0.7, description="reward that a step needs")

    async def think(self, chain: Chain) -> None:
        while chain.thinking:
            step = await chain.draft("small", stop=STEP)
            (reward,) = await chain.reward("judge", [step])
            if step.text and reward is not None and reward >= self.floor:
                await chain.accept(step)
            else:
                chain.reject(step, "its reward is low")
                await chain.write("big", stop=STEP)
