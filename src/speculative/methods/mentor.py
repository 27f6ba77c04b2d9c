"""Chooses between segments of both models where their first words differ.

Where the big model would begin with another word, both models write a segment.
"""

import asyncio
import re
from typing import ClassVar, Literal

from pydantic import Field

from speculative.chain.chain import Chain
from speculative.chain.drafts import Draft
from speculative.methods.base import Method
from speculative.methods.choosing import ask_number
from speculative.methods.families import Family
from speculative.methods.tunable import Tunable

WORD_TOKENS = 6
"""Tokens within which a word is over, at most."""

WORD = re.compile(r"\S\s")


class Mentor(Method):
    """Small writes segments; where big's first word differs, one of two is chosen.

    Big is asked for its next word at some of the segments. Where that word differs, both models write.
    A coin with the chance `share` decides at the beginning of each segment whether big's first word is compared. Equal words: small's
    segment stays. Unlike ones: big writes on from its word, and the chooser takes one of the two, which are shown in random order.

    Cost: a call for each segment; at a share of them a word of big, and where that differs a segment of big and a question (or two
    rewards). One of two segments is thrown away. Needs: `choices` of the model that chooses, or a judge with `reward`.
    Source: MentorCollab as in MoCo (arXiv 2601.21257), whose published defaults never ask the mentor.
    """

    family: ClassVar[Family] = "several versions"
    needs: ClassVar[dict[str, set[str]]] = {"small": {"choices"}}
    parallel: ClassVar[bool] = True

    share: float = Field(default=0.25, ge=0, le=1, description="share of segments at which big's first word is compared")
    segment: int = Field(default=16, ge=1, description="tokens of a segment")
    chooser: Literal["small", "big", "judge"] = Field(
        default="small", description="who chooses: a model by a question, or the judge by rewards"
    )

    @property
    def switch_unit(self) -> int:
        return self.segment

    def required_abilities(self) -> dict[str, set[str]]:
        return {self.chooser: {"reward" if self.chooser == "judge" else "choices"}}

    def tunables(self) -> tuple[Tunable, ...]:
        return (Tunable("share", values=(0.1, 0.25, 0.5, 1.0)), Tunable("segment", values=(8, 16, 32)))

    async def think(self, chain: Chain) -> None:
        while chain.thinking:
            if chain.random.random() >= self.share:
                await chain.write("small", max_tokens=self.segment)
                continue
            async with asyncio.TaskGroup() as group:
                drafting = group.create_task(self._draft(chain, "small"))
                wording = group.create_task(self._draft(chain, "big"))
            own, word = drafting.result(), wording.result()
            if _begins_alike(own, word) or word.no_room:
                await chain.accept(own)
                continue
            rest = None if word.ended or self.segment <= word.tokens else await self._draft(chain, "big", word)
            await chain.accept(await self._choose(chain, own, word, rest))

    async def _draft(self, chain: Chain, role: Literal["big", "small"], after: Draft | None = None) -> Draft:
        if after:
            return await chain.draft(role, after=after, max_tokens=self.segment - after.tokens)
        if role == "small":
            return await chain.draft(role, max_tokens=self.segment)
        tokens = min(self.segment, WORD_TOKENS)
        return await chain.draft(role, max_tokens=tokens, until=lambda text: bool(WORD.search(text)))

    async def _choose(self, chain: Chain, own: Draft, word: Draft, rest: Draft | None) -> Draft:
        """Returns small's segment, or the end of big's."""
        other = rest or word
        if self.chooser == "judge":
            mine, others = await chain.reward("judge", [own, other])
            return other if mine is not None and others is not None and others > mine else own
        pair = [own, other]
        if chain.random.random() < 0.5:
            pair.reverse()
        shown = [word.text + rest.text if rest and draft is rest else draft.text for draft in pair]
        number = await ask_number(chain, self.chooser, shown, "what comes next", allow_none=False)
        return pair[number - 1] if number else own


def _begins_alike(own: Draft, other: Draft) -> bool:
    """Returns whether two drafts begin with the same word, as far as both have it.

    A word that the end of a draft cuts off is compared with as much of the other one.
    """
    mine, others = own.text.lstrip(), other.text.lstrip()
    first, second = (next(iter(text.split()), "") for text in (mine, others))
    if not (first and second):
        return first == second
    if second == others and not other.ended and first.startswith(second):
        return True
    return first == second or (first == mine and not own.ended and second.startswith(first))
