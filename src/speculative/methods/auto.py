"""Chooses by load between checked steps and the big model alone."""

from __future__ import annotations

import asyncio
import os
import time
from typing import ClassVar, Literal

from pydantic import Field, field_validator

from speculative.chain.chain import Chain
from speculative.chain.drafts import Draft
from speculative.chain.steps import STEP
from speculative.methods.base import Method
from speculative.methods.judging import judge_step, likeliest
from speculative.methods.step_loop import verify_steps
from speculative.plan.adaptive import Way
from speculative.plan.load import LoadReader, load_reader
from speculative.plan.policy import LoadPolicy, Situation, shared_policy
from speculative.plan.profile import shipped
from speculative.trace.events import Chose, Judgement

FILE = "SPECULATIVE_PROFILE"
DEFAULT = "h200-32b-1.5b"
PRIOR = 4, 5
"""Kept and judged steps of a chain before its first: an acceptance of 0.8."""
CHARACTERS = 4
"""Characters of a token, about, for the length of a problem."""
CHUNK = 256
"""Tokens after which big stops for a new choice where its engine cannot stream."""


class Auto(Method):
    """Chooses at every step, by load: small's steps checked by big, or big alone.

    It counts the chains at work (its own, and the requests that the servers run and queue) and takes the way that a profile of the
    hardware predicts to be the fastest there. While there is room it checks steps, as `step_verify` does (`check=ask`) or as
    `likelihood_verify` (`check=score`); where the caches cannot hold all chains, or big's batch is the better use, big writes alone until
    that changes. The trace and the reply hold each choice and its reason.

    Cost: that of the method it takes; a draft that a change of ways finds is thrown away. The texts depend on the load.
    Needs: `score` of big for `check=score`. The environment variable `SPECULATIVE_PROFILE` names your own profile (`speculative
    profile`); docs/planner.md tells how good the predictions are.
    """

    parallel: ClassVar[bool] = True

    optimize: Literal["latency", "throughput"] = Field("latency", description="the median chain's speed, or that of all chains together")
    check: Literal["ask", "score"] = Field("ask", description="how big checks a step: by a question, or by its log-probability")
    threshold: float | None = Field(None, description="score that a step needs to stay (7 of 9; with check=score a mean of -0.1 nats)")
    allow: Literal["checked", "small"] = Field("checked", description="whether small may also write without a check")
    profile: str = Field("", description=f"a shipped profile of the hardware; that of {FILE}, or {DEFAULT}, unless given")
    layout: Literal["c", "e", "e-mps", "f"] = Field("c", description="the layout of the servers, as `speculative plan` names them")
    step_tokens: int = Field(512, ge=1, description="tokens of a step at most")

    @field_validator("profile")
    @classmethod
    def _check_profile(cls, value: str) -> str:
        if value and value not in shipped():  # a request must not name files
            raise ValueError(f"it must be one of {', '.join(shipped())}; {FILE} in the environment names a file")
        return value

    def needs_of(self) -> dict[str, set[str]]:
        return {"big": {"score"}} if self.check == "score" else {}

    async def think(self, chain: Chain) -> None:
        source = self.profile or os.environ.get(FILE) or DEFAULT
        policy = shared_policy(source, self.layout, self.optimize, self.check, 50, self.allow == "small")
        reader = load_reader(chain.engines)
        await reader.wait()
        with reader.chain() as number:
            await _Driver(self, chain, policy, reader, number).run()


class _Driver:
    """Writes the thinking of one chain, one way after another."""

    def __init__(self, method: Auto, chain: Chain, policy: LoadPolicy, reader: LoadReader, number: int) -> None:
        self._method, self._chain, self._policy, self._reader, self._number = method, chain, policy, reader, number
        self._prompt = sum(len(message.content) for message in chain.problem.messages) // CHARACTERS
        self._kept, self._judged = PRIOR
        self._way: Way | None = None
        self._simulating: asyncio.Task[None] | None = None

    async def run(self) -> None:
        try:
            while self._chain.thinking:
                if self._policy.lacks(self._situation()):
                    await asyncio.to_thread(self._policy.prepare, self._situation())
                way = self._choose()
                await (self._write(way) if way in ("big", "small") else self._check(way))
        finally:
            if self._simulating:
                await asyncio.gather(self._simulating, return_exceptions=True)

    async def _check(self, way: Way) -> None:
        """Checks steps of small until the choice changes."""
        ahead = "accept" if way == "checked ahead" else "off"
        tokens = self._method.step_tokens
        await verify_steps(self._chain, self._judge, pipeline=ahead, step_tokens=tokens, proceed=lambda: self._stays(way))

    async def _write(self, way: Literal["big", "small"]) -> None:
        """Has one model write until the choice changes, at the end of a step."""
        if "stream" not in self._chain.engines[way].abilities:
            with self._reader.call():
                await self._chain.write(way, max_tokens=CHUNK)
            return

        def ends(text: str) -> bool:
            return text.endswith(STEP) and not self._stays(way)

        with self._reader.call():
            await self._chain.write(way, until=ends)

    async def _judge(self, chain: Chain, step: Draft) -> Judgement | None:
        began, found = time.perf_counter(), None
        with self._reader.call():
            if self._method.check == "score":
                (scores,) = await chain.score("big", [step])
                floor = -0.1 if self._method.threshold is None else self._method.threshold
                found = Judgement(sum(scores) / len(scores), floor, "big") if scores else None
            else:
                marks = await judge_step(chain, "big", step)
                floor = 7.0 if self._method.threshold is None else self._method.threshold
                found = Judgement(likeliest(marks), floor, "big") if marks else None
        self._reader.feel(time.perf_counter() - began, self._policy, self._situation())
        self._judged += 1
        self._kept += found is not None and found.score >= floor
        return found

    def _situation(self) -> Situation:
        reader, chain = self._reader, self._chain
        reader.grow(self._number, self._prompt + chain.tokens)
        return Situation(reader.load, self._kept / self._judged, reader.context)

    def _choose(self) -> Way:
        choice = self._policy.choose(self._situation(), self._way)
        if choice.way != self._way:
            self._way = choice.way
            self._chain.record(Chose(way=choice.way, reason=choice.reason))
        return choice.way

    def _stays(self, way: Way) -> bool:
        """Returns True if the choice would be the same. It never waits."""
        self._reader.refresh()
        situation = self._situation()
        if self._policy.lacks(situation):
            if self._simulating is None or self._simulating.done():
                self._simulating = asyncio.get_running_loop().create_task(asyncio.to_thread(self._policy.prepare, situation))
            return True
        return self._policy.choose(situation, way).way == way
