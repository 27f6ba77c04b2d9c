"""Ends the thinking as soon as the answer has settled."""

from typing import ClassVar

from pydantic import Field

from speculative.answers import extract_boxed, normalize_answer
from speculative.chain.chain import Chain
from speculative.methods.families import Family
from speculative.methods.wrapper import Wrapper
from speculative.prompts import Question


class EarlyExit(Wrapper):
    """Asks for the answer every few steps; ends the thinking if the last ones agree.

    It also ends the thinking where the same steps come again and again.

    Cost: one short question each time (on the cached prefix), which is discarded. Needs: nothing.
    Source: Dynasor-CoT (arXiv 2412.20993), where a reply with a word of doubt (wait, hmm) does not count. Here every reply with
    an answer does.
    """

    family: ClassVar[Family] = "around a method"

    every: int = Field(default=1, ge=1, description="steps between two questions")
    agree: int = Field(default=3, ge=2, description="so many equal answers in a row end the thinking")
    probe_tokens: int = Field(default=20, ge=1, description="tokens of each reply")

    async def run(self, chain: Chain) -> None:
        asked_at: dict[Chain, int] = {}
        found: dict[Chain, list[str]] = {}

        async def probe(watched: Chain) -> None:
            answers, steps = found.setdefault(watched, []), len(watched.steps.done)
            since = min(asked_at.get(watched, 0), steps)
            if watched.thinking and watched.steps.looping:  # one call may hold them all: the chain sees a loop at its end
                watched.stop("the same steps again and again", "loop")
            if not watched.thinking or steps - since < self.every:
                return
            asked_at[watched] = steps
            reply = await watched.ask(self.answer_by, Question("answer"), max_tokens=self.probe_tokens, temperature=0)
            if not reply.has_text:
                return
            # the box's opening is the question's; one that is still open says nothing
            answers.append(normalize_answer(extract_boxed(f"\\boxed{{{reply}") or ""))
            last = answers[-self.agree :]
            if len(last) == self.agree and last[0] and len(set(last)) == 1:
                watched.stop("the answer has settled")

        chain.at_step(probe)
        await self.inner.run(chain)
