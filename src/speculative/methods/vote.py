"""Several whole chains, and the answer that most of them come to."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from speculative.chain.chain import Chain
from speculative.methods.ballots import MOST_CHAINS, Ballot, count_key, elect, is_decided
from speculative.methods.base import Method
from speculative.methods.confidence import mean_probability
from speculative.methods.families import Family
from speculative.methods.words import split_words
from speculative.methods.wrapper import Wrapper, merged


class Vote(Wrapper):
    """Runs the inner method on several chains and takes the most common answer.

    The chains run at once. The first one with that answer is taken over.
    Answers are counted by their value as far as that is cheap to see: 033 is 33, 0.5 is a half. A chain without an answer has no vote.
    `answer_by`: who writes the answer of every ballot.

    With `weights=confidence` a vote weighs as much as the models were sure of the chain: the geometric mean of the probabilities of the
    tokens of its thinking, each by its own writer.

    With `stop_early` the vote is over as soon as the chains that are still being written cannot change its answer. With
    `enough` it is over as soon as that many answers are equal. Then the speed of the engines decides which of the equal
    chains is taken.

    With `plans` each chain has a strategy behind its problem.

    Cost: `ballots` whole chains; all but one are discarded. Needs: for `weights=confidence` `logprobs` of the models that think.
    Source: self-consistency (arXiv 2203.11171). The weights are those of DeepConf (arXiv 2508.15260), of whole chains. `enough` is the fast
    mode of SSR (arXiv 2505.15340), and `plans` its strategies.
    """

    family: ClassVar[Family] = "around a method"
    append_only: ClassVar[bool] = False
    parallel: ClassVar[bool] = True
    chains_field: ClassVar[str | None] = "ballots"

    ballots: int = Field(default=5, ge=1, le=MOST_CHAINS, description="chains that vote")
    weights: Literal["equal", "confidence"] = Field(default="equal", description="how much each vote weighs")
    stop_early: bool = Field(default=False, description="stop when the rest cannot change the answer")
    plans: str = Field(default="", description="strategies, with semicolons between them; each chain is told the next one")
    enough: int | None = Field(default=None, ge=2, description="stop when so many answers are equal")

    @field_validator("plans")
    @classmethod
    def _check_plans(cls, value: str, info: ValidationInfo) -> str:
        if (given := len(split_words(value))) > info.data.get("ballots", given):
            raise ValueError(f"must be at most as many as ballots, {info.data['ballots']}, got {given}")
        return value

    @field_validator("enough")
    @classmethod
    def _check_enough(cls, value: int | None, info: ValidationInfo) -> int | None:
        if value is not None and value > info.data.get("ballots", value):
            raise ValueError(f"must be at most ballots, {info.data['ballots']}, got {value}")
        return value

    @model_validator(mode="after")
    def _check_weights(self) -> Vote:
        if self.weights == "confidence" and self.inner.chains_at_once > 1:
            raise ValueError(f"weights=confidence must be around a method of one chain of thought, got {type(self.inner).name()}")
        return self

    def required_abilities(self) -> dict[str, set[str]]:
        weighed = {role: {"logprobs"} for role in self.inner.uses() & {"big", "small"}} if self.weights == "confidence" else {}
        return merged(super().required_abilities(), weighed)

    async def run(self, chain: Chain) -> None:
        inner = answered_by(self.inner, self.answer_by) if "answer_by" in self.model_fields_set else self.inner
        plans, weighed = split_words(self.plans) or ("",), self.weights == "confidence"
        children = [
            chain.child(share=self.ballots, instruction=plans[place % len(plans)], logprobs=weighed) for place in range(self.ballots)
        ]
        ballots = dict[Chain, Ballot]()
        async with asyncio.TaskGroup() as group:
            tasks = {group.create_task(inner.run(child)): child for child in children}
            running = set(tasks)
            while running and not self._is_decided(list(ballots.values()), len(running)):
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                ballots |= {tasks[task]: self._ballot(tasks[task]) for task in done}
            for task in running:
                task.cancel()
        counted = [(child, ballots[child]) for child in children if child in ballots]
        winner = elect([ballot for _, ballot in counted])
        await chain.become(next(child for child, ballot in counted if ballot.answer == winner))

    def _ballot(self, child: Chain) -> Ballot:
        return Ballot(count_key(child.answer_text), mean_probability(child.trace) if self.weights == "confidence" else 1.0)

    def _is_decided(self, ballots: list[Ballot], running: int) -> bool:
        """Returns whether the vote may stop with `running` chains still being written."""
        most = max(Counter(ballot.answer for ballot in ballots if ballot.answer).values(), default=0)
        return (self.enough is not None and most >= self.enough) or (self.stop_early and is_decided(ballots, running))


def answered_by(method: Method, role: str) -> Method:
    """Returns the method and its inner methods with another role to answer."""
    update: dict[str, Any] = {"answer_by": role}
    if isinstance(method, Wrapper):
        update["inner"] = answered_by(method.inner, role)
    return method.model_copy(update=update)
