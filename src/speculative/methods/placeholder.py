"""A test of the wiring: both models are called, the big one's text is kept."""

from typing import ClassVar

from speculative.chain.chain import Chain
from speculative.methods.base import Method
from speculative.methods.families import Family


class Placeholder(Method):
    """Both models write the whole thinking from one prompt; the big one's is kept.

    The method shows that both engines work.

    Cost: what `big_only` costs, and a whole chain of the small model, which is thrown away. Needs: nothing.
    Source: SplitReason's library (arXiv 2504.16379), mode `placeholder`.
    """

    family: ClassVar[Family] = "baseline"
    listed: ClassVar[bool] = False

    async def think(self, chain: Chain) -> None:
        half = None if chain.left is None else max(1, chain.left // 2)  # what may be produced is for both
        other = await chain.draft("small", max_tokens=half)
        await chain.write("big")
        chain.reject(other, "only shows that the small model answers")
