"""Writes the thinking of one chain in ways that change with the load."""

from __future__ import annotations

import asyncio
import time
from typing import Literal

from speculative.chain.chain import Chain
from speculative.chain.drafts import Draft
from speculative.chain.steps import STEP
from speculative.methods.step_check import StepCheck
from speculative.methods.step_loop import passes, verify_steps
from speculative.plan.adaptive import Way
from speculative.plan.load import PRIOR_ALL, PRIOR_YES, LoadReader
from speculative.plan.policy import LoadPolicy, Situation
from speculative.trace.events import Chose, Judgement

CHARACTERS = 4
"""Characters of a token, about, for the length of a problem."""
LEAST_LEFT = 100
"""Tokens that a chain still writes at least, however long it is."""
CHUNK = 256
"""Tokens after which a new choice is made where a text has no end of a step, or an engine cannot stream."""


class LoadDriver:
    """Writes the thinking of one chain, one way after another."""

    def __init__(self, chain: Chain, check: StepCheck, policy: LoadPolicy, reader: LoadReader, number: int) -> None:
        self._chain, self._step, self._policy, self._reader, self._number = chain, check, policy, reader, number
        self._prompt = sum(len(message.content) for message in chain.problem.messages) // CHARACTERS
        self._kept, self._judged = PRIOR_YES, PRIOR_ALL
        self._way: Way | None = None
        self._simulating: asyncio.Task[None] | None = None
        self._noted, self._noted_at = chain.tokens, time.perf_counter()

    async def run(self) -> None:
        try:
            while self._chain.thinking:
                if self._policy.must_wait(self._situation()):
                    await asyncio.to_thread(self._policy.prepare, self._situation())
                way = self._choose()
                self._noted, self._noted_at = self._chain.tokens, time.perf_counter()
                await (self._check(way) if way in ("checked", "checked ahead") else self._write("small" if way == "small" else "big"))
                self._note_pace(way)
            self._reader.note_length(self._chain.tokens)
        finally:
            if self._simulating:
                await asyncio.gather(self._simulating, return_exceptions=True)

    async def _check(self, way: Way) -> None:
        """Checks steps of small until the choice changes."""
        ahead = "accept" if way == "checked ahead" else "off"
        tokens = self._step.step_tokens
        await verify_steps(self._chain, self._judge, pipeline=ahead, step_tokens=tokens, proceed=lambda: self._stays(way))

    async def _write(self, way: Literal["big", "small"]) -> None:
        """Has one model write until the choice changes, at the end of a step."""
        looked = 0

        def ends(text: str) -> bool:
            nonlocal looked
            long = len(text) - looked > CHARACTERS * CHUNK and text[-1:].isspace()  # a text may have no blank line for long
            if not (long or text.endswith(STEP)):
                return False
            looked = len(text)
            return not self._stays(way)

        streams = "stream" in self._chain.abilities(way)
        with self._reader.call():
            await (self._chain.write(way, until=ends) if streams else self._chain.write(way, max_tokens=CHUNK))

    async def _judge(self, chain: Chain, step: Draft) -> Judgement | None:
        began = time.perf_counter()
        with self._reader.call():
            found = await self._step.judge(chain, step)
        self._reader.feel(time.perf_counter() - began, self._policy, self._situation())
        self._judged += 1
        self._kept += passes(found)
        return found

    def _situation(self) -> Situation:
        reader, chain = self._reader, self._chain
        reader.grow(self._number, self._prompt + chain.tokens)
        left = max(LEAST_LEFT, round(reader.expected_length) - chain.tokens)
        return Situation(reader.load, self._kept / self._judged, reader.context, left)

    def _note_pace(self, way: Way) -> None:
        """Learns from the tokens since the last look."""
        tokens, now, situation = self._chain.tokens, time.perf_counter(), self._situation()
        if tokens > self._noted and not self._policy.lacks(situation):
            predicted = self._policy.chain_speed(way, situation)
            self._reader.paces.note(way, tokens - self._noted, now - self._noted_at, predicted)
            self._noted, self._noted_at = tokens, now

    def _choose(self) -> Way:
        choice = self._policy.choose(self._situation(), self._way, self._reader.paces)
        if choice.way != self._way:
            self._way = choice.way
            self._chain.record(Chose(way=choice.way, reason=choice.reason))
        return choice.way

    def _stays(self, way: Way) -> bool:
        """Returns True if the choice would be the same. It never waits."""
        self._reader.refresh()
        self._note_pace(way)
        situation = self._situation()
        if self._policy.must_wait(situation):
            if self._simulating is None or self._simulating.done():
                self._simulating = asyncio.get_running_loop().create_task(asyncio.to_thread(self._policy.prepare, situation))
            return True
        return self._policy.choose(situation, way, self._reader.paces).way == way
