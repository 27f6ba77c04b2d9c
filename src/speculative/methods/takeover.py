"""The big model takes over where the small one doubts, affirms or checks."""

from typing import ClassVar, Literal

from pydantic import Field

from speculative.chain.chain import Chain
from speculative.chain.steps import STEP
from speculative.methods.base import Method
from speculative.methods.families import Family
from speculative.methods.tunable import Tunable
from speculative.methods.words import count_words

AFFIRMATION = "yeah; yes; final answer; confident"
DOUBT = "wait; alternatively; hold on; another"
CHECKING = "verify; think again; recap; check"

RECAP_GROWTH = 25
"""Tokens by which each recap is longer than the one before."""

LONGEST_RECAP = 200

MORE_DOUBTS = 5
"""Doubts by which the next recap comes later."""

MOST_DOUBTS = 30


class Takeover(Method):
    """Small writes; big takes over at words of doubt, affirmation or checking.

    Words at the beginning of small's step count.
    At each step small drafts `look` tokens. If their words lean to one side, big drafts as many, and `choose` says whose stay:
    big's, or small's where both lean to the same side. Checking words in the chosen text give big `check_tokens` more. After
    `doubts` steps of doubt big looks back over the chain.

    Cost: two calls for a step without such words, at most four for one with them; the draft that is not chosen is thrown away. The
    tokens without such words stay, where the published code draws them again.
    Needs: nothing. Source: Speculative Thinking (arXiv 2504.12329).
    """

    family: ClassVar[Family] = "words and places"

    begin_tokens: int = Field(default=100, ge=0, description="tokens that big writes at the beginning")
    look: int = Field(default=20, ge=1, description="tokens at the beginning of a step in which words are looked for")
    choose: Literal["big", "agree"] = Field(default="big", description="take big's tokens, or small's where both lean to the same side")
    check_tokens: int = Field(default=125, ge=0, description="tokens that big writes on after a checking word, and in a first recap")
    doubts: int = Field(default=15, ge=0, description="doubtful steps that lead to a recap; 0 for never")
    affirmation: str = Field(default=AFFIRMATION, description="words of affirmation, with semicolons between them")
    doubt: str = Field(default=DOUBT, description="words of doubt, with semicolons between them")
    checking: str = Field(default=CHECKING, description="words of checking, with semicolons between them; they count as doubt")
    recap: str = Field(default="Let me see whether one of the steps so far is wrong:", description="the text that opens a recap")

    def tunables(self) -> tuple[Tunable, ...]:
        return (
            Tunable("begin_tokens", values=(0, 20, 100)),
            Tunable("check_tokens", values=(0, 25, 125)),
            Tunable("choose", values=("big", "agree")),
        )

    async def think(self, chain: Chain) -> None:
        if self.begin_tokens:
            await chain.write("big", max_tokens=self.begin_tokens)
            await self._end_step(chain)
        doubtful, most, recap = 0, self.doubts, self.check_tokens
        while chain.thinking:
            if most and doubtful >= most:
                await self._look_back(chain, recap)
                doubtful, most = 0, min(most + MORE_DOUBTS, max(most, MOST_DOUBTS))
                recap = min(recap + RECAP_GROWTH, max(recap, LONGEST_RECAP))
            else:
                doubtful += await self._write_step(chain) < 0
            await self._end_step(chain)

    async def _write_step(self, chain: Chain) -> int:
        """Writes the beginning of a step. Returns the side to which the text leans."""
        chosen = await chain.draft("small", stop=STEP, max_tokens=self.look)
        if small := self._lean(chosen.text):
            other = await chain.draft("big", stop=STEP, max_tokens=self.look)
            if self.choose == "big" or self._lean(other.text) != small:
                chosen = other
        await chain.accept(chosen)
        if self.check_tokens and count_words(chosen.text, self.checking) and small:
            await chain.write("big", max_tokens=self.check_tokens)
        return self._lean(chosen.text)

    async def _look_back(self, chain: Chain, tokens: int) -> None:
        await chain.insert(self.recap)
        if tokens:
            await chain.write("big", max_tokens=tokens)

    async def _end_step(self, chain: Chain) -> None:
        """Lets small write to the end of the step, if one is open."""
        if chain.thinking and chain.steps.partial:
            await chain.write("small", stop=STEP)

    def _lean(self, text: str) -> int:
        """Returns 1 for more affirmation than doubt, 0 for neither, else -1."""
        doubt = count_words(text, self.doubt) + count_words(text, self.checking)
        affirmation = count_words(text, self.affirmation)
        return 1 if affirmation > doubt else -1 if doubt else 0
