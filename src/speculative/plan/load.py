"""Estimates how many chains share a pair's servers, from our own and from theirs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from typing import Any
from weakref import WeakKeyDictionary

from speculative.engines.base import Engine
from speculative.errors import SpeculativeError
from speculative.plan.pace import Paces
from speculative.plan.policy import EXPECTED, LoadPolicy, Situation

STALE_S = 0.5
"""Seconds after which the servers are asked again."""
SLOW = 1.5
"""A judgement that takes this many times longer than predicted is a sign of chains that are not seen."""
HIDDEN = 8.0
"""The most by which unseen chains may multiply the load."""
NEWEST = 0.05
"""The weight of the newest chain in what is learned from those that ended."""
PRIOR_YES, PRIOR_ALL = 4.0, 5.0
"""The steps that were kept, and all that were judged, before the first one: a share of 0.8. Cascades that agreed are counted alike."""
FORGET_S = 30.0
"""Seconds without a slow judgement after which unseen chains are forgotten, in part."""


class LoadReader:
    """Counts our chains on a pair, and reads what its servers run and queue.

    Silent servers are judged by the time to the first token of our own judgements: longer than predicted for the chains that are
    seen means that there are more.
    """

    def __init__(self, engines: Mapping[str, Engine]) -> None:
        self.chains = self.calls = 0
        """Our chains on these engines, and their calls under way."""
        self.others = 0.0
        """Requests at the servers that are not ours."""
        self.load_known = False
        """True if a server has stated its load."""
        self.expected_length = float(EXPECTED)
        """Tokens of a chain, as recent ones had them."""
        self.paces = Paces()
        """The speeds of our chains, beside their predictions."""
        self._read = {id(engine): read for engine in engines.values() if (read := getattr(engine, "load", None))}
        self._agreed, self._asked = PRIOR_YES, PRIOR_ALL
        self._contexts: dict[int, int] = {}
        self._hidden, self._slow_at = 1.0, 0.0
        self._first_token = 0.0
        self._read_at = float("-inf")
        self._task: asyncio.Task[None] | None = None

    @property
    def load(self) -> float:
        """Chains at once, as far as they are seen or felt."""
        return max(1.0, (self.chains + self.others) * self._hidden)

    @property
    def context(self) -> int:
        """Tokens of the texts of our chains, in the mean."""
        return round(sum(self._contexts.values()) / len(self._contexts)) if self._contexts else 0

    @property
    def first_token_s(self) -> float:
        """Seconds to the first token of our judgements, the recent ones weighing most."""
        return self._first_token

    @property
    def agreement(self) -> float:
        """The share of agreement among cascades, the recent ones weighing most."""
        return self._agreed / self._asked

    @contextmanager
    def chain(self) -> Generator[int]:
        """Counts a chain of ours. Yields its number."""
        number = max(self._contexts, default=0) + 1
        self.chains += 1
        self._contexts[number] = 0
        try:
            yield number
        finally:
            self.chains -= 1
            del self._contexts[number]
            if not self.chains and self._task:
                self._task.cancel()
                self._task = None

    @contextmanager
    def call(self) -> Generator[None]:
        """Counts a call of ours that is under way."""
        self.calls += 1
        try:
            yield
        finally:
            self.calls -= 1

    def grow(self, chain: int, tokens: int) -> None:
        """Notes the length of a chain of ours, its prompt included."""
        self._contexts[chain] = tokens

    def note_length(self, tokens: int) -> None:
        """Learns from the length of a chain that has ended, its prompt left out."""
        self.expected_length = (1 - NEWEST) * self.expected_length + NEWEST * tokens

    def note_cascade(self, agreed: bool) -> None:
        """Learns whether small's answers agreed in a cascade."""
        self._agreed = (1 - NEWEST) * self._agreed + agreed
        self._asked = (1 - NEWEST) * self._asked + 1

    def feel(self, judge_s: float, policy: LoadPolicy, situation: Situation) -> None:
        """Learns from the seconds of a judgement, where no server states its load."""
        self._first_token = judge_s if not self._first_token else 0.7 * self._first_token + 0.3 * judge_s
        if self.load_known or not self._read or policy.lacks(situation):
            return
        now = time.monotonic()
        if self._first_token > SLOW * policy.judge_seconds(situation):
            self._hidden, self._slow_at = min(HIDDEN, 1.25 * self._hidden), now
        elif now - self._slow_at > FORGET_S:
            self._hidden, self._slow_at = max(1.0, self._hidden / 2), now

    def refresh(self) -> None:
        """Asks the servers in the background, unless that was done just now."""
        now = time.monotonic()
        if self._read and now - self._read_at > STALE_S and (self._task is None or self._task.done()):
            self._read_at = now
            self._task = asyncio.get_running_loop().create_task(self._ask())

    async def wait(self) -> None:
        """Waits for the first answer of the servers."""
        self.refresh()
        if self._task and not self.load_known:
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(self._task), STALE_S)

    async def _ask(self) -> None:
        calls = self.calls
        answers = await asyncio.gather(*(_quietly(read) for read in self._read.values()))
        loads = [load for load in answers if load is not None]
        self.load_known = bool(loads)
        if loads:
            self.others = max(0.0, sum(load.running + load.waiting for load in loads) - max(calls, self.calls))


async def _quietly(read: Any) -> Any:
    try:
        return await read()
    except (SpeculativeError, OSError):
        return None


_READERS: WeakKeyDictionary[Engine, LoadReader] = WeakKeyDictionary()


def load_reader(engines: Mapping[str, Engine]) -> LoadReader:
    """Returns the reader that all chains on one big model share."""
    big = engines["big"]
    if big not in _READERS:
        _READERS[big] = LoadReader(engines)
    return _READERS[big]
