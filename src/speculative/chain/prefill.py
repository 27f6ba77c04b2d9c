"""Prefills in the background.

The idle model computes the chain so far, so that a hand-over finds its prefix cached.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from speculative._sync import end_all
from speculative.chain.budget import Budget
from speculative.chain.calls import EngineCall, EngineCalls
from speculative.chain.contexts import RoleContexts
from speculative.chain.failover import Failover
from speculative.engines.base import PREFILL_SEED, Decoding, Ids, prefill_tokens
from speculative.errors import EngineError
from speculative.trace.events import AnyEvent, Prefilled


class BackgroundPrefill:
    """Prefills the idle role, with one call for a role at a time.

    It counts the chain's tokens that each role has seen.
    """

    def __init__(
        self,
        every: int,
        contexts: RoleContexts,
        calls: EngineCalls,
        failover: Failover,
        budget: Budget,
        record: Callable[[AnyEvent], None],
    ) -> None:
        self._every = every
        self._contexts, self._calls, self._failover, self._budget, self._record = contexts, calls, failover, budget, record
        self._seen: dict[str, int] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def saw(self, role: str, tokens: int) -> None:
        """Counts tokens of the chain that a role was given, or wrote."""
        self._seen[role] = max(tokens, self._seen.get(role, 0))

    def forget(self, tokens: int) -> None:
        """Counts text that was taken back: `tokens` are left."""
        self._seen = {role: min(seen, tokens) for role, seen in self._seen.items()}

    def wants(self, writer: str) -> bool:
        """Returns whether another model is prefilled while this one writes."""
        return bool(self._every) and self._failover.idle_role(writer) is not None

    def watches(self, max_tokens: int) -> bool:
        """Returns whether a call of `max_tokens` can need a prefill before its end."""
        return max_tokens > self._every

    def update(self, writer: str, fresh: Ids = ()) -> None:
        """Starts a prefill of the idle model if it is due.

        `fresh`: the ids that the writer has written in the call under way.
        """
        role, tokens = self._failover.idle_role(writer), self._contexts.ledger.kept + len(fresh)
        if role is None or not self._due(role, tokens):
            return
        context = self._contexts.of(role)
        if fresh and writer not in context.same:
            text = self._contexts.of(writer).tokenizer.to_bytes(fresh).decode("utf-8", "replace")
            prefix = context.extended(self._contexts.ledger.entries, text)
        else:
            prefix = [*self._contexts.prefix(role), *fresh]
        if len(prefix) < context.engine.context and (most := self._budget.take_prefill(prefill_tokens(context.engine))):
            self._start(role, tokens, self._prefill(role, prefix, most))

    async def close(self) -> None:
        """Cancels the running prefills and waits until their cost is recorded.

        Later ones do not start.
        """
        self._every = 0
        await end_all(list(self._tasks.values()))

    def _due(self, role: str, tokens: int) -> bool:
        return bool(self._every) and tokens - self._seen.get(role, 0) >= self._every and role not in self._tasks

    def _start(self, role: str, tokens: int, work: Coroutine[Any, Any, None]) -> None:
        self.saw(role, tokens)
        self._tasks[role] = task = asyncio.create_task(work)
        task.add_done_callback(lambda _: self._tasks.pop(role))

    async def _prefill(self, role: str, prefix: Ids, most: int) -> None:
        """Writes one token, which is thrown away.

        The models of a tower write one each, at most `most`.

        A failure is recorded with the call and does not concern the chain.
        """
        context = self._contexts.of(role)
        decoding = Decoding(1, seed=PREFILL_SEED, stop_ids=context.stop_ids, max_produced=most, purpose="prefill")
        with suppress(EngineError):
            with EngineCall(self._calls, "prefill", role, context.engine, [prefix], decoding) as engine_call:
                (completion,), call = await engine_call.run()
            self._record(Prefilled(call=call, seed=PREFILL_SEED, completion=completion))
