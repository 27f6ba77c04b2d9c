"""Gives short hints of the big model to the small one until that is sure.

Then the small model solves the problem.
"""

from math import exp
from statistics import fmean
from typing import ClassVar, Literal

from pydantic import Field

from speculative.chain.chain import Chain
from speculative.chain.steps import STEP
from speculative.methods.base import Method
from speculative.methods.families import Family
from speculative.methods.step_loop import is_bare
from speculative.methods.threshold import reaches
from speculative.methods.tunable import Tunable
from speculative.methods.words import FieldList, split_words
from speculative.prompts import Question

FIELDS = "the goal and the next thing to do; the plan; the facts and rules that are needed"


class Guide(Method):
    """Big writes longer and longer hints until small is sure of its first step.

    The hints stand at the beginning.
    The hint of each level speaks of one field more. After each but the last, small drafts a step; if the mean probability of its tokens is
    at least `sure`, the step stays and small writes on alone. Hints are in small's prompt only, and no part of the chain.

    Cost: a reply of big for each level and a step of small after it, which is thrown away where small is not sure.
    Needs: `logprobs` of small; big only replies to a question. Source: Tandem (arXiv 2604.23623), whose small model is judged by a trained
    network, with the hints of CoThink (arXiv 2505.22017).
    """

    family: ClassVar[Family] = "hints"
    needs: ClassVar[dict[str, set[str]]] = {"small": {"logprobs"}}
    asks_only: ClassVar[frozenset[str]] = frozenset({"big"})

    levels: int = Field(default=3, ge=1, le=3, description="hints at most")
    fields: FieldList = Field(
        default=FIELDS, description="what the hints speak of, one field more at each level, with semicolons between them"
    )
    sure: float = Field(default=0.95, ge=0, le=1, description="mean probability of a step's tokens at which small needs no further hint")
    hint_tokens: int = Field(default=200, ge=1, description="tokens of a hint at most")
    answer_by: Literal["big", "small"] = Field(default="small", description="who writes the answer")

    def tunables(self) -> tuple[Tunable, ...]:
        return (Tunable("sure", values=(0.8, 0.9, 0.95, 0.99)), Tunable("levels", values=(1, 2, 3)))

    async def think(self, chain: Chain) -> None:
        fields = split_words(self.fields)
        for level in range(1, self.levels + 1):
            question = Question("hint", "; ".join(fields[:level]), level=level)
            hint = await chain.ask("big", question, max_tokens=self.hint_tokens)
            if not hint.text.strip():
                break
            chain.note("small", chain.dialect("small").show_hint(hint.text, level))
            if level < self.levels and await self._begins(chain):
                break
        await chain.write("small")

    async def _begins(self, chain: Chain) -> bool:
        """Lets small draft a step. Returns whether it was sure of it, and the step stays."""
        step = await chain.draft("small", stop=STEP, logprobs=True)
        if step.logprobs and not is_bare(step.text) and reaches(fmean(map(exp, step.logprobs)), self.sure):
            await chain.accept(step)
            return True
        chain.reject(step, "small is not sure")
        return False
