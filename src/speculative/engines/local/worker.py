"""The thread that runs one model for all calls."""

from __future__ import annotations

import os
import threading
from collections import deque
from queue import SimpleQueue

import numpy as np

from speculative.engines.base import Completion, Scores
from speculative.engines.local.batch import Batch
from speculative.engines.local.cache import Store
from speculative.engines.local.calls import Append, Completing, Scoring, Sequence, WorkerCall
from speculative.engines.local.model import PIECE, Ints, Model
from speculative.engines.local.sampler import logprobs, stream_key, top_logprobs
from speculative.engines.local.weights import Array
from speculative.errors import EngineClosedError, EngineError, SpeculativeError


class Worker:
    """Takes turns: an append of at most PIECE tokens, then a step of the batch."""

    def __init__(self, name: str, model: Model, budget: int) -> None:
        self.name = name
        self.model = model
        self.store = Store(model, budget)
        self.batch = Batch(model, self.store)
        self._jobs: deque[Append] = deque()
        self._full: tuple[Append, int] | None = None  # an append that found no row, and the store's `park_count` then
        self._inbox: SimpleQueue[tuple[Completing | Scoring, bool] | None] = SimpleQueue()  # None: look again whether to close or go on
        self._lock = threading.Lock()
        self._closing = False
        self._process = os.getpid()
        self._thread = threading.Thread(target=self._run, name=f"speculative-{name}", daemon=True)
        self._thread.start()

    def put(self, call: Completing | Scoring) -> None:
        """Starts a call. Raises `EngineClosedError`."""
        self._post(call, True)

    def cancel(self, call: Completing | Scoring) -> None:
        """Ends a call's work within one turn, and resolves its `gone`.

        Raises `EngineClosedError`.
        """
        self._post(call, False)

    def go_on(self, call: Completing) -> None:
        """Lets the next token of a paced stream be written."""
        call.waits = False
        self._inbox.put(None)

    def _post(self, call: Completing | Scoring, begins: bool) -> None:
        if self._process != os.getpid():
            raise EngineClosedError(f"{self.name}: the engine cannot run in a forked process; open it there, or start processes with spawn")
        with self._lock:
            if self._closing:
                raise EngineClosedError(f"{self.name}: the engine is closed; open it again")
            self._inbox.put((call, begins))

    def close(self) -> None:
        """Fails open calls and ends the thread; returns when it has ended.

        A forked process has no such thread, and the parent goes on with its own.
        """
        if self._process != os.getpid():
            return
        with self._lock:
            self._closing = True
        self._inbox.put(None)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        with np.errstate(all="ignore"):  # rows between members may hold anything
            while not self._closing:
                idle = not self._may_advance and not self.batch.may_step
                while idle or not self._inbox.empty():
                    self._take(self._inbox.get())
                    idle = False
                if self._jobs:
                    self._advance(self._jobs[0])
                if self.batch.may_step:
                    self._decode()
                self._jobs.extend(sequence.to_append() for sequence in self.batch.take_resumable())
        while not self._inbox.empty():
            self._take(self._inbox.get())
        calls = {job.call for job in self._jobs} | {sequence.call for sequence in self.batch.sequences}
        for call in calls:
            call.settle(error=EngineClosedError(f"{self.name}: the engine was closed while it worked; open it again"))
            call.release()

    def _take(self, message: tuple[Completing | Scoring, bool] | None) -> None:
        if message is None:
            return
        call, begins = message
        if begins:
            self._jobs.extend(call.jobs)
        else:
            self._abandon(call)
            call.release()

    def _abandon(self, call: WorkerCall) -> None:
        """Removes a call's work. The tokens of its rows stay in the cache."""
        call.settled = True
        self.batch.abandon(call)
        for job in [job for job in self._jobs if job.call is call]:
            self._jobs.remove(job)
            if self._has_row(job):
                self.store.park(job.row)

    def _fail(self, call: WorkerCall, error: Exception) -> None:
        known = error if isinstance(error, SpeculativeError) else EngineError(f"{self.name}: {type(error).__name__}: {error}")
        if known is not error:
            known.__cause__ = error
        call.settle(error=known)
        self._abandon(call)

    def _decode(self) -> None:
        """Runs steps until a call or an append is waiting."""
        batch, inbox, jobs = self.batch, self._inbox, self._jobs
        try:
            batch.step()
            while batch.may_step and inbox.empty() and not jobs and not batch.suspended and not self._closing:
                batch.step()
        except Exception as error:  # noqa: BLE001  # every call concerned must fail, and the thread must live
            for call in {sequence.call for sequence in batch.members.values()}:
                self._fail(call, error)
            batch.recover()

    @property
    def _may_advance(self) -> bool:
        """True if there is an append, and a row may be free for it."""
        return bool(self._jobs) and (self._full != (self._jobs[0], self.store.park_count) or self.batch.has_waiting)

    def _has_row(self, job: Append) -> bool:
        """Returns whether an append still has its row, which a resize may take."""
        return job.row >= 0 and job.shrinks == self.batch.shrinks

    def _advance(self, job: Append) -> None:
        """Computes the next part of an append, and starts its decoding at the end."""
        try:
            if not self._has_row(job) and not self._begin(job):
                return
            piece = job.ids[job.start : job.start + PIECE]
            self.batch.make_room(job.start + len(piece) + 2)
            if not self._has_row(job):
                return
            logits = self.model.append(self.store.kv, job.row, job.start, piece)
            self.store.write(job.row, piece)
            if job.scored is not None:
                self._score(job, job.scored, logits)
            job.start += len(piece)
            if job.start == len(job.ids):
                self._jobs.popleft()
                self._complete(job, logits[-1])
        except Exception as error:  # noqa: BLE001  # this call only
            if self._has_row(job):
                self.store.drop(job.row)
                job.row = -1
            self._fail(job.call, error)

    def _begin(self, job: Append) -> bool:
        """Finds a row with the longest cached prefix.

        The last token is computed again, for its logits.
        """
        if self._full == (job, self.store.park_count) and not self.batch.has_waiting:
            return False
        found = self.store.claim(job.ids, job.prefix - 1)
        if found is None and self.batch.has_waiting:
            self.batch.suspend_waiting()
            found = self.store.claim(job.ids, job.prefix - 1)
        if found is None:
            self._full = (job, self.store.park_count)
            return False
        job.row, job.start = found
        job.shrinks = self.batch.shrinks
        if not job.counted:
            job.counted = True
            job.call.stats.prompt_tokens += job.prefix
            job.call.stats.cached_tokens += job.start
            job.call.stats.scored_tokens += len(job.ids) - job.prefix
        elif isinstance(job.call, Scoring):
            job.call.results[job.index] = Scores(top=() if job.call.top else None)
        return True

    def _score(self, job: Append, scored: Ints, logits: Array) -> None:
        """Adds the scores that these logits, from `job.start` on, give."""
        assert isinstance(job.call, Scoring)
        skip = max(job.prefix - 1 - job.start, 0)
        first = job.start + skip - job.prefix + 1
        wanted = scored[first : first + max(len(logits) - skip, 0)].astype(np.int64)
        if len(wanted):
            result, rows = job.call.results[job.index], logits[skip : skip + len(wanted)]
            result += logprobs(rows, wanted).tolist()
            if result.top is not None:
                result.top += tuple(top_logprobs(rows, job.call.top))

    def _complete(self, job: Append, logits: Array) -> None:
        """Starts the decoding of a computed prefix, or ends its call."""
        call, row = job.call, job.row
        job.row = -1
        if job.resumes is not None:
            self.batch.join(row, job.resumes, logits)
        elif isinstance(call, Scoring):
            self.store.park(row)
            call.finish_one()
        elif not call.decoding.max_tokens:
            self.store.park(row)
            for j in job.todo:
                call.finish(job.index, j, Completion((), "length", None, () if call.decoding.logprobs else None), [])
        else:
            self._branch(call, job, row, logits)

    def _branch(self, call: Completing, job: Append, row: int, logits: Array) -> None:
        decoding, length, todo = call.decoding, len(job.ids), deque(job.todo)
        limit = min(decoding.max_tokens, self.model.positions - length)
        target: int | None = row
        while todo and target is not None:
            self.store.copy(row, target, length)
            j = todo.popleft()
            seed, i, k, drawn = decoding.resumes or (decoding.seed, job.index, j, 0)
            sequence = Sequence(call, job.index, j, limit, stream_key(seed, i, k), drawn)
            if len(call.prefixes) * decoding.n == 1:
                call.stats.written = sequence.ids
            self.batch.join(target, sequence, logits)
            target = self.store.take(length + 2) if todo else None
        if todo:  # no more rows now: the others begin when one is free, and find the prefix computed
            later = Append(call, job.ids, job.index, list(todo))
            later.counted = True
            self._jobs.append(later)
