"""Steps of small that big scores while small goes on, after SpecReason (arXiv 2504.07891)."""

import asyncio

from speculative import STEP, Chain, Method
from speculative.methods.judging import expected, judge_step


class StepCheck(Method):
    """Small writes steps; a step whose expected score (0 to 9) is below `floor` big writes itself."""

    floor: float = 7

    async def think(self, chain: Chain) -> None:
        step = None
        while chain.thinking:
            step = step or await chain.draft("small", stop=STEP)
            ahead = None if step.ended else asyncio.create_task(chain.draft("small", after=step, stop=STEP))
            scores = await judge_step(chain, "big", step)  # in one token where the model can
            if expected(scores) >= self.floor and not step.no_room:
                await chain.accept(step, keep_descendants=True)
                step = await ahead if ahead else None
            else:
                chain.reject(step, "its score is low")
                step = await chain.write("big", stop=STEP) and None
