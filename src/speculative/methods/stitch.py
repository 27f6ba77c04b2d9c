"""Switches to the big model at an uncertain token, and back at a certain one."""

from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field

from speculative.chain.chain import Chain
from speculative.chain.drafts import Draft, TreeNode
from speculative.methods.base import Method
from speculative.methods.families import Family
from speculative.methods.tunable import Tunable
from speculative.trace.events import Drafted
from speculative.trace.trace import Trace


class Stitch(Method):
    """Small writes until it is uncertain of a token, big until it is certain again.

    Uncertain and certain are measured by the entropy (nats) of a place's `top` likeliest tokens. Small's uncertain token is thrown
    away, and big writes in its place; big's first certain token stays, and small goes on after it.

    Cost: a call for each chunk. What small drafted behind its uncertain token, and big behind its first certain one, is thrown away:
    shorter chunks waste less and call more often. Needs: `top` of both.
    Source: R-Stitch (arXiv 2507.17307), by chunks instead of tokens. Its thresholds are 0.03 of the logarithm of the vocabulary's size.
    Its small model is trained to write short: part of its published speed is shorter text.
    """

    family: ClassVar[Family] = "small is unsure"
    needs: ClassVar[dict[str, set[str]]] = {"small": {"top"}, "big": {"top"}}

    tau_up: float = Field(default=0.36, ge=0, description="entropy (nats) of small above which big takes over")
    tau_down: float = Field(default=0.36, ge=0, description="entropy (nats) of big at or below which small takes over")
    chunk: int = Field(default=32, ge=1, description="tokens that small drafts in one call")
    big_chunk: int = Field(default=8, ge=1, description="tokens that big drafts in one call")
    top: int = Field(default=20, ge=2, description="likeliest tokens whose entropy is taken")

    @property
    def switch_unit(self) -> int:
        return self.chunk

    def tunables(self) -> tuple[Tunable, ...]:
        return (
            Tunable("tau_up", "above", lambda trace: self._entropies(trace, "small"), shares=(0.01, 0.02, 0.04, 0.08, 0.15)),
            Tunable("tau_down", "above", lambda trace: self._entropies(trace, "big"), shares=(0.05, 0.15, 0.4, 0.7)),
        )

    async def think(self, chain: Chain) -> None:
        role: Literal["big", "small"] = "small"
        while chain.thinking:
            tokens = self.chunk if role == "small" else self.big_chunk
            draft = await chain.draft(role, max_tokens=tokens, logprobs=self.top)
            place = self._switch_place(draft, role)
            if place is None:
                await chain.accept(draft)
                continue
            before = chain.tokens
            await chain.accept(draft, upto=place)
            if role == "big" and chain.tokens == before:  # its certain token was a part of a character
                await chain.write("big", max_tokens=1)
            role = "big" if role == "small" else "small"

    def _switch_place(self, draft: Draft, role: str) -> int | None:
        """Returns how many tokens of the draft stay before the other model takes over.

        Returns None if the other model does not take over.
        """
        for place in range(len(draft.ids)):
            entropy = draft.entropy(place)
            if role == "small" and entropy > self.tau_up:
                return place
            if role == "big" and entropy <= self.tau_down:
                return place + 1
        return None

    def _entropies(self, trace: Trace, role: str) -> Iterator[float]:
        """Yields the entropies that were compared with a role's threshold.

        In each draft these are the entropies up to the place of the switch.
        """
        for event in trace.walk():
            if isinstance(event, Drafted) and event.call.role == role:
                draft = Draft(role, event.proposals[0], None, TreeNode(0), TreeNode(0))
                place = self._switch_place(draft, role)
                read = len(draft.ids) if place is None else place + (role == "small")
                yield from map(draft.entropy, range(read))
