"""Whether an engine answers, asked seldom however many want to know."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from speculative.engines.base import Decoding, Engine, Tally
from speculative.errors import EngineError
from speculative.serve.logs import log

PATIENCE = 5.0
"""Seconds that an engine has to write a token."""
BELIEVED = 5.0
"""Seconds for which what was found is believed, good or bad."""


class Probe:
    """Of one engine. Why it does not answer may name its address, which is for the log alone."""

    def __init__(self, engine: Engine, scrub: Callable[[str], str]) -> None:
        self._engine, self._scrub = engine, scrub
        self._answers, self._told = False, True
        self._until = 0.0
        self._call: asyncio.Task[None] | None = None

    async def answers(self) -> bool:
        """Whether it wrote one token when it was last asked, which was a moment ago."""
        if time.monotonic() >= self._until:
            self._call = self._call or asyncio.create_task(self._ask())
            await asyncio.shield(self._call)  # others wait for it, too
        return self._answers

    async def aclose(self) -> None:
        """Ends a call under way; who waits for it is cancelled."""
        if call := self._call:
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)

    async def _ask(self) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                await self._engine.complete([self._engine.vocabulary.encode("1")], Decoding(1), key="ready", tally=Tally())
            reason = ""
        except TimeoutError:
            reason = f"no token within {PATIENCE:g} s"
        except EngineError as error:
            reason = self._scrub(str(error))
        finally:
            self._call = None
        self._answers, self._until = not reason, time.monotonic() + BELIEVED
        if self._answers != self._told:
            self._told = self._answers
            event, level = ("a model answers again", 20) if self._answers else ("a model does not answer", 30)
            log(event, level, engine=self._engine.name, told=reason or None)
