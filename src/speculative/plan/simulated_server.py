"""Simulates one model server: a queue, a batch that writes, and a prefix cache."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from math import ceil

from speculative.plan.calls import PlannedCall
from speculative.plan.costs import step_costs
from speculative.plan.prefix_cache import PrefixCache
from speculative.plan.profile import ServerProfile

Schedule = Callable[[float, "SimulatedServer", int], None]
"""Asks the clock to call `end_run` at a time; a request with an old number is ignored."""

LONGEST_RUN = 512
"""Steps that are computed as one. Their context is that of their middle."""
SLACK = 1e-9


class SimulatedServer:
    """One server on the virtual clock.

    Steps without anything to read are alike until a sequence ends, so they are computed as one run. A call that arrives during a run
    cuts it at the end of the current step.
    """

    def __init__(self, name: str, profile: ServerProfile, schedule: Schedule) -> None:
        self.name, self.profile, self.costs = name, profile, step_costs(profile)
        self.neighbours: list[SimulatedServer] = []
        self.factor = 1.0
        """Its steps take this many times longer while a neighbour on the same GPU works."""
        self.busy = 0.0
        self.read_tokens = self.written_tokens = 0
        self._schedule = schedule
        self._front = 0.0
        self._waiting: deque[PlannedCall] = deque()
        self._running: list[tuple[int, int, PlannedCall]] = []
        self._context = 0
        self._steps = self._numbers = 0
        self._version = 0
        self._began: float = 0.0
        self._step: float = 0.0
        self._planned = 0
        self._between = False
        self._ended: list[PlannedCall] = []
        """Calls that ended with the last step."""
        self._going: list[PlannedCall] = []
        """Streams that go on with the next step."""
        self._reads: list[PlannedCall] | None = None
        """The calls whose prompt ends with the current step; None while it only writes."""
        self._chunk = 0
        self.cache = PrefixCache(profile.cache_tokens, profile.block)

    @property
    def working(self) -> bool:
        """True while a run of steps is under way."""
        return self._planned > 0

    @property
    def running(self) -> int:
        """Sequences that write."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """Calls that are not read yet."""
        return len(self._waiting)

    # ---- calls ------------------------------------------------------------------------------------------------------

    def accept(self, call: PlannedCall, now: float) -> float:
        """Takes a call at the front end. Returns the time when it reaches the queue."""
        cpu, beside = self.costs.call(call.prompt)
        self._front = max(now, self._front) + (0.0 if call.joined else cpu)
        return self._front + beside

    def arrive(self, call: PlannedCall, now: float) -> None:
        """Puts a call into the queue."""
        call.placed = now
        if before := self._find_ended(call):
            self._ended.remove(before)
            self.cache.pass_on(before, call)
            call.left, call.scheduled = 0, now  # its stream never stopped: it only writes
            self._going.append(call)
        else:
            self._waiting.append(call)
        if self._between:
            return
        if not self.working:
            self._begin(now)
            for other in self.neighbours:
                other.cut(now)
        elif self._reads is None:
            self.cut(now)

    def cancel(self, call: PlannedCall, now: float) -> None:
        """Takes a call out of the queue or the batch."""
        if call.done:
            return
        if call in self._waiting:
            self._waiting.remove(call)
            self.cache.end(call, call.prompt - max(call.left, 0))
        elif call in self._going:
            self._going.remove(call)
            self.cache.end(call, call.prompt)
        elif place := next((one for one in self._running if one[2] is call), None):
            if self._reads is None and self.working:
                self._advance(now)
            self._running.remove(place)
            heapify(self._running)
            call.written = call.tokens - (place[0] - self._steps)
            self._context -= call.prompt + call.written
            self.cache.end(call, call.prompt + call.written)
        elif self._reads and call in self._reads:
            self._reads.remove(call)
            self.cache.end(call, call.prompt)
        call.ended = now

    def _find_ended(self, call: PlannedCall) -> PlannedCall | None:
        """Returns the call of the last step whose stream a call goes on with."""
        if not call.goes_on:
            return None
        own = (one for one in self._ended if one.chain is call.chain and one.branch == call.branch)
        return next((one for one in own if one.prompt + one.tokens == call.prompt), None)

    # ---- steps ------------------------------------------------------------------------------------------------------

    def end_run(self, now: float, version: int) -> list[PlannedCall]:
        """Ends the current run of steps and returns finished calls.

        The next run begins with `go_on`, so that calls which go on at once are in it.
        """
        if version != self._version or not self._planned:
            return []
        done = self._planned
        self.busy += done * self._step
        self._planned = 0
        self._write(done)
        ended: list[PlannedCall] = []
        for call in self._reads or ():
            call.first, call.written = now, 1
            self.written_tokens += 1
            self._context += call.prompt + 1
            self._numbers += 1
            heappush(self._running, (self._steps + call.tokens - 1, self._numbers, call))
        self.read_tokens += self._chunk
        self._reads, self._chunk = None, 0
        while self._running and self._running[0][0] <= self._steps:
            _, _, call = heappop(self._running)
            call.written, call.ended, call.done = call.tokens, now, True
            self._context -= call.prompt + call.tokens
            ended.append(call)
        self._between = True
        self._ended = [*ended]
        return ended

    def go_on(self, now: float) -> None:
        """Begins the next run after `end_run`."""
        if not self._between:
            return
        self._between = False
        for call in self._ended:
            self.cache.end(call, call.prompt + call.tokens)
        self._ended = []
        self._begin(now)
        if not self.working:
            for other in self.neighbours:
                other.cut(now)

    def cut(self, now: float) -> None:
        """Ends the current run with the step that is under way, if it only writes."""
        if self.working and self._reads is None:
            done = max(1, min(self._planned, ceil((now - self._began) / self._step - SLACK)))
            if done < self._planned:
                self._planned = done
                self._plan_end()

    def _begin(self, now: float) -> None:
        """Plans the next run."""
        factor = self.factor if any(other.working for other in self.neighbours) else 1.0
        sequences = len(self._running)
        going, self._going = self._going, []
        writing = sequences + len(going)
        reads, new, pairs = self._admit(writing, now)
        self._began = now
        if going or new:
            self._reads, self._chunk, self._planned = [*going, *reads], new, 1
            context = self._context + sum(call.prompt for call in going)
            self._step = factor * self.costs.mixed(writing, context, new, pairs)
        elif sequences:
            self._reads, self._planned = None, min(LONGEST_RUN, self._running[0][0] - self._steps)
            middle = self._context + sequences * (self._planned - 1) / 2
            self._step = factor * self.costs.decode(sequences, middle)
        else:
            return
        self._plan_end()

    def _plan_end(self) -> None:
        self._version += 1
        self._schedule(self._began + self._planned * self._step, self, self._version)

    def _advance(self, now: float) -> None:
        """Counts the steps of the current run that are over, and cuts it."""
        done = min(self._planned - 1, int((now - self._began) / self._step + SLACK))
        if done > 0:
            self._write(done)
            self.busy += done * self._step
            self._planned -= done
            self._began += done * self._step
        self.cut(now)

    def _write(self, steps: int) -> None:
        sequences = len(self._running)
        self._steps += steps
        self._context += sequences * steps
        self.written_tokens += sequences * steps

    def _admit(self, sequences: int, now: float) -> tuple[list[PlannedCall], int, float]:
        """Chooses the prompts of the next step, first come, first served.

        Returns the calls whose prompt it ends, the new tokens, and the pairs of a new token with one before it.
        """
        room, new, pairs = self.profile.max_step_tokens - sequences, 0, 0.0
        reads: list[PlannedCall] = []
        while self._waiting and room > 0:
            call = self._waiting[0]
            if call.left < 0:
                if sequences + len(reads) >= self.profile.max_sequences or (cached := self.cache.begin(call)) is None:
                    break
                call.left, call.scheduled = call.prompt - cached, now
            take = min(call.left, room)
            pairs += take * (call.prompt - call.left + take / 2)
            call.left -= take
            room -= take
            new += take
            if call.left:
                break
            reads.append(self._waiting.popleft())
        return reads, new, pairs
