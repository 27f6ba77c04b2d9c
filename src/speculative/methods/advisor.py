"""Lets the small model ask the big one for advice in the middle of a chain.

The big model advises and writes none of the chain.
"""

from typing import ClassVar, Literal

from pydantic import Field

from speculative.chain.chain import Chain
from speculative.chain.steps import STEP
from speculative.methods.asking import with_hint
from speculative.methods.base import Method
from speculative.methods.trigger import HESITATION
from speculative.methods.words import count_words
from speculative.problem import Problem
from speculative.prompts import Question

FIELDS = "the next thing to do; the plan; mistakes so far"
LEVEL = 2
"""The level of hint that advice is."""


class Advisor(Method):
    """Small writes the chain and asks big for advice, which only small reads.

    Big reads the chain before it gives advice.
    With `trigger=tag` small asks by writing its tag, which stays in the text; with `trigger=hesitation` it asks by hesitating in
    `hesitate` steps in a row. After `max_calls` pieces of advice small goes on without.

    Cost: a reply of big for each question, and a call of small behind it; with `hesitation` a call of small for each step. Advice is
    discarded text. Needs: big only replies to a question; for the tag a small model that was trained to write it.
    Source: the advisor tools of commercial services, 2026, as a method.
    """

    max_calls: int = Field(3, ge=0, description="pieces of advice at most")
    advice_tokens: int = Field(700, ge=1, description="tokens of one piece of advice at most")
    trigger: Literal["tag", "hesitation"] = Field("tag", description="how small asks")
    tag: str = Field("<advice>", min_length=1, description="text with which small asks")
    hesitate: int = Field(3, ge=1, description="hesitant steps in a row that ask")
    words: str = Field(HESITATION, description="words of hesitation, with semicolons between them")
    hint: str = Field("Ask for advice.", description="line behind the problem that makes small ask, with trigger=tag")
    answer_by: Literal["big", "small"] = Field("small", description="who writes the answer")

    training: ClassVar[bool] = True

    def prepare(self, problem: Problem) -> Problem:
        return with_hint(problem, self.hint if self.trigger == "tag" else "")

    async def think(self, chain: Chain) -> None:
        calls = hesitant = 0
        while chain.thinking:
            written = await chain.write("small", stop=self.tag if self.trigger == "tag" else STEP)
            if self.trigger == "hesitation":
                hesitant = hesitant + 1 if count_words(written.text, self.words) else 0
            asks = hesitant >= self.hesitate if self.trigger == "hesitation" else written.finish == "stop"
            if asks and calls < self.max_calls and chain.thinking:
                calls, hesitant = calls + 1, 0
                await self._advise(chain)

    async def _advise(self, chain: Chain) -> None:
        advice = await chain.ask("big", Question("hint", FIELDS, level=LEVEL), max_tokens=self.advice_tokens)
        if advice.text.strip():
            chain.note("small", chain.dialect("small").show_hint(advice.text, LEVEL))
