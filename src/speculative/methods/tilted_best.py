"""Draws one of several versions of a step by its tilted reward.

The tilt is how much likelier the big model finds a version than the small one.
"""

import asyncio
from math import exp
from typing import ClassVar, Literal

from pydantic import Field

from speculative.chain.chain import Chain
from speculative.chain.drafts import Draft
from speculative.chain.steps import STEP
from speculative.methods.base import Method
from speculative.methods.families import Family
from speculative.methods.step_loop import is_bare
from speculative.methods.threshold import explain_below, reaches
from speculative.methods.tunable import Tunable, judged
from speculative.trace.events import Judgement


class TiltedBest(Method):
    """Draws one of small's versions of each step by reward, or big's if that is low.

    The reward of small's versions is tilted. If that of the drawn one is low, big drafts the versions instead.
    A version's tilted reward is the judge's reward, plus (big's log-probability of it minus small's) / `beta`. One version is drawn with
    probability proportional to exp(`beta` x tilted reward). If its tilted reward is below `least`, big drafts as many versions and
    one is drawn by the reward alone. A version that only ends the thinking is not judged. With many versions this comes as near as one
    likes to drawing big's own by reward.

    Cost: a call for the versions, then a score and a reward of all of them at once; and a call and a reward more where big drafts. All
    versions but one are thrown away. Needs: `logprobs` of small, `score` of big, a judge with `reward`.
    Source: GSI (arXiv 2506.04118).
    """

    family: ClassVar[Family] = "several versions"
    needs: ClassVar[dict[str, set[str]]] = {"small": {"logprobs"}, "big": {"score"}, "judge": {"reward"}}
    parallel: ClassVar[bool] = True
    drafts_field: ClassVar[str | None] = "versions"

    versions: int = Field(default=4, ge=1, description="versions of a step")
    beta: float = Field(default=20.0, gt=0, description="weight of the reward against the likelihood")
    least: float = Field(default=0.5, description="tilted reward that the drawn version needs to stay")
    step_tokens: int = Field(default=512, ge=1, description="tokens of a step at most")

    def tunables(self) -> tuple[Tunable, ...]:
        return (Tunable("least", "below", judged),)

    async def think(self, chain: Chain) -> None:
        while chain.thinking:
            written = await self._versions(chain, "small")
            drafts = [draft for draft in written if not is_bare(draft.text)]
            if not drafts:
                await chain.accept(written[0])
                continue
            async with asyncio.TaskGroup() as group:
                scoring = group.create_task(chain.score("big", drafts))
                rewarding = group.create_task(chain.reward("judge", drafts))
            tilted = [
                (reward or 0.0) + (sum(scores) - sum(draft.logprobs)) / self.beta
                for draft, scores, reward in zip(drafts, scoring.result(), rewarding.result(), strict=True)
            ]
            place = self._drawn(chain, tilted)
            judgement = Judgement(tilted[place], self.least, "judge", "tilted reward")
            if reaches(tilted[place], self.least):
                await chain.accept(drafts[place], judgement=judgement)
                continue
            chain.reject(drafts, explain_below("tilted reward", tilted[place], self.least), judgement=judgement)
            written = await self._versions(chain, "big")
            if not chain.thinking:
                return
            drafts = [draft for draft in written if not is_bare(draft.text)] or written[:1]
            rewards = [reward or 0.0 for reward in await chain.reward("judge", drafts)] if len(drafts) > 1 else [0.0]
            await chain.accept(drafts[self._drawn(chain, rewards)])

    async def _versions(self, chain: Chain, role: Literal["big", "small"]) -> list[Draft]:
        return await chain.draft(role, self.versions, stop=STEP, max_tokens=self.step_tokens, logprobs=role == "small")

    def _drawn(self, chain: Chain, rewards: list[float]) -> int:
        """Draws a place with probability proportional to exp(beta x reward)."""
        most = max(rewards)
        return chain.random.choices(range(len(rewards)), [exp(self.beta * (reward - most)) for reward in rewards])[0]
