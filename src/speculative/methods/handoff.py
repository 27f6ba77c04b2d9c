"""A small model that hands the problem over for good."""

from typing import ClassVar

from pydantic import Field

from speculative.chain.chain import Chain
from speculative.methods.asking import with_hint
from speculative.methods.base import Method
from speculative.methods.families import Family
from speculative.problem import Problem


class Handoff(Method):
    """Small writes until it writes its tag; from there big finishes the thinking.

    Nothing comes back: small decides once, and big goes on from all that was written, the tag included.

    Cost: one call, and one of big where the tag comes; nothing is thrown away.
    Needs: a small model that was trained to write the tag. Source: PyroDash (arXiv 2607.20327), whose tag is a token of its own.
    """

    family: ClassVar[Family] = "small asks"
    training: ClassVar[bool] = True

    tag: str = Field(default="<handoff>", min_length=1, description="text with which small hands over")
    hint: str = Field(default="Hand off what is too hard.", description="line behind the problem that makes small do so")

    def prepare(self, problem: Problem) -> Problem:
        return with_hint(problem, self.hint)

    async def think(self, chain: Chain) -> None:
        written = await chain.write("small", stop=self.tag)
        if chain.thinking and written.finish == "stop":
            await chain.write("big")
