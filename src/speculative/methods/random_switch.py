"""A coin before every chunk: the line that every cleverer method has to beat."""

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from speculative.chain.chain import Chain
from speculative.chain.steps import STEP
from speculative.methods.base import Method
from speculative.methods.families import Family
from speculative.methods.tunable import Tunable


class RandomSwitch(Method):
    """Gives every chunk, or every step, to the big or to the small model at random.

    Cost: one call a chunk; nothing is thrown away. Needs: nothing.
    Source: the random baseline of SplitReason (arXiv 2504.16379, figure 6).
    """

    family: ClassVar[Family] = "baseline"

    switch_ratio: float | None = Field(
        default=None, gt=0, description="small chunks for each big one, on average (1 unless big_share is given)"
    )
    big_share: float | None = Field(default=None, ge=0, le=1, description="the chance that a chunk goes to big, instead of switch_ratio")
    switch_chunk: int = Field(default=16, ge=1, description="tokens in a chunk")
    unit: Literal["chunk", "step"] = Field(default="chunk", description="what is given to one model at a time")

    @model_validator(mode="after")
    def _one_share(self) -> "RandomSwitch":
        if self.switch_ratio is not None and self.big_share is not None:
            raise ValueError("give switch_ratio or big_share, not both")
        if self.switch_ratio is None and self.big_share is None:
            object.__setattr__(self, "switch_ratio", 1.0)  # the one in effect is a parameter like any other
        return self

    @property
    def switch_unit(self) -> int | Literal["step"]:
        return "step" if self.unit == "step" else self.switch_chunk

    def tunables(self) -> tuple[Tunable, ...]:
        shares = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
        return (Tunable("big_share", values=shares),)

    @property
    def share(self) -> float:
        """The chance that a chunk goes to big."""
        return self.big_share if self.big_share is not None else 1 / (1 + (self.switch_ratio or 1))

    def uses(self) -> frozenset[str]:
        return frozenset({"big"} if self.share else ()) | frozenset({"small"} if self.share < 1 else ())

    async def think(self, chain: Chain) -> None:
        while chain.thinking:
            role = "big" if chain.random.random() < self.share else "small"
            if self.unit == "step":
                await chain.write(role, stop=STEP)
            else:
                await chain.write(role, max_tokens=self.switch_chunk)
