"""Runs simulated chains on a virtual clock: a queue of events, the earliest first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import heappop, heappush

from speculative.errors import SpeculativeError
from speculative.plan.calls import PlannedCall, Program
from speculative.plan.layout import Layout
from speculative.plan.profile import Profile
from speculative.plan.simulated_server import SimulatedServer

PARTS = ("call", "queue", "read", "write")
"""The parts of a call's time: the front end, the queue, reading the prompt, writing."""


class SimulatedChain:
    """One chain: its program, and the times of its calls.

    `spent`: seconds by role, label and part of a call. `kept`: the tokens of its text, where its program tells them as they come.
    """

    __slots__ = ("began", "ended", "kept", "number", "program", "spent", "written")

    def __init__(self, number: int, program: Program) -> None:
        self.number, self.program = number, program
        self.began = self.ended = 0.0
        self.kept = 0
        self.written: dict[str, int] = {}
        self.spent: dict[tuple[str, str, str], float] = {}

    @property
    def seconds(self) -> float:
        return self.ended - self.began

    def count(self, call: PlannedCall) -> None:
        """Adds the times and the tokens of a call that is over."""
        self.written[call.role] = self.written.get(call.role, 0) + call.written
        if not call.done:
            return
        times = (call.began, call.placed, call.scheduled, call.first, call.ended)
        for part, began, ended in zip(PARTS, times[:-1], times[1:], strict=True):
            key = call.role, call.label, part
            self.spent[key] = self.spent.get(key, 0.0) + ended - began


class VirtualClock:
    """Runs chains on simulated servers. `now` is in seconds."""

    def __init__(self, profile: Profile, layout: Layout) -> None:
        self.now = 0.0
        self.events = 0
        self.live = 0
        """Chains that have begun and not ended."""
        self.kept = 0
        """Tokens that programs have kept."""
        self.servers: dict[str, list[SimulatedServer]] = {}
        self._queue: list[tuple[float, int, int, object, object]] = []
        self._number = 0
        for role, gpu in layout.servers:
            name = f"{role} {len(self.servers.get(role, ()))}"
            server = SimulatedServer(name, layout.fit(profile, role, gpu), self._plan)
            self.servers.setdefault(role, []).append(server)
            server.factor = layout.factor(profile, role, gpu)
        for gpu in range(layout.gpus):
            mates = [one for one, (_, other) in zip(self.all_servers(layout), layout.servers, strict=True) if other == gpu]
            for one in mates:
                one.neighbours = [other for other in mates if other is not one]

    def all_servers(self, layout: Layout) -> list[SimulatedServer]:
        """Returns the servers in the order of a layout."""
        numbers = dict.fromkeys(self.servers, 0)
        found: list[SimulatedServer] = []
        for role, _ in layout.servers:
            found.append(self.servers[role][numbers[role]])
            numbers[role] += 1
        return found

    def run(
        self, programs: Iterable[Program], arrivals: Sequence[float] | None = None, *, warm: int = 0, enough: int | None = None
    ) -> list[SimulatedChain]:
        """Runs all chains to their end.

        Raises `SpeculativeError` if some can never end.

        Args:
            programs: the program of each chain.
            arrivals: when each begins, in seconds.
            warm: tokens of each chain's prompt that all servers have read before.
            enough: stop when the chains together have kept this number of tokens.
        """
        chains = [SimulatedChain(number, program) for number, program in enumerate(programs)]
        for place, chain in enumerate(chains):
            self._push(arrivals[place] if arrivals else 0.0, 0, chain, None)
            for replicas in self.servers.values() if warm else ():
                replicas[place % len(replicas)].cache.remember(chain, warm)
        while self._queue and (enough is None or self.kept < enough):
            time, _, kind, one, other = heappop(self._queue)
            self.now = max(self.now, time)
            self.events += 1
            if kind == 2:
                assert isinstance(one, SimulatedServer)
                assert isinstance(other, int)
                for call in one.end_run(self.now, other):
                    self._finish(call)
                one.go_on(self.now)
            elif kind == 1:
                assert isinstance(one, SimulatedServer)
                assert isinstance(other, PlannedCall)
                if not other.cancelled:
                    one.arrive(other, self.now)
            else:
                assert isinstance(one, SimulatedChain)
                if other is None:
                    one.began = self.now
                    self.live += 1
                self._resume(one)
        if self.live and not self._queue:
            raise SpeculativeError(f"all chains of a simulation must end, got {self.live} that wait for ever; report this as a bug")
        return chains

    def _push(self, time: float, kind: int, one: object, other: object) -> None:
        self._number += 1
        heappush(self._queue, (time, self._number, kind, one, other))

    def _plan(self, time: float, server: SimulatedServer, version: int) -> None:
        self._push(time, 2, server, version)

    def _finish(self, call: PlannedCall) -> None:
        chain: SimulatedChain = call.chain
        chain.count(call)
        if call.waiter:
            call.waiter = None
            self._resume(chain)

    def _resume(self, chain: SimulatedChain) -> None:
        """Runs a chain's program up to its next wait."""
        while True:
            try:
                operation, what = next(chain.program)
            except StopIteration:
                chain.ended = self.now
                self.live -= 1
                return
            if operation in ("run", "start"):
                self._start(chain, what)
            if operation == "sleep":
                self._push(self.now + what, 0, chain, "woken")
                return
            if operation == "keep":
                chain.kept += what
                self.kept += what
            elif operation == "cancel":
                self._cancel(what)
            elif operation in ("run", "wait") and not what.done:
                what.waiter = chain
                return

    def _start(self, chain: SimulatedChain, call: PlannedCall) -> None:
        replicas = self.servers.get(call.role) or next(iter(self.servers.values()))
        call.chain, call.began = chain, self.now
        call.server = server = replicas[chain.number % len(replicas)]
        if call.goes_on:
            server.arrive(call, self.now)
        else:
            self._push(server.accept(call, self.now), 1, server, call)

    def _cancel(self, call: PlannedCall) -> None:
        if call.done or call.cancelled:
            return
        call.cancelled = True
        call.server.cancel(call, self.now)
        call.chain.count(call)
