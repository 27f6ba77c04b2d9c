"""Steps of small that big's own steps confirm, several at once, after Lookahead Reasoning (arXiv 2506.19830)."""

import asyncio

from speculative import STEP, Chain, Method, Question


class Lookahead(Method):
    """Small runs `depth` steps ahead; where big's own next step says the same, small's stays, else big's."""

    depth: int = 4

    async def think(self, chain: Chain) -> None:
        while chain.thinking:
            ahead, own = [None], []
            while len(own) < self.depth and not (ahead[-1] and (ahead[-1].ended or ahead[-1].no_room)):
                own.append(asyncio.create_task(chain.draft("big", after=ahead[-1], stop=STEP)))
                ahead.append(await chain.draft("small", after=ahead[-1], stop=STEP))
            for guess, step in zip(ahead[1:], own, strict=True):
                question = f"Do both say the same? Reply with 1 if they do, else with 0.\n\n{guess.text}\n{(mine := await step).text}"
                reply = await chain.ask("small", Question("alone", question), choices="01")
                agrees = not mine.ended and reply.probabilities.get("1", 0) > 0.5
                await chain.accept(guess if agrees else mine, keep_descendants=agrees)
                if not agrees:
                    break
