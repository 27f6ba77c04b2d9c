"""Runs steps of the small model ahead of the chain.

The big model writes its own step from every prefix at once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import ClassVar, Literal

from pydantic import Field

from speculative.chain.chain import Chain
from speculative.chain.drafts import Draft
from speculative.chain.steps import STEP
from speculative.methods.base import Method
from speculative.methods.families import Family
from speculative.methods.same_step import SameBy, is_same
from speculative.methods.tunable import Tunable


class Lookahead(Method):
    """Small drafts several steps ahead; each stays if big's own step says the same.

    Big writes a step of its own at the chain's end and after every draft, all at once. Where the two steps differ, big's is taken,
    and what was drafted beyond is thrown away.

    Cost: small's and big's step for each step of the chain, in fewer rounds than big alone; and what both drafted beyond a difference, so
    big writes more tokens than alone. Unless `same=exact`, one question in one token for two steps whose texts differ.
    Needs: `choices` of the model that is asked. Source: Lookahead Reasoning (arXiv 2506.19830). That accepts no draft behind text that
    ends inside of a step; here one is accepted there as well.
    """

    family: ClassVar[Family] = "checked steps"
    parallel: ClassVar[bool] = True

    depth: int = Field(default=4, ge=1, description="steps that small drafts ahead")
    step_tokens: int = Field(default=100, ge=1, description="tokens of a step at most")
    same: SameBy = Field(
        default="exact", description="how two steps are found to say the same: by their text, or asked of big or of the judge"
    )

    def required_abilities(self) -> dict[str, set[str]]:
        return {} if self.same == "exact" else {self.same: {"choices"}}

    def tunables(self) -> tuple[Tunable, ...]:
        return (Tunable("depth", values=(2, 4, 8)),)

    async def think(self, chain: Chain) -> None:
        async with asyncio.TaskGroup() as group:
            ahead = deque[tuple[asyncio.Task[Draft | None], asyncio.Task[Draft | None]]]()
            last: asyncio.Task[Draft | None] | None = None

            def start(role: Literal["big", "small"]) -> asyncio.Task[Draft | None]:
                return group.create_task(self._step(chain, role, last))

            while chain.thinking:
                while len(ahead) < self.depth:
                    ahead.append((start("small"), start("big")))
                    last = ahead[-1][0]
                drafted, own = ahead.popleft()
                draft, target = await drafted, await own
                assert target
                if draft and draft.text and await is_same(chain, self.same, draft, target):
                    await chain.accept(draft, keep_descendants=True)
                    continue
                for task in [task for pair in ahead for task in pair]:
                    task.cancel()
                ahead.clear()
                last = None
                await chain.accept(target)
            for task in [task for pair in ahead for task in pair]:
                task.cancel()

    async def _step(self, chain: Chain, role: Literal["big", "small"], after: asyncio.Task[Draft | None] | None) -> Draft | None:
        """Drafts a step after another draft; None if nothing can follow that."""
        above = await after if after else None
        if after and (above is None or above.ended or not above.text or above.state == "rejected" or not chain.thinking):
            return None
        return await chain.draft(role, after=above, stop=STEP, max_tokens=self.step_tokens)
