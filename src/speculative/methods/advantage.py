"""Steps are handed to the big model where its own would be better."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from speculative.chain.chain import Chain
from speculative.chain.drafts import Draft
from speculative.chain.steps import STEP
from speculative.methods.base import Method
from speculative.methods.families import Family
from speculative.methods.step_loop import is_bare
from speculative.methods.tunable import Tunable, judged
from speculative.trace.events import Judgement

THRESHOLDS = {"router": 0.5, "oracle": 0.0}
"""The default threshold of each mode."""


FORESEEN, MEASURED = "probability that big's step is better", "reward of big's step less that of small's"
"""The measures of a judgement."""


class Advantage(Method):
    """Small drafts each step; big's takes its place where a judge finds big's better.

    With `mode=router` the judge is a model that reads small's step and tells the probability that big's would get a higher reward;
    big writes the step from `threshold` on. A reward model says the opposite: its reward is high where small's step is good. With
    `mode=oracle` both models draft every step, a reward model reads both, and big's is taken if its reward is higher by more than
    `threshold`, so that small's stays where both are equal. With the default of 0 this is the upper bound of any router.

    Cost: a draft and a judgement for each step. With `router` also a call of big for each step that is thrown away. With `oracle` also a
    draft of big for each step, and one of the two is always thrown away. Needs: a judge with `reward`.
    Source: Arbitrage (arXiv 2512.05033).
    """

    family: ClassVar[Family] = "checked steps"
    needs: ClassVar[dict[str, set[str]]] = {"judge": {"reward"}}
    parallel: ClassVar[bool] = True

    threshold: float | None = Field(
        default=None,
        description="probability from which on big's step is taken (0.5), or with oracle the difference of rewards above which (0)",
    )
    mode: Literal["router", "oracle"] = Field(default="router", description="have the judge foresee big's advantage, or measure it")
    step_tokens: int = Field(default=512, ge=1, description="tokens of a step at most")

    @model_validator(mode="after")
    def _check_probability(self) -> Advantage:
        if self.mode == "router" and not 0 <= self.bound <= 1:
            raise ValueError(f"threshold must be from 0 to 1 with mode=router, which compares a probability, got {self.bound:g}")
        return self

    @property
    def bound(self) -> float:
        """The threshold, or the default one of the mode."""
        return THRESHOLDS[self.mode] if self.threshold is None else self.threshold

    @property
    def takes_reward_model(self) -> bool:
        return self.mode == "oracle"

    def tunables(self) -> tuple[Tunable, ...]:
        return (Tunable("threshold", "at_least" if self.mode == "router" else "above", judged, decide=self._decide),)

    def _decide(self, scores: Sequence[float], value: float | None) -> list[bool]:
        """Returns whether big's step is taken at each score."""
        bound = THRESHOLDS[self.mode] if value is None else value
        return [score >= bound if self.mode == "router" else score > bound for score in scores]

    async def think(self, chain: Chain) -> None:
        while chain.thinking:
            await (self._route(chain) if self.mode == "router" else self._compare(chain))

    async def _route(self, chain: Chain) -> None:
        step = await chain.draft("small", stop=STEP, max_tokens=self.step_tokens)
        advantage = None if is_bare(step.text) else (await chain.reward("judge", [step]))[0]
        judgement = None if advantage is None else Judgement(advantage, self.bound, "judge", FORESEEN)
        if advantage is None or advantage < self.bound:
            await chain.accept(step, judgement=judgement)
        else:
            reason = f"big's advantage {advantage:.3g} is at least {self.bound:.3g}"
            chain.reject(step, reason, judgement=judgement)
            await chain.write("big", stop=STEP, max_tokens=self.step_tokens)

    async def _compare(self, chain: Chain) -> None:
        async with asyncio.TaskGroup() as group:
            steps = [group.create_task(self._draft(chain, role)) for role in ("small", "big")]
        small, big = (step.result() for step in steps)
        rewards = [] if is_bare(small.text) or is_bare(big.text) else await chain.reward("judge", [small, big])
        if len(rewards) == 2 and rewards[0] is not None and rewards[1] is not None:
            judgement = Judgement(rewards[1] - rewards[0], self.bound, "judge", MEASURED)
            if judgement.score > self.bound:
                chain.reject(small, f"the reward of big's step is higher by {judgement.score:.3g}", judgement=judgement)
                await chain.accept(big)
            else:
                await chain.accept(small, judgement=judgement)
        else:
            await chain.accept(small)

    async def _draft(self, chain: Chain, role: Literal["big", "small"]) -> Draft:
        return await chain.draft(role, stop=STEP, max_tokens=self.step_tokens)
