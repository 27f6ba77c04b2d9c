"""Calls to the worker, the appends that they need, and their sequences."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

from speculative.engines.base import CallStats, Completion, Decoding, Delta, Scores
from speculative.engines.local.model import Ints
from speculative.engines.local.sampler import all_logprobs
from speculative.engines.local.stops import Stops
from speculative.engines.local.token_values import TokenValues
from speculative.engines.local.weights import Array
from speculative.errors import SpeculativeError


class WorkerCall:
    """Represents one call. The event loop waits on `future`, the worker settles it."""

    def __init__(self, stats: CallStats) -> None:
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self.loop.create_future()
        self.gone: asyncio.Future[None] | None = None  # set when a cancelled call waits until its work has ended
        self.stats = stats
        self.settled = False

    def post(self, callback: Callable[..., None], *arguments: Any) -> None:
        """Runs a callback in the call's event loop, unless the loop is closed."""
        try:
            self.loop.call_soon_threadsafe(callback, *arguments)
        except RuntimeError:
            self.settled = True

    def settle(self, result: Any = None, error: SpeculativeError | None = None) -> None:
        """Ends the call with a result or an error. Later calls do nothing."""
        if not self.settled:
            self.settled = True
            self.post(self._resolve, result, error)

    def release(self) -> None:
        """Signals a cancelled call that its work has ended."""
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


class Completing(WorkerCall):
    """Represents a call of `complete`. `results` is filled in any order."""

    waits: bool = False  # for its reader: no token is written meanwhile

    def __init__(self, stats: CallStats, prefixes: list[Ints], decoding: Decoding, stops: Stops) -> None:
        super().__init__(stats)
        self.prefixes, self.decoding, self.stops = prefixes, decoding, stops
        self.results: list[list[Completion | None]] = [[None] * decoding.n for _ in prefixes]
        self._left = len(prefixes) * decoding.n
        self.streams = False
        self.jobs = deque(Append(self, ids, i, list(range(decoding.n))) for i, ids in enumerate(prefixes))

    def finish(self, i: int, j: int, completion: Completion, new: list[int]) -> None:
        """Stores completion j of prefix i. `new`: its ids that were not streamed."""
        self.results[i][j] = completion
        self._left -= 1
        if not self._left:
            self.settle(self.results)

    def emit(self, ids: list[int]) -> None:
        """Streams new ids; a call that does not stream ignores them."""


class Streaming(Completing):
    """Represents a call of `stream`. Deltas wait in a queue for the consumer."""

    def __init__(self, stats: CallStats, prefix: Ints, decoding: Decoding, stops: Stops) -> None:
        super().__init__(stats, [prefix], decoding, stops)
        self.streams = True
        self.deltas: deque[Delta] = deque()
        self.ready = asyncio.Event()

    def emit(self, ids: list[int]) -> None:
        self.waits = self.decoding.paced
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


class Scoring(WorkerCall):
    """Represents a call of `score`."""

    def __init__(self, stats: CallStats, prefixes: list[Ints], continuations: list[Ints], top: int = 0) -> None:
        super().__init__(stats)
        self.top = top
        self.results = [Scores(top=() if top else None) for _ in prefixes]
        self._left = len(prefixes)
        pairs = zip(prefixes, continuations, strict=True)
        self.jobs = deque(Append(self, prefix, i, [], continuation) for i, (prefix, continuation) in enumerate(pairs))

    def finish_one(self) -> None:
        """Counts one more scored continuation."""
        self._left -= 1
        if not self._left:
            self.settle(self.results)


class Append:
    """Represents tokens to compute: a prefix, and what is scored after it.

    `todo`: the completions that begin behind the prefix.
    """

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
    """Represents a completion that is being decoded in a row."""

    __slots__ = ("call", "choices", "drawn", "i", "ids", "j", "key", "limit", "recorded", "streamed", "values")

    def __init__(self, call: Completing, i: int, j: int, limit: int, key: int, drawn: int) -> None:
        self.call, self.i, self.j, self.limit, self.key = call, i, j, limit, key
        self.drawn = drawn  # random numbers of the stream that were drawn before
        self.ids: list[int] = []
        wants, top = call.decoding.logprobs, call.decoding.top_logprobs
        self.values = TokenValues(wants, top) if wants or top else None
        self.choices: tuple[float, ...] | None = None
        self.streamed = 0  # ids that were handed to a stream
        self.recorded = 0  # ids that the store knows to be in the row

    @property
    def waits(self) -> bool:
        """True until the last token of a paced stream is taken.

        A closed event loop takes none.
        """
        return self.call.waits and not self.call.loop.is_closed()

    @property
    def inspects(self) -> bool:
        """True if the log-probabilities or the choices of the next place are wanted."""
        return self.values is not None or (bool(self.call.decoding.choices) and not self.ids)

    def inspect(self, logits: Array) -> None:
        """Notes what is wanted of the logits [V] that the next token is drawn from."""
        if self.values is not None:
            self.values.add(logits, self.ids)
        if self.call.decoding.choices and not self.ids:
            self.choices = tuple(all_logprobs(logits)[list(self.call.decoding.choices)].tolist())

    def to_append(self) -> Append:
        """Returns the append that computes a suspended sequence again."""
        written = np.array(self.ids, np.int32)
        job = Append(self.call, np.concatenate([self.call.prefixes[self.i], written]), self.i, [])
        job.counted, job.resumes = True, self
        return job
