"""Steps of small that big scores with one digit while small goes on (the bundled big does not), after SpecReason (2504.07891)."""

import asyncio

from speculative import STEP, Chain, Method, Question


class StepCheck(Method):
    """Small writes steps; a step whose expected score (0 to 9) is below `floor` big writes itself."""

    needs = {"big": {"choices"}}
    floor: float = 7

    async def think(self, chain: Chain) -> None:
        step = None
        while chain.thinking:
            step = step or await chain.draft("small", stop=STEP)
            ahead = None if step.ended else asyncio.create_task(chain.draft("small", after=step, stop=STEP))
            reply = await chain.ask("big", Question("judge"), after=step, choices="0123456789")
            if sum(int(digit) * chance for digit, chance in reply.probabilities.items()) >= self.floor and not step.no_room:
                await chain.accept(step, keep_descendants=True)
                step = await ahead if ahead else None
            else:
                chain.reject(step, "its score is low")
                step = await chain.write("big", stop=STEP) and None
