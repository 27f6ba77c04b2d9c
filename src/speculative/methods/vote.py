"""Several whole chains, and the answer that most of them come to."""

import asyncio
from collections import Counter
from typing import Any, ClassVar

from pydantic import Field

from speculative.answers import extract_answer, normalize_answer
from speculative.chain.chain import Chain
from speculative.methods.base import Method, Wrapper


class Vote(Wrapper):
    """Runs the inner method on several chains at once and takes over the first one with the most common answer.

    Answers are counted by their value as far as that is cheap to see: 033 is 33, 0.5 is a half. No answer is no vote.
    `answer_by`: who writes the answer of every ballot.

    Cost: `ballots` whole chains; all but one are discarded. Source: self-consistency (arXiv 2203.11171).
    """

    append_only: ClassVar[bool] = False
    parallel: ClassVar[bool] = True

    ballots: int = Field(5, ge=1, description="chains that vote")

    @property
    def chains_at_once(self) -> int:
        return self.ballots * self.inner.chains_at_once

    async def run(self, chain: Chain) -> None:
        inner = answered_by(self.inner, self.answer_by) if "answer_by" in self.model_fields_set else self.inner
        children = [chain.child(share=self.ballots) for _ in range(self.ballots)]
        async with asyncio.TaskGroup() as group:
            for child in children:
                group.create_task(inner.run(child))
        votes = [count_key(child.answer_text) for child in children]
        counted = Counter(vote for vote in votes if vote)
        winner = counted.most_common(1)[0][0] if counted else ""
        await chain.become(children[votes.index(winner)])


def count_key(text: str) -> str:
    """What an answer is counted by, which is all of its text where no part says that it is the answer."""
    found = extract_answer(text)
    return normalize_answer(text if found is None else found)


def answered_by(method: Method, role: str) -> Method:
    """The method, and all that it is put around, with another one to answer."""
    update: dict[str, Any] = {"answer_by": role}
    if isinstance(method, Wrapper):
        update["inner"] = answered_by(method.inner, role)
    return method.model_copy(update=update)
