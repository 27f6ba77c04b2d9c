"""Methods of the library whose decisions are forced, for models whose weights decide nothing.

Every call is made as the method makes it, scores and judgements included. Only the verdict comes from elsewhere: from
`Random(seed of the chain).random() < acceptance`, once a step, as the planner draws it.
"""

from __future__ import annotations

from random import Random
from typing import ClassVar
from weakref import WeakKeyDictionary

from pydantic import Field

from speculative.chain.chain import Chain
from speculative.chain.drafts import Draft
from speculative.methods.auto import Auto
from speculative.methods.base import Method
from speculative.methods.cascade import Cascade
from speculative.methods.driving import StepCheck
from speculative.methods.likelihood_verify import LikelihoodVerify
from speculative.methods.small_only import SmallOnly
from speculative.methods.step_verify import StepVerify
from speculative.trace.events import Judgement

_DRAWS = WeakKeyDictionary[Chain, Random]()
"""The random numbers of each chain."""


def verdict(chain: Chain, acceptance: float) -> Judgement:
    """Returns the next forced verdict of a chain."""
    draws = _DRAWS.setdefault(chain, Random(chain.seed))
    return Judgement(1.0 if draws.random() < acceptance else 0.0, 0.5, "big")


class ForcedLikelihoodVerify(LikelihoodVerify):
    """Scores each step with big, and takes a forced verdict."""

    acceptance: float = Field(0.8, ge=0, le=1, description="share of steps that are kept")

    async def judge(self, chain: Chain, step: Draft) -> Judgement | None:
        await super().judge(chain, step)
        return verdict(chain, self.acceptance)


class ForcedStepVerify(StepVerify):
    """Asks big about each step, and takes a forced verdict."""

    acceptance: float = Field(0.8, ge=0, le=1, description="share of steps that are kept")

    async def judge(self, chain: Chain, step: Draft) -> Judgement | None:
        await super().judge(chain, step)
        return verdict(chain, self.acceptance)


class ForcedCheck(StepCheck, frozen=True):
    """Checks a step as `auto` does, and takes a forced verdict."""

    acceptance: float = 0.8

    async def judge(self, chain: Chain, step: Draft) -> Judgement | None:
        await super().judge(chain, step)
        return verdict(chain, self.acceptance)


class ForcedAuto(Auto):
    """Chooses by load, with forced verdicts."""

    acceptance: float = Field(0.8, ge=0, le=1, description="share of steps that are kept")

    def _step_check(self) -> StepCheck:
        return ForcedCheck(self.check, 0.5, self.step_tokens, self.acceptance)


class ForcedCueSwitch(Method):
    """Lets big write `lead` tokens and small `tail`, where words would decide."""

    lead: int = Field(30, ge=1, description="tokens of big's turn")
    tail: int = Field(20, ge=1, description="tokens of small's turn")

    async def think(self, chain: Chain) -> None:
        while chain.thinking:
            await chain.write("big", max_tokens=self.lead)
            if chain.thinking:
                await chain.write("small", max_tokens=self.tail)


class ForcedCascade(Cascade):
    """Lets small write its chains, and big one by a forced verdict."""

    append_only: ClassVar[bool] = False

    acceptance: float = Field(0.8, ge=0, le=1, description="share of problems on which small's answers agree")

    async def run(self, chain: Chain) -> None:
        import asyncio

        children = [chain.child(share=2 * self.samples) for _ in range(self.samples)]
        async with asyncio.TaskGroup() as group:
            for child in children:
                group.create_task(SmallOnly.model_validate({}).run(child))
        if Random(chain.seed).random() < self.acceptance:
            await chain.become(children[0])
        else:
            await chain.write("big")
            await chain.answer(self.answer_by)
