"""The other baseline: the small model alone."""

from typing import ClassVar, Literal

from pydantic import Field

from speculative.methods.big_only import BigOnly
from speculative.methods.families import Family


class SmallOnly(BigOnly):
    """The small model writes everything, the answer too.

    Cost: as `big_only`, of the small model. Needs: nothing. Source: as `big_only`.
    """

    family: ClassVar[Family] = "baseline"
    writer: ClassVar[Literal["big", "small"]] = "small"
    aliases: ClassVar[tuple[str, ...]] = ("small_model_only",)

    answer_by: Literal["big", "small"] = Field(default="small", description="who writes the answer")
