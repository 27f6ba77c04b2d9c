"""Takes the best of several versions of each step.

The small model writes the versions, and the big one chooses.
"""

from typing import ClassVar

from pydantic import Field

from speculative.chain.chain import Chain
from speculative.chain.steps import STEP
from speculative.methods.base import Method
from speculative.methods.choosing import MOST, NEEDS, ChooseBy, best_scores, choose
from speculative.methods.families import Family
from speculative.methods.step_loop import is_bare
from speculative.methods.tunable import Tunable


class BestStep(Method):
    """Small drafts several versions of each step; big takes one or writes its own.

    Versions with the same text are shown once. Where all versions say nothing, the first one is kept without a question. A version that
    only ends the thinking says nothing, so big is not asked whether the thinking may end.

    Cost: one call for all versions of a step, one to choose, and a call of big where it takes none; all versions but one are thrown
    away. By `likelihood` big scores all versions in one call; by `question` it reads them and replies with one token.
    Needs: `score` of big for `by=likelihood`. Source: SpecCoT (OpenReview mOR17THWTB), without the direction
    that big gives small there.
    """

    family: ClassVar[Family] = "several versions"
    needs: ClassVar[dict[str, set[str]]] = {"big": {"score"}}
    drafts_field: ClassVar[str | None] = "versions"

    versions: int = Field(default=4, ge=1, le=MOST, description="versions of a step")
    by: ChooseBy = Field(default="likelihood", description="how big chooses: by the versions' likelihood, or asked for a number")
    threshold: float = Field(default=-0.3, le=0, description="log-probability for each token that the likeliest version needs")
    step_tokens: int = Field(default=512, ge=1, description="tokens of a step at most")

    def required_abilities(self) -> dict[str, set[str]]:
        return NEEDS[self.by]

    def tunables(self) -> tuple[Tunable, ...]:
        return (Tunable("threshold", "below", best_scores),) if self.by == "likelihood" else ()

    async def think(self, chain: Chain) -> None:
        while chain.thinking:
            drafts = await chain.draft("small", self.versions, stop=STEP, max_tokens=self.step_tokens)
            unlike = list({(draft.text, draft.ended): draft for draft in reversed(drafts) if not is_bare(draft.text)}.values())[::-1]
            if not unlike:
                await chain.accept(drafts[0])
            elif chosen := await choose(chain, self.by, unlike, self.threshold, "the next step"):
                await chain.accept(chosen)
            else:
                chain.reject(drafts, "big took none")
                await chain.write("big", stop=STEP, max_tokens=self.step_tokens)
