"""Token speculation: the text of the big model alone, in fewer calls."""

from typing import ClassVar

from pydantic import Field

from speculative.chain.chain import Chain
from speculative.chain.drafts import Draft
from speculative.methods.base import Method
from speculative.methods.families import Family


class DraftVerify(Method):
    """Small drafts tokens; big keeps those it would have written and adds the next.

    Big reads the draft once. The tokens before the first that is not big's likeliest one stay. Thinking is greedy for both models at any
    temperature: the text is that of `big_only` at temperature 0, up to ties and rounding. It is the exact baseline of every
    method that trades accuracy.

    Cost: a draft, a scoring call and a token of big each round; small's tokens from the first unlike one on are thrown away. A server's own
    token speculation does the same with fewer calls. Needs: `score` and `top` of big, and one vocabulary.
    Source: speculative decoding (arXiv 2211.17192) in its greedy form.
    """

    family: ClassVar[Family] = "baseline"
    needs: ClassVar[dict[str, set[str]]] = {"big": {"score", "top"}}

    draft_tokens: int = Field(default=8, ge=1, description="tokens that small drafts in one round")

    @property
    def switch_unit(self) -> int:
        return self.draft_tokens

    async def think(self, chain: Chain) -> None:
        while chain.thinking:
            draft = await chain.draft("small", max_tokens=self.draft_tokens, temperature=0)
            if draft.no_room:
                await chain.accept(draft)
                continue
            await chain.accept(draft, upto=await self._agreed(chain, draft) if draft.text else 0)
            await chain.write("big", max_tokens=1, temperature=0)

    async def _agreed(self, chain: Chain, draft: Draft) -> int:
        """Returns how many of the draft's tokens are big's own."""
        (scores,) = await chain.score("big", [draft], top=1)
        likeliest = scores.top or ()
        for place, (score, top) in enumerate(zip(scores, likeliest, strict=True)):
            if score < top[0][1]:
                return place if len(scores) == len(draft.ids) else 0
        return len(draft.ids) if scores else 0
