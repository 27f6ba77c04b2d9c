"""The small model's entropy at the beginning of a step decides who writes it."""

from typing import ClassVar

from pydantic import Field

from speculative.chain.chain import Chain
from speculative.chain.steps import STEP
from speculative.methods.base import Method
from speculative.methods.families import Family
from speculative.methods.tunable import Tunable, judged
from speculative.trace.events import Judgement


class EntropySwitch(Method):
    """Small begins each step; where its first token is uncertain, big writes the step.

    The entropy (nats) is that of small's `top` likeliest tokens at the first place of the step, taken as all there are. Below
    `threshold` small's token stays as the step's first one and small goes on from it.

    Cost: with `ahead` one call for each step of small, which is thrown away where big takes over. Without it one token is drafted and
    looked at first: a call more for each step of small, and one token of waste for each step of big.
    Needs: `top` of small. Source: GlimpRouter (arXiv 2601.05110), which makes the call more.
    """

    family: ClassVar[Family] = "small is unsure"
    needs: ClassVar[dict[str, set[str]]] = {"small": {"top"}}

    threshold: float = Field(default=1.0, ge=0, description="entropy (nats) from which on big writes the step")
    top: int = Field(default=20, ge=2, description="likeliest tokens whose entropy is taken")
    ahead: bool = Field(default=True, description="let small go on with the step in the call that is looked at")
    step_tokens: int = Field(default=512, ge=1, description="tokens of a step at most")

    def tunables(self) -> tuple[Tunable, ...]:
        return (Tunable("threshold", "at_least", judged),)

    async def think(self, chain: Chain) -> None:
        while chain.thinking:
            begun = await chain.draft("small", stop=STEP, max_tokens=self.step_tokens if self.ahead else 1, logprobs=self.top)
            judgement = Judgement(begun.entropy(0), self.threshold, "small", "entropy of the first token (nats)") if begun.ids else None
            if judgement and judgement.score >= self.threshold:
                chain.reject(begun, "small was uncertain of the first token", judgement=judgement)
                await chain.write("big", stop=STEP, max_tokens=self.step_tokens)
                continue
            await chain.accept(begun, judgement=judgement)
            if not self.ahead and begun.finish == "length" and self.step_tokens > 1:
                await chain.write("small", stop=STEP, max_tokens=self.step_tokens - 1)
