"""Steps are handed to the big model where its own would be better."""

import asyncio
from typing import ClassVar, Literal

from pydantic import Field

from speculative.chain.chain import Chain
from speculative.chain.drafts import Draft
from speculative.chain.steps import STEP
from speculative.methods.base import Method
from speculative.methods.families import Family
from speculative.methods.step_loop import is_bare


class Advantage(Method):
    """Small drafts each step; big's takes its place where a judge finds big's better.

    With `mode=router` the judge is a model that reads small's step and tells the probability that big's would get a higher reward;
    big writes the step from `threshold` on. With `mode=oracle` both models draft every step, a reward model reads both, and big's is
    taken if its reward is higher by at least `threshold`: the upper bound of any router.

    Cost: a draft and a judgement for each step. With `router` also a call of big for each step that is thrown away. With `oracle` also a
    draft of big for each step, and one of the two is always thrown away. Needs: a judge with `reward`.
    Source: Arbitrage (arXiv 2512.05033).
    """

    family: ClassVar[Family] = "checked steps"
    needs: ClassVar[dict[str, set[str]]] = {"judge": {"reward"}}
    parallel: ClassVar[bool] = True

    threshold: float = Field(0.5, description="probability, or with oracle the difference of rewards, from which on big's step is taken")
    mode: Literal["router", "oracle"] = Field("router", description="have the judge foresee big's advantage, or measure it")
    step_tokens: int = Field(512, ge=1, description="tokens of a step at most")

    async def think(self, chain: Chain) -> None:
        while chain.thinking:
            await (self._route(chain) if self.mode == "router" else self._compare(chain))

    async def _route(self, chain: Chain) -> None:
        step = await chain.draft("small", stop=STEP, max_tokens=self.step_tokens)
        advantage = None if is_bare(step.text) else (await chain.reward("judge", [step]))[0]
        if advantage is None or advantage < self.threshold:
            await chain.accept(step)
        else:
            chain.reject(step, f"big's advantage {advantage:.3g} is at least {self.threshold:.3g}")
            await chain.write("big", stop=STEP, max_tokens=self.step_tokens)

    async def _compare(self, chain: Chain) -> None:
        async with asyncio.TaskGroup() as group:
            steps = [group.create_task(self._draft(chain, role)) for role in ("small", "big")]
        small, big = (step.result() for step in steps)
        rewards = [] if is_bare(small.text) or is_bare(big.text) else await chain.reward("judge", [small, big])
        if len(rewards) == 2 and rewards[0] is not None and rewards[1] is not None:
            await chain.accept(big if rewards[1] - rewards[0] >= self.threshold else small)
        else:
            await chain.accept(small)

    async def _draft(self, chain: Chain, role: Literal["big", "small"]) -> Draft:
        return await chain.draft(role, stop=STEP, max_tokens=self.step_tokens)
