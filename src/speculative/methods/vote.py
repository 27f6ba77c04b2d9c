"""Several whole chains, and the answer that most of them come to."""

import asyncio
from collections import Counter
from typing import Any, ClassVar

from pydantic import Field

from speculative.answers import extract_answer, normalize_answer
from speculative.chain.chain import Chain
from speculative.methods.base import Method, Wrapper
from speculative.methods.families import Family
from speculative.methods.words import split_words


class Vote(Wrapper):
    """Runs the inner method on several chains and takes the most common answer.

    The chains run at once. The first one with that answer is taken over.
    Answers are counted by their value as far as that is cheap to see: 033 is 33, 0.5 is a half. A chain without an answer has no vote.
    `answer_by`: who writes the answer of every ballot.

    With `stop_early` the vote is over as soon as the chains that are still being written cannot change its answer. With
    `enough` it is over as soon as that many answers are equal. Then the speed of the engines decides which of the equal
    chains is taken.

    With `plans` each chain has a strategy behind its problem.

    Cost: `ballots` whole chains; all but one are discarded. Source: self-consistency (arXiv 2203.11171); `enough` is the fast mode of
    SSR (arXiv 2505.15340), and `plans` its strategies.
    """

    family: ClassVar[Family] = "around a method"
    append_only: ClassVar[bool] = False
    parallel: ClassVar[bool] = True

    ballots: int = Field(5, ge=1, description="chains that vote")
    stop_early: bool = Field(False, description="stop when the rest cannot change the answer")
    plans: str = Field("", description="strategies, with semicolons between them; each chain is told the next one")
    enough: int | None = Field(None, ge=2, description="stop when so many answers are equal")

    @property
    def chains_at_once(self) -> int:
        return self.ballots * self.inner.chains_at_once

    async def run(self, chain: Chain) -> None:
        inner = answered_by(self.inner, self.answer_by) if "answer_by" in self.model_fields_set else self.inner
        plans = split_words(self.plans) or ("",)
        children = [chain.child(share=self.ballots, instruction=plans[place % len(plans)]) for place in range(self.ballots)]
        async with asyncio.TaskGroup() as group:
            tasks = {group.create_task(inner.run(child)): child for child in children}
            running, counted = set(tasks), Counter[str]()
            while running and not self._is_decided(counted, len(running)):
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                counted.update(vote for task in done if (vote := count_key(tasks[task].answer_text)))
            for task in running:
                task.cancel()
        votes = {child: count_key(child.answer_text) for task, child in tasks.items() if task not in running}
        order = Counter(vote for vote in votes.values() if vote)
        winner = order.most_common(1)[0][0] if order else ""
        await chain.become(next(child for child, vote in votes.items() if vote == winner))

    def _is_decided(self, counted: Counter[str], running: int) -> bool:
        """Returns whether the vote may stop with `running` chains still being written."""
        first, second = [*(votes for _, votes in counted.most_common(2)), 0, 0][:2]
        return (self.enough is not None and first >= self.enough) or (self.stop_early and first > second + running)


def count_key(text: str) -> str:
    """Returns the text by which an answer is counted.

    This is the whole text where no part says that it is the answer.
    """
    found = extract_answer(text)
    return normalize_answer(text if found is None else found)


def answered_by(method: Method, role: str) -> Method:
    """Returns the method and its inner methods with another role to answer."""
    update: dict[str, Any] = {"answer_by": role}
    if isinstance(method, Wrapper):
        update["inner"] = answered_by(method.inner, role)
    return method.model_copy(update=update)
