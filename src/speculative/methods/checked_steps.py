"""The base of methods that judge each step of small by a threshold."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from pydantic import Field

from speculative.chain.chain import Chain
from speculative.chain.drafts import Draft
from speculative.methods.base import Method
from speculative.methods.families import Family
from speculative.methods.step_loop import Pipeline, verify_steps
from speculative.methods.tunable import Tunable, judged
from speculative.trace.events import Judgement


class CheckedSteps(Method):
    """Small writes each step; big writes it again if its score is below a threshold."""

    family: ClassVar[Family] = "checked steps"

    threshold: float
    first_big_steps: int = Field(default=0, ge=0, description="steps that big writes at the beginning")
    step_tokens: int = Field(default=512, ge=1, description="tokens of a step at most")
    pipeline: Pipeline = "off"

    def tunables(self) -> tuple[Tunable, ...]:
        return (Tunable("threshold", "below", judged),)

    async def think(self, chain: Chain) -> None:
        first, tokens = self.first_big_steps, self.step_tokens
        await verify_steps(chain, self.judge, pipeline=self.pipeline, first_big_steps=first, step_tokens=tokens)

    @abstractmethod
    async def judge(self, chain: Chain, step: Draft) -> Judgement | None:
        """Scores a step. Returns None for a step that cannot be judged."""
