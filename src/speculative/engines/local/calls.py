"""What passes between an event loop and the worker: calls, the appends they need, and the sequences that they decode."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

from speculative.engines.base import Completion, Decoding, Delta, Tally
from speculative.engines.local.model import Ints
from speculative.engines.local.stops import Stops
from speculative.errors import SpeculativeError


class Call:
    """One call of the engine. The event loop waits on `future`; the worker settles it, with one wake-up."""

    def __init__(self, tally: Tally) -> None:
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self.loop.create_future()
        self.gone: asyncio.Future[None] | None = None  # set when a cancelled call waits until its work has ended
        self.tally = tally
        self.settled = False

    def post(self, callback: Callable[..., None], *arguments: Any) -> None:
        """Run a callback in the call's event loop. A loop that has been closed waits for nothing any more."""
        try:
            self.loop.call_soon_threadsafe(callback, *arguments)
        except RuntimeError:
            self.settled = True

    def settle(self, result: Any = None, error: SpeculativeError | None = None) -> None:
        """End the call, once."""
        if not self.settled:
            self.settled = True
            self.post(self._resolve, result, error)

    def release(self) -> None:
        """Tell a cancelled call that nothing works for it any more."""
        gone = self.gone
        if gone is not None:
            self.post(lambda: None if gone.done() else gone.set_result(None))

    def _resolve(self, result: Any, error: SpeculativeError | None) -> None:
        if self.future.done():
            return
        if error is None:
            self.future.set_result(result)
        else:
            self.future.set_exception(error)


class Completing(Call):
    """A call of `complete`: `results` is filled in any order."""

    def __init__(self, tally: Tally, prefixes: list[Ints], decoding: Decoding, stops: Stops) -> None:
        super().__init__(tally)
        self.prefixes, self.decoding, self.stops = prefixes, decoding, stops
        self.results: list[list[Completion | None]] = [[None] * decoding.n for _ in prefixes]
        self._left = len(prefixes) * decoding.n
        self.streams = False
        self.jobs = deque(Append(self, ids, i, list(range(decoding.n))) for i, ids in enumerate(prefixes))

    def finish(self, i: int, j: int, completion: Completion, new: list[int]) -> None:
        """Completion j of prefix i is there; `new` are its ids that were not told yet."""
        self.results[i][j] = completion
        self._left -= 1
        if not self._left:
            self.settle(self.results)

    def tell(self, ids: list[int]) -> None:
        """New ids of a streaming call."""


class Streaming(Completing):
    """A call of `stream`: deltas queue up, and a consumer that is slow finds several at once."""

    def __init__(self, tally: Tally, prefix: Ints, decoding: Decoding, stops: Stops) -> None:
        super().__init__(tally, [prefix], decoding, stops)
        self.streams = True
        self.deltas: deque[Delta] = deque()
        self.ready = asyncio.Event()

    def tell(self, ids: list[int]) -> None:
        self._push(Delta(tuple(ids)))

    def finish(self, i: int, j: int, completion: Completion, new: list[int]) -> None:
        self._push(Delta(tuple(new), completion))
        super().finish(i, j, completion, new)

    def _push(self, delta: Delta) -> None:
        idle = not self.deltas
        self.deltas.append(delta)
        if idle:
            self.post(self.ready.set)

    def _resolve(self, result: Any, error: SpeculativeError | None) -> None:
        super()._resolve(result, error)
        self.ready.set()


class Scoring(Call):
    """A call of `score`."""

    def __init__(self, tally: Tally, prefixes: list[Ints], continuations: list[Ints]) -> None:
        super().__init__(tally)
        self.results: list[list[float]] = [[] for _ in prefixes]
        self._left = len(prefixes)
        pairs = zip(prefixes, continuations, strict=True)
        self.jobs = deque(Append(self, prefix, i, [], continuation) for i, (prefix, continuation) in enumerate(pairs))

    def finish_one(self) -> None:
        """One more continuation is scored."""
        self._left -= 1
        if not self._left:
            self.settle(self.results)


class Append:
    """Tokens that are being computed: a prefix for completions `todo`, or a prefix and what is scored after it."""

    def __init__(self, call: Completing | Scoring, prefix: Ints, index: int, todo: list[int], scored: Ints | None = None) -> None:
        self.call, self.index, self.todo, self.scored = call, index, todo, scored
        self.prefix = len(prefix)
        self.ids = prefix if scored is None else np.concatenate([prefix, scored])
        self.row = -1  # none yet
        self.start = 0  # tokens that the row holds
        self.shrinks = 0  # of the batch, when the row was found
        self.counted = False
        self.resumes: Sequence | None = None


class Sequence:
    """A completion that is being decoded in a row."""

    __slots__ = ("call", "i", "ids", "j", "key", "limit", "logprobs", "recorded", "told")

    def __init__(self, call: Completing, i: int, j: int, limit: int, key: int) -> None:
        self.call, self.i, self.j, self.limit, self.key = call, i, j, limit, key
        self.ids: list[int] = []
        self.logprobs: list[float] | None = [] if call.decoding.logprobs else None
        self.told = 0  # ids that were handed to a stream
        self.recorded = 0  # ids that the store knows to be in the row

    def again(self) -> Append:
        """The append that brings a suspended sequence back."""
        written = np.array(self.ids, np.int32)
        job = Append(self.call, np.concatenate([self.call.prefixes[self.i], written]), self.i, [])
        job.counted, job.resumes = True, self
        return job
