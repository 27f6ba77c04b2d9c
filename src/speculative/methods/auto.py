"""Chooses by load between checked steps and the big model alone."""

from __future__ import annotations

import asyncio
import os
from typing import ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from speculative.chain.chain import Chain
from speculative.methods.ballots import MOST_CHAINS
from speculative.methods.base import Method
from speculative.methods.cascade import try_small
from speculative.methods.driving import LoadDriver
from speculative.methods.families import Family
from speculative.methods.step_check import StepCheck
from speculative.plan.forecast import Optimize
from speculative.plan.load import LoadReader, load_reader
from speculative.plan.policy import LoadPolicy, Situation, shared_policy
from speculative.plan.profile import shipped
from speculative.trace.events import Chose

FILE = "SPECULATIVE_PROFILE"
DEFAULT = "h200-32b-1.5b"
THRESHOLDS = {"ask": 7.0, "score": -0.1}
"""The scores that a step needs, as `step_verify` and `likelihood_verify` have them."""


class Auto(Method):
    """Chooses at every step, by load: small's steps checked by big, or big alone.

    It counts the chains at work (its own, and the requests that the servers run and queue) and takes the way that a profile of the
    hardware predicts to be the fastest there. While there is room it checks steps, as `step_verify` does (`check=ask`) or as
    `likelihood_verify` (`check=score`); where the caches cannot hold all chains, or big's batch is the better use, big writes alone until
    that changes. The trace and the reply hold each choice and its reason.

    Cost: that of the method it takes; a draft that a change of ways finds is thrown away. The texts depend on the load.
    Needs: `score` of big for `check=score`. The environment variable `SPECULATIVE_PROFILE` names your own profile (`speculative
    profile`); docs/planner.md tells how good the predictions are. Source: this project; the checks are of SpecReason (arXiv 2504.07891).
    """

    family: ClassVar[Family] = "checked steps"
    parallel: ClassVar[bool] = True
    chains_field: ClassVar[str | None] = "samples"

    optimize: Optimize = Field(
        default="latency", description="the median chain's speed, that of all chains together, or the time of a batch that begins at once"
    )
    check: Literal["ask", "score"] = Field(default="ask", description="how big checks a step: by a question, or by its log-probability")
    threshold: float | None = Field(
        default=None, description="score that a step needs to stay (7 of 9; with check=score a mean of -0.1 nats)"
    )
    allow: Literal["checked", "small", "cascade"] = Field(
        default="checked", description="whether small may also write without a check, or solve the problem first (`cascade`)"
    )
    samples: int = Field(default=3, ge=1, le=MOST_CHAINS, description="chains that small writes in a cascade")
    agree: float = Field(default=0.6, gt=0, le=1, description="share of equal answers that is enough in a cascade")
    profile: str = Field(default="", description=f"a shipped profile of the hardware; that of {FILE}, or {DEFAULT}, unless given")
    layout: Literal["c", "e", "e-mps", "f"] = Field(default="c", description="the layout of the servers, as `speculative plan` names them")
    step_tokens: int = Field(default=512, ge=1, description="tokens of a step at most")

    @field_validator("profile")
    @classmethod
    def _check_profile(cls, value: str) -> str:
        if value and value not in shipped():  # a request must not name files
            raise ValueError(f"it must be one of {', '.join(shipped())}; {FILE} in the environment names a file")
        return value

    @field_validator("threshold")
    @classmethod
    def _check_threshold(cls, value: float | None, info: ValidationInfo) -> float | None:
        least, most, allowed = (0, 9, "from 0 to 9") if info.data.get("check") == "ask" else (float("-inf"), 0, "at most 0")
        if value is not None and not least <= value <= most:
            raise ValueError(f"must be {allowed} with check={info.data.get('check')}, got {value:g}")
        return value

    @property
    def chains_at_once(self) -> int:
        return super().chains_at_once if self.allow == "cascade" else 1

    @property
    def takes_back(self) -> bool:
        return self.allow == "cascade"

    def required_abilities(self) -> dict[str, set[str]]:
        return {"big": {"score"}} if self.check == "score" else {}

    async def think(self, chain: Chain) -> None:
        policy, reader = self._policy(), load_reader(chain.engines)
        with reader.chain() as number:
            await reader.wait()
            await asyncio.sleep(0)  # chains that begin at once are counted before any of them chooses
            if self.allow == "cascade" and await self._cascade(chain, policy, reader):
                return
            await LoadDriver(chain, self._step_check(), policy, reader, number).run()

    def _step_check(self) -> StepCheck:
        return StepCheck(self.check, THRESHOLDS[self.check] if self.threshold is None else self.threshold, self.step_tokens)

    async def _cascade(self, chain: Chain, policy: LoadPolicy, reader: LoadReader) -> bool:
        """Has small solve the problem first where that is predicted to be the fastest.

        Returns True if its answers agreed, and the chain is one of them.
        """
        situation = Situation(reader.load, context=max(1, reader.context), left=round(reader.expected_length))
        choice = await asyncio.to_thread(policy.choose_cascade, situation, reader.agreement)
        if choice is None:
            return False
        chain.record(Chose(way=choice.way, reason=choice.reason))
        agreed = await try_small(chain, self.samples, self.agree)
        reader.note_cascade(agreed)
        return agreed

    def _policy(self) -> LoadPolicy:
        source = self.profile or os.environ.get(FILE) or DEFAULT
        return shared_policy(source, self.layout, self.optimize, self.check, 50, self.allow == "small", self.samples)
