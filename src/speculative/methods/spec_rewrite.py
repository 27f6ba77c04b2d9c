"""Rewrites each round of thinking with the small model.

The next round builds on the rewritten text.
"""

from typing import ClassVar

from msgspec import structs
from pydantic import Field

from speculative.chain.chain import Chain
from speculative.methods.base import Method
from speculative.methods.families import Family
from speculative.problem import Problem
from speculative.prompts import Question

BLOAT_TOKENS = 100
BLOAT = "The problem comes later. " * 20
"""About `BLOAT_TOKENS` tokens for most vocabularies."""


class SpecRewrite(Method):
    """Big thinks in rounds and answers; small rewrites each round before the next.

    The end of each round is taken back. Big goes on from the rewritten text.
    Each round draws `drafting_n` rewrites in one call and keeps the longest, which loses least. The rewritten text takes
    the place of the round's (or of everything so far, with `full_rewrite`).

    Cost: for each round one call that thinks and one that rewrites; all that is replaced is discarded. Needs: nothing.
    Source: SplitReason's library (arXiv 2504.16379), mode `spec_rewrite`; rounds as in s1 (arXiv 2501.19393).
    """

    family: ClassVar[Family] = "whole chains"
    append_only: ClassVar[bool] = False
    drafts_field: ClassVar[str | None] = "drafting_n"

    thinking_n_ignore: int = Field(default=2, ge=0, description="rounds of thinking whose end is taken back")
    drafting_n: int = Field(default=1, ge=0, description="rewrites in each round; 0 rewrites nothing")
    full_rewrite: bool = Field(default=False, description="rewrite all the thinking so far, not only the round's")
    draft_propose_ignore_str: bool = Field(default=False, description="have each rewrite end with a question that keeps the thinking going")
    small_first: bool = Field(default=False, description="let the small model write the first round")
    bloat_tokens: int = Field(default=0, ge=0, description="about so many tokens of filler before the problem, in hundreds: a prefill test")

    def prepare(self, problem: Problem) -> Problem:
        *before, last = problem.messages
        filler = BLOAT * (self.bloat_tokens // BLOAT_TOKENS)
        return structs.replace(problem, messages=(*before, structs.replace(last, content=filler + last.content)))

    async def think(self, chain: Chain) -> None:
        start = chain.checkpoint()
        for index in range(self.thinking_n_ignore):
            begin = start if self.full_rewrite else chain.checkpoint()
            before = "" if self.full_rewrite else chain.text
            written = await chain.write("small" if self.small_first and index == 0 else "big")
            if chain.finish not in (None, "stop"):
                return
            question = Question("rewrite", chain.text[len(before) :], self.draft_propose_ignore_str)
            if self.drafting_n and chain.reply_room("small", question, self.drafting_n) >= written.tokens:
                await chain.rewind(begin)
                drafts = await chain.draft("small", self.drafting_n, asked=question)
                await chain.accept(max(drafts, key=lambda draft: len(draft.text)))
            await chain.resume()
        await chain.write("big")
