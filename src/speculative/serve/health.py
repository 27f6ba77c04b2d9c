"""Readiness: asks each engine for a token, but seldom."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from speculative.engines.base import Engine
from speculative.engines.diagnostics import ping
from speculative.errors import EngineError
from speculative.serve.logs import log

PROBE_TIMEOUT_S = 5.0
"""Seconds that an engine has to write a token."""
PROBE_INTERVAL_S = 5.0
"""Seconds for which an answer holds, good or bad."""


class EngineProbe:
    """Asks one engine for a token.

    Errors go to the log alone, since they may name an address.
    """

    def __init__(self, engine: Engine, redact: Callable[[str], str]) -> None:
        self._engine, self._redact = engine, redact
        self._answers, self._expires = True, 0.0
        self._call: asyncio.Task[None] | None = None

    async def answers(self) -> bool:
        """Returns whether the engine wrote a token at the last probe."""
        if time.monotonic() >= self._expires:
            self._call = self._call or asyncio.create_task(self._probe())
            await asyncio.shield(self._call)  # other requests wait for it too
        return self._answers

    async def aclose(self) -> None:
        """Cancels a call under way."""
        if call := self._call:
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)

    async def _probe(self) -> None:
        reason = None
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                await ping(self._engine)
        except TimeoutError:
            reason = f"no token within {PROBE_TIMEOUT_S:g} s"
        except EngineError as error:
            reason = self._redact(str(error))
        finally:
            self._call = None
        before, self._answers, self._expires = self._answers, reason is None, time.monotonic() + PROBE_INTERVAL_S
        if self._answers != before:
            event, level = ("a model answers again", 20) if self._answers else ("a model does not answer", 30)
            log(event, level, engine=self._engine.name, reason=reason)
