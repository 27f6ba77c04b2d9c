"""Defines the baselines, in which one model writes everything.

They run through the same code as every other method.
"""

from typing import ClassVar, Literal

from pydantic import Field

from speculative.chain.chain import Chain
from speculative.methods.base import Method
from speculative.methods.families import Family


class BigOnly(Method):
    """The big model writes everything.

    Cost: one call for the thinking and one for the answer; each round of `sequential_scale` adds a call. Needs: nothing.
    Source: the budget forcing of s1 (arXiv 2501.19393, section 3.1).
    """

    family: ClassVar[Family] = "baseline"
    writer: ClassVar[Literal["big", "small"]] = "big"
    aliases: ClassVar[tuple[str, ...]] = ("big_model_only",)

    answer_by: Literal["big", "small"] = Field(default="big", description="who writes the answer")
    sequential_scale: int = Field(default=0, ge=0, description="how often the end of the thinking is taken back for another round")

    def uses(self) -> frozenset[str]:
        return frozenset({self.writer})

    async def think(self, chain: Chain) -> None:
        for _ in range(self.sequential_scale):
            await chain.write(self.writer)
            if chain.finish not in (None, "stop"):
                return
            await chain.resume()
        await chain.write(self.writer)
