"""Drafts whole chains with the small model.

The big model takes the best of them or writes its own.
"""

from typing import Any, ClassVar

from pydantic import Field

from speculative.chain.chain import Chain
from speculative.methods.base import Method
from speculative.methods.choosing import MOST, NEEDS, ChooseBy, best_scores, choose
from speculative.methods.families import Family
from speculative.methods.step_loop import is_bare
from speculative.methods.tunable import Tunable


class WholeDraft(Method):
    """Small drafts several whole chains; big takes one or thinks for itself.

    Only chains that come to their own end are chosen from, and of chains with the same text one.

    Cost: one call for all chains, one to choose, and big's own thinking where it takes none; all chains but one are thrown away.
    Needs: `score` of big for `by=likelihood`. Source: SCoT (arXiv 2504.19095).
    """

    family: ClassVar[Family] = "several versions"
    needs: ClassVar[dict[str, set[str]]] = {"big": {"score"}}
    asks_only: ClassVar[frozenset[str]] = frozenset({"big"})
    asks_with: ClassVar[dict[str, Any]] = {"by": "question"}
    drafts_field: ClassVar[str | None] = "samples"

    samples: int = Field(default=3, ge=1, le=MOST, description="chains that small drafts")
    by: ChooseBy = Field(default="likelihood", description="how big chooses: by the chains' likelihood, or asked for a number")
    threshold: float = Field(default=-0.1, le=0, description="log-probability for each token that the likeliest chain needs")

    def required_abilities(self) -> dict[str, set[str]]:
        return NEEDS[self.by]

    def tunables(self) -> tuple[Tunable, ...]:
        return (Tunable("threshold", "below", best_scores, shares=(0.05, 0.1, 0.2, 0.4, 0.6, 0.8)),) if self.by == "likelihood" else ()

    async def think(self, chain: Chain) -> None:
        half = None if chain.left is None else max(1, chain.left // (2 * self.samples))  # the other half is for big
        drafts = await chain.draft("small", self.samples, max_tokens=half)
        whole = {draft.text: draft for draft in reversed(drafts) if draft.ended and not is_bare(draft.text)}
        chosen = await choose(chain, self.by, list(whole.values())[::-1], self.threshold, "the whole reasoning")
        if chosen:
            await chain.accept(chosen)
        else:
            chain.reject(drafts, "big took none")
            await chain.write("big")
