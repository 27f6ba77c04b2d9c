"""Asks the big model only where several answers of the small one differ."""

import asyncio
from collections import Counter
from typing import ClassVar

from pydantic import Field

from speculative.chain.chain import Chain
from speculative.methods.ballots import MOST_CHAINS, count_key
from speculative.methods.base import Method
from speculative.methods.big_only import BigOnly
from speculative.methods.families import Family
from speculative.methods.small_only import SmallOnly
from speculative.methods.threshold import reaches
from speculative.methods.tunable import Tunable


class Cascade(Method):
    """Small solves the problem several times; big does so if too few answers agree.

    The first chain with the most common answer is taken if at least the share `agree` of all answers are equal to it; no answer
    agrees with nothing.

    Cost: `samples` whole chains of small at once, of which all but one are thrown away; and a whole chain of big where they differ,
    and then all of small's are thrown away. `answer_by` writes the answer where big is asked.
    Needs: nothing. Source: AutoMix (arXiv 2310.12963) and FrugalGPT (arXiv 2305.05176), with agreement in place of a learned scorer.
    """

    family: ClassVar[Family] = "whole chains"
    asks_only: ClassVar[frozenset[str]] = frozenset({"big"})
    append_only: ClassVar[bool] = False
    parallel: ClassVar[bool] = True
    chains_field: ClassVar[str | None] = "samples"

    samples: int = Field(default=3, ge=1, le=MOST_CHAINS, description="chains that small writes")
    agree: float = Field(default=0.6, gt=0, le=1, description="share of equal answers that is enough")

    def tunables(self) -> tuple[Tunable, ...]:
        return (Tunable("samples", values=(3, 5)), Tunable("agree", values=(0.5, 0.6, 0.8, 1.0)))

    async def run(self, chain: Chain) -> None:
        if not await try_small(chain, self.samples, self.agree):
            await BigOnly.model_validate({"answer_by": self.answer_by}).run(chain)


async def try_small(chain: Chain, samples: int, agree: float) -> bool:
    """Has small solve the problem several times. Takes a chain with an agreed answer.

    Returns False, and leaves the chain as it is, if the share of equal answers is below `agree`.
    """
    children = [chain.child(share=2 * samples) for _ in range(samples)]  # half is left for what follows
    async with asyncio.TaskGroup() as group:
        for child in children:
            group.create_task(SmallOnly.model_validate({}).run(child))
    answers = [count_key(child.answer_text) for child in children]
    best, votes = Counter(filter(None, answers)).most_common(1)[0] if any(answers) else ("", 0)
    if not reaches(votes / samples, agree):
        return False
    await chain.become(children[answers.index(best)])
    return True
