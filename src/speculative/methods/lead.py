"""The big model begins every step, the small one ends it."""

from typing import ClassVar

from pydantic import Field

from speculative.chain.chain import Chain
from speculative.chain.steps import STEP
from speculative.methods.base import Method
from speculative.methods.families import Family


class Lead(Method):
    """Big writes the first tokens of each step, small the rest.

    Models differ most at the beginning of a unit of text, so big leads there; a coin decides for each step whether it does. It looks
    at no signal: it is the control of `entropy_switch`, which looks at the same place.

    Cost: two calls a step, or one where the coin says so or the step ends with big's tokens; nothing is thrown away.
    Needs: nothing. Source: FoReaL-Decoding (arXiv 2506.06998), which leads sentences.
    """

    family: ClassVar[Family] = "baseline"

    lead_tokens: int = Field(default=8, ge=1, description="tokens that big writes at the beginning of a step")
    share: float = Field(default=1.0, ge=0, le=1, description="the chance that big leads a step")

    async def think(self, chain: Chain) -> None:
        while chain.thinking:
            if chain.random.random() < self.share:
                led = await chain.write("big", max_tokens=self.lead_tokens, stop=STEP)
                if led.finish == "stop":
                    continue
            await chain.write("small", stop=STEP)
