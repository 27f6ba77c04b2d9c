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
                if (mine := await step).ended or not await self.same(chain, guess.text, mine.text):
                    await chain.accept(mine)
                    break
                await chain.accept(guess, keep_descendants=True)

    async def same(self, chain: Chain, one: str, other: str) -> bool:
        question = f"Do both say the same? Reply with 1 if they do, else with 0.\n\n{one.strip()}\n\n{other.strip()}"
        reply = await chain.ask("small", Question("alone", question), choices="01")
        return one.split() == other.split() or reply.probabilities.get("1", 0) > 0.5
