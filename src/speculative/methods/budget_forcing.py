"""Makes any method think longer, or shorter."""

from typing import Any, ClassVar

from pydantic import Field, ValidationInfo, field_validator

from speculative.chain.chain import Chain
from speculative.methods.base import Method
from speculative.methods.families import Family
from speculative.methods.wrapper import Wrapper


class BudgetForcing(Wrapper):
    """Continues thinking that is too short, and ends thinking that is too long.

    The end of short thinking is taken back.
    Each round inserts the dialect's cue to go on ("Wait") behind the thinking, and the inner method thinks on. The end by `most` comes
    after the step in which it is reached.

    Cost: a round of the inner method's thinking for each end that is taken back, whose token is discarded.
    Needs: a method of one chain of thought. Around `vote` it works in each ballot. Source: s1 (arXiv 2501.19393, section 3.1).
    """

    family: ClassVar[Family] = "around a method"

    rounds: int = Field(default=1, ge=0, description="how often the end of the thinking is taken back at most")
    least: int | None = Field(
        default=None, ge=1, description="tokens of thinking from which on its end stays; unless given every round is taken"
    )
    most: int | None = Field(default=None, ge=1, description="tokens of thinking after which it is ended")

    @field_validator("most")
    @classmethod
    def _check_most(cls, value: int | None, info: ValidationInfo) -> int | None:
        least = info.data.get("least")
        if value is not None and least is not None and value < least:
            raise ValueError(f"must be at least the value of least, {least}, got {value}")
        return value

    @field_validator("inner")
    @classmethod
    def _check_inner(cls, inner: Method) -> Method:
        innermost = inner
        while isinstance(innermost, Wrapper):
            innermost = innermost.inner
        if type(innermost).run is not Method.run:
            raise ValueError(f"it must be put around a method of one chain of thought, got {type(innermost).name()}")
        return inner

    async def run(self, chain: Chain) -> None:
        method = self.under_others()
        if isinstance(method, BudgetForcing):
            await Method.run(method, chain)
        else:
            await method.run(chain)

    def under_others(self) -> Method:
        """Returns the same method with this wrapper inside all others.

        The others run whole chains, and each of those is forced.
        """
        inner = self.inner.under_others() if isinstance(self.inner, BudgetForcing) else self.inner
        if isinstance(inner, Wrapper) and not isinstance(inner, BudgetForcing):
            forced: dict[str, Any] = {"inner": self.model_copy(update={"inner": inner.inner}).under_others()}
            return inner.model_copy(update=forced)
        return self.model_copy(update={"inner": inner})

    async def think(self, chain: Chain) -> None:
        if self.most is not None:
            chain.at_step(self._end_at_most)
        await self.inner.think(chain)
        for _ in range(self.rounds):
            long_enough = self.least is not None and chain.tokens >= self.least
            was_stopped = not chain.trace.ledger.ended  # by a limit or a wrapper, and not by the model
            if chain.finish != "stop" or was_stopped or long_enough or self._is_too_long(chain):
                return
            await chain.resume()
            await self.inner.think(chain)

    async def _end_at_most(self, chain: Chain) -> None:
        if chain.thinking and self._is_too_long(chain):
            chain.stop("the thinking is long enough")

    def _is_too_long(self, chain: Chain) -> bool:
        return self.most is not None and chain.tokens >= self.most
