"""Events in the text of the small model that call the big one, without a judge."""

from math import exp
from typing import Any, ClassVar, Literal

from pydantic import Field

from speculative.chain.chain import Chain
from speculative.chain.drafts import Draft
from speculative.chain.steps import STEP
from speculative.methods.base import Method
from speculative.methods.families import Family
from speculative.methods.step_loop import is_bare
from speculative.methods.tunable import Tunable, judged
from speculative.methods.words import count_words
from speculative.trace.events import Judgement

HESITATION = "wait; hmm; alternatively; hold on; maybe; perhaps; let me check; let me double-check; not sure"


class Trigger(Method):
    """Big writes the first steps; then small writes, and two events call big.

    A step of small is thrown away and written by big if the share of its tokens that small gave a probability above `tau` is over
    `rho`: small is too sure of itself (`direction=over`), or with `direction=under` if it is below `rho`. If small hesitates in
    `hesitate` steps in a row, big writes the next `steps` steps.

    Cost: a call for each step, and one more for each step that is thrown away. Nothing is judged.
    Needs: `logprobs` of small. Source: TrigReason (arXiv 2604.14847), with its perplexity bound 1.05 as a probability.
    """

    family: ClassVar[Family] = "small is unsure"
    probe: ClassVar[dict[str, Any]] = {"prime": 0, "direction": "over", "rho": 1.0}
    needs: ClassVar[dict[str, set[str]]] = {"small": {"logprobs"}}

    prime: int = Field(default=20, ge=0, description="steps that big writes at the beginning")
    tau: float = Field(default=0.952, gt=0, lt=1, description="probability above which small is sure of a token")
    rho: float = Field(default=0.8, ge=0, le=1, description="share of sure tokens at which a step is thrown away")
    direction: Literal["over", "under"] = Field(default="over", description="throw a step away if more of its tokens are sure, or fewer")
    hesitate: int = Field(default=3, ge=0, description="hesitant steps in a row that call big; 0 for never")
    steps: int = Field(default=1, ge=1, description="steps that big then writes")
    words: str = Field(default=HESITATION, description="words of hesitation, with semicolons between them")

    def tunables(self) -> tuple[Tunable, ...]:
        return (
            Tunable("direction", values=("over", "under"), shapes=True),
            Tunable("tau", values=(0.8, 0.952, 0.995), shapes=True),
            Tunable("rho", "above" if self.direction == "over" else "below", judged),
            Tunable("prime", values=(0, 2, 5, 20)),
        )

    async def think(self, chain: Chain) -> None:
        await self._write(chain, self.prime)
        hesitant = 0
        while chain.thinking:
            step = await chain.draft("small", stop=STEP, logprobs=True)
            judgement = None if is_bare(step.text) else self._judge(step)
            if judgement and self._is_suspect(judgement.score):
                chain.reject(step, f"small was too {'sure' if self.direction == 'over' else 'unsure'} of its tokens", judgement=judgement)
                await self._write(chain, 1)
                hesitant = 0
                continue
            await chain.accept(step, judgement=judgement)
            if not is_bare(step.text):
                hesitant = hesitant + 1 if count_words(step.text, self.words) else 0
            if self.hesitate and hesitant >= self.hesitate:
                await self._write(chain, self.steps)
                hesitant = 0

    async def _write(self, chain: Chain, steps: int) -> None:
        for _ in range(steps):
            if chain.thinking:
                await chain.write("big", stop=STEP)

    def _judge(self, step: Draft) -> Judgement | None:
        """Returns the share of the step's tokens that small was sure of.

        Returns None without tokens.
        """
        if not step.logprobs:
            return None
        return Judgement(
            sum(exp(logprob) > self.tau for logprob in step.logprobs) / len(step.logprobs), self.rho, "small", "share of sure tokens"
        )

    def _is_suspect(self, share: float) -> bool:
        return share > self.rho if self.direction == "over" else share < self.rho
