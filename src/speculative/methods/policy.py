"""A policy that was fitted to chains decides which steps of the small model stay."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from speculative.chain.chain import Chain
from speculative.chain.drafts import Draft
from speculative.methods.base import Method
from speculative.methods.families import Family
from speculative.methods.judging import MEAN_REPLY, expected, judge_step
from speculative.methods.likelihood_verify import MEAN, mean_score
from speculative.methods.policy_fit import fit_table
from speculative.methods.policy_process import ALWAYS, History
from speculative.methods.policy_table import PolicyTable, bundled_table, read_table
from speculative.methods.step_loop import verify_steps
from speculative.methods.threshold import reaches
from speculative.methods.tunable import GradedTrace, Tunable, judged
from speculative.trace.events import Judgement

By = Literal["likelihood", "question", "reward"]
JUDGES: dict[By, tuple[str, str]] = {"likelihood": ("big", MEAN), "question": ("big", MEAN_REPLY), "reward": ("judge", "reward")}
"""The role that gives a score, and the measure of it."""


class Policy(Method):
    """Small writes each step; a fitted policy keeps it or has big write it again.

    The policy knows the scores of all steps of the chain: the lowest one that was kept, the number of the step, and its own. A
    step is thrown away where that is expected to raise the chance of a right answer by more than `price` for each token of big. So a
    chain in which a bad step was kept is not worth big's work any more.

    Cost: a draft and a score for each step, and a call of big for each step that is thrown away. `speculative tune policy` fits the
    table of counts behind it on chains with random decisions (`explore`); the price can be changed without another fit. The default table
    is of the bundled pair. Needs: `score` of big, or a judge with `reward` (`by`).
    Source: TRIM-Agg (arXiv 2601.10245), which trains a network with PPO on a longer history, with the product of the scores and the
    step's tokens; this one solves a small Markov decision process instead.
    """

    family: ClassVar[Family] = "checked steps"
    needs: ClassVar[dict[str, set[str]]] = {"big": {"score"}}
    from_files: ClassVar[frozenset[str]] = frozenset({"fit"})
    probe: ClassVar[dict[str, Any]] = {"explore": 1.0}

    fit: str = Field(
        default="", description="table of counts as JSON, or @FILE of `speculative tune policy`; the bundled pair's unless given"
    )
    price: float = Field(default=8e-4, ge=0, description="chance of a right answer that one token of big must be worth")
    by: By = Field(default="likelihood", description="score of a step: big's log-probability, big's reply from 0 to 9, or a judge's reward")
    explore: float = Field(default=0.0, ge=0, le=1, description="share of decisions that a coin makes, to collect chains for a fit")
    first_big_steps: int = Field(default=0, ge=0, description="steps that big writes at the beginning")
    step_tokens: int = Field(default=512, ge=1, description="tokens of a step at most")

    @model_validator(mode="after")
    def _check_table(self) -> "Policy":
        if self.fit and (found := read_table(self.fit).by) != self.by:
            raise ValueError(f"fit must be a table of the scores by={self.by}, got by={found}; `speculative tune` makes one")
        if not self.fit and self.by != "likelihood" and self.explore < 1:
            raise ValueError(f"fit must be given with by={self.by}; `speculative tune` makes one")
        return self

    def required_abilities(self) -> dict[str, set[str]]:
        if self.by == "question":
            return {}
        return {"big": {"score"}} if self.by == "likelihood" else {"judge": {"reward"}}

    def tunables(self) -> tuple[Tunable, ...]:
        values = (1e-4, 1e-3, 3e-3, 5e-3, 7e-3, 1e-2, 2e-2)
        return (Tunable("price", scores=judged, values=values, exact=not self.explore, decide=self._decide),)

    def _decide(self, scores: Sequence[float], price: float) -> list[bool]:
        """Returns whether each step of a chain with these scores would be kept at a price."""
        table, kept = self.table(), list[bool]()
        history = History(table, price)
        for score in scores:
            kept.append(reaches(score, history.threshold))
            history.add(score, kept=kept[-1])
        return kept

    def fitted(self, runs: Sequence[GradedTrace]) -> dict[str, Any]:
        """Returns the table of counts."""
        found = fit_table(runs, self.by)
        return {} if found is None else {"fit": found.to_json()}

    def table(self) -> PolicyTable:
        """Returns the table of counts."""
        return read_table(self.fit) if self.fit else bundled_table()

    async def think(self, chain: Chain) -> None:
        history = History(self.table(), self.price)

        async def judge(chain: Chain, step: Draft) -> Judgement | None:
            score = await self._score(chain, step)
            if score is None:
                return None
            threshold = history.threshold
            if self.explore and chain.random.random() < self.explore:
                threshold = ALWAYS if chain.random.random() < 0.5 else -ALWAYS
            history.add(score, kept=reaches(score, threshold))
            return Judgement(score, threshold, *JUDGES[self.by])

        await verify_steps(chain, judge, first_big_steps=self.first_big_steps, step_tokens=self.step_tokens)

    async def _score(self, chain: Chain, step: Draft) -> float | None:
        if self.by == "likelihood":
            return await mean_score(chain, step)
        if self.by == "reward":
            return (await chain.reward("judge", [step]))[0]
        scores = await judge_step(chain, "big", step)
        return expected(scores) if scores else None
