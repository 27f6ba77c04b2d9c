"""Lets the small model ask the big one for advice in the middle of a chain.

The big model advises and writes none of the chain.
"""

from typing import ClassVar, Literal

from pydantic import Field

from speculative.chain.chain import Chain
from speculative.chain.drafts import Draft
from speculative.chain.steps import STEP
from speculative.methods.asking import with_hint
from speculative.methods.base import Method
from speculative.methods.families import Family
from speculative.methods.step_loop import is_bare
from speculative.methods.trigger import HESITATION
from speculative.methods.words import FieldList, count_words
from speculative.problem import Problem
from speculative.prompts import Question

FIELDS = "the next thing to do; the plan; mistakes so far"
LEVEL = 2
"""The level of hint that advice is."""


class Advisor(Method):
    """Small writes the chain and asks big for advice, which only small reads.

    Big reads the chain before it gives advice.
    With `trigger=tag` small asks by writing its tag, which stays in the text. With `trigger=hesitation` it asks by hesitating in
    `hesitate` steps in a row, and with `either` in both ways. After `max_calls` calls for advice small goes on without. With `ask_first`
    the first advice comes before the first step.

    Cost: a reply of big for each question, and a call of small behind it; without `trigger=tag` a call of small for each step. Advice
    is discarded text. Needs: big only replies to a question; for the tag a small model that was trained to write it.
    Source: the advisor tools of commercial services, 2026, as a method.
    """

    family: ClassVar[Family] = "small asks"

    max_calls: int = Field(default=3, ge=0, description="calls for advice at most")
    advice_tokens: int = Field(default=700, ge=1, description="tokens of the advice of one call at most")
    trigger: Literal["tag", "hesitation", "either"] = Field(default="tag", description="how small asks")
    tag: str = Field(default="<advice>", min_length=1, description="text with which small asks")
    hesitate: int = Field(default=3, ge=1, description="hesitant steps in a row that ask")
    words: str = Field(default=HESITATION, description="words of hesitation, with semicolons between them")
    hint: str = Field(default="Ask for advice.", description="line behind the problem that makes small ask by its tag")
    ask_first: bool = Field(default=False, description="ask before the first step")
    fields: FieldList = Field(default=FIELDS, min_length=1, description="what the advice speaks of")
    answer_by: Literal["big", "small"] = Field(default="small", description="who writes the answer")

    training: ClassVar[bool] = True
    asks_only: ClassVar[frozenset[str]] = frozenset({"big"})

    def prepare(self, problem: Problem) -> Problem:
        return with_hint(problem, "" if self.trigger == "hesitation" else self.hint)

    async def think(self, chain: Chain) -> None:
        calls = hesitant = 0
        asks = self.ask_first
        while chain.thinking:
            if asks and calls < self.max_calls:
                calls, hesitant = calls + 1, 0
                await self._advise(chain)
            written = await chain.write("small", stop=self._stops)
            if not is_bare(written.text):
                hesitant = hesitant + 1 if count_words(written.text, self.words) else 0
            asks = self._asks(written, hesitant)

    @property
    def _stops(self) -> tuple[str, ...]:
        """The texts behind which small may get advice."""
        return {"tag": (self.tag,), "hesitation": (STEP,), "either": (self.tag, STEP)}[self.trigger]

    def _asks(self, written: Draft, hesitant: int) -> bool:
        """Returns whether small asks by its last text, or by its last hesitant steps."""
        tagged = self.trigger != "hesitation" and written.finish == "stop" and self.tag in written.text
        return tagged or (self.trigger != "tag" and hesitant >= self.hesitate)

    async def _advise(self, chain: Chain) -> None:
        advice = await chain.ask("big", Question("hint", self.fields, level=LEVEL), max_tokens=self.advice_tokens)
        if advice.text.strip():
            chain.note("small", chain.dialect("small").show_hint(advice.text, LEVEL))
