"""Chooses how a chain goes on, from the load and a profile."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Sequence
from functools import cache
from math import exp, log
from statistics import median

from msgspec import Struct, structs

from speculative.plan.adaptive import Way, adaptive
from speculative.plan.calls import Program
from speculative.plan.clock import SimulatedChain, VirtualClock
from speculative.plan.forecast import Optimize
from speculative.plan.layout import find_layout
from speculative.plan.pace import Paces
from speculative.plan.profile import Profile, load_profile
from speculative.plan.programs import Drawn, cascade

LOADS = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
"""Chains at once for which the ways are simulated. Between them the values are interpolated."""
ACCEPTANCES = (0.2, 0.5, 0.65, 0.8, 0.95)
CONTEXTS = (256, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 12288, 16384, 32768)
"""Tokens of a chain's text so far. The nearest one is simulated."""
LENGTHS = (200, 400, 800, 1600)
"""Tokens that the chains of a batch still write. The nearest one is simulated."""
EXPECTED = 1000
"""Tokens of a chain before any has ended."""
STEPS = 16, 64
"""Steps of a simulated chain: the fewest, and the most where few chains run."""
SIMULATED = 2048
"""Steps of all chains together, between these bounds."""
ROOMY = 1 << 50
"""A cache without a bound. Caches that are too small are a rule of their own: their effect is too steep to be interpolated."""
AHEAD = 512
"""Tokens by which every chain grows before the next choice counts: the cache must have room for them."""
CASCADES = 4, 64
"""Rounds of cascades in a simulation, and the cascades of all rounds together, at least."""
MARGINS: dict[Optimize, float] = {"latency": 0.01, "throughput": 0.01, "batch": 0.05}
"""The gain for which a running chain changes its way. In a batch each change costs the slowest chain time."""


class LoadChoice(Struct, frozen=True):
    """A way to go on, and the reason for it in words."""

    way: Way
    reason: str


class Situation(Struct, frozen=True):
    """The conditions of a choice.

    Attributes:
        load: chains at once.
        acceptance: the share of steps that are kept.
        context: tokens of a text so far.
        left: tokens that a chain still writes, for a batch.
    """

    load: float
    acceptance: float = 0.8
    context: int = 512
    left: int = EXPECTED


class GridPoint(Struct, frozen=True):
    """The conditions of one simulation."""

    load: int
    acceptance: float
    context: int
    left: int = 0


class Value(Struct, frozen=True):
    """The predictions for one way: its speed, and the seconds of a judgement."""

    speed: float
    judge_s: float


class LoadPolicy:
    """Chooses a way for each load. Each prediction is simulated once.

    `throughput` compares the tokens a second of all chains together, `latency` those of the median chain. Both are rates of running
    chains, whose prompts have been read. `batch` compares the time to the end of the last of chains that go on together: the slowest one
    counts, and nothing follows chains that end.

    Args:
        profile: the costs of the servers.
        layout: the name of the layout of the servers.
        optimize: the measure that counts.
        judge: `ask` or `score`, the way in which big checks a step.
        step: tokens of a step.
        small: whether small may write without a check.
        samples: chains of small in a cascade.
    """

    def __init__(
        self,
        profile: Profile,
        *,
        layout: str = "c",
        optimize: Optimize = "latency",
        judge: str = "ask",
        step: int = 50,
        small: bool = False,
        samples: int = 3,
    ) -> None:
        self.profile = profile
        self.optimize: Optimize = optimize
        roomy = {role: structs.replace(profile.server(role), cache_tokens=ROOMY) for role in ("big", "small")}
        self._roomy = structs.replace(profile, **roomy)
        self._layout, self._judge, self._step = find_layout(layout), judge, step
        self.ways: tuple[Way, ...] = ("big", "checked", "checked ahead", *(("small",) if small else ()))
        self._samples = samples
        self._known: dict[GridPoint, dict[Way, Value]] = {}
        self._cascades: dict[GridPoint, float] = {}
        self._lock = threading.Lock()

    def must_wait(self, situation: Situation) -> bool:
        """Returns True if a choice would have to wait for simulations."""
        return self.held_chains(situation.context) >= situation.load and self.lacks(situation)

    def lacks(self, situation: Situation) -> bool:
        """Returns True if the predictions for a situation are not simulated yet."""
        return any(point not in self._known for point in self._points(situation))

    def prepare(self, situation: Situation) -> None:
        """Runs the simulations that a choice needs. It may take a second."""
        with self._lock:
            for point in self._points(situation):
                if point not in self._known:
                    self._known[point] = {way: self._simulate(way, point) for way in self.ways}

    def choose(self, situation: Situation, current: Way | None = None, paces: Paces | None = None) -> LoadChoice:
        """Chooses a way. A running chain changes its `current` one for a clear gain only.

        `paces` holds the measured speeds of the ways beside their predictions.
        """
        if (held := self.held_chains(situation.context)) < situation.load:
            return LoadChoice("big", f"big: the caches hold {held} chains of {situation.context} tokens, and {situation.load:.0f} run")
        if self.lacks(situation):
            self.prepare(situation)
        pace = {way: paces.of(way) if paces else 1.0 for way in self.ways}
        values = {way: self.speed(way, situation) * pace[way] for way in self.ways}
        best: Way = max(self.ways, key=lambda way: values[way])
        if current in values and values[best] < (1 + MARGINS[self.optimize]) * values[current]:
            best = current
        other = max((way for way in self.ways if way != best), key=lambda way: values[way])
        measure = {"throughput": "tokens/s of all", "batch": "tokens/s of the batch"}.get(self.optimize, "speed of a chain")
        gain = f"{values[best] / values[other]:.2f} times the {measure} with {other}"
        learned = "".join(f", {way} measured at {pace[way]:.2f} of that" for way in self.ways if pace[way] != 1.0)
        return LoadChoice(
            best,
            f"{best}: {gain}, predicted for {count_chains(situation.load)} at once with {situation.acceptance:.0%} of steps kept "
            f"(profile {self.profile.name}{learned})",
        )

    def choose_cascade(self, situation: Situation, agreement: float) -> LoadChoice | None:
        """Returns the choice of a cascade for a whole chain, if that is the fastest way.

        It may take a second. `agreement`: the share of chains of small whose answers agree. A cascade needs room in small's cache for
        all its samples.
        """
        if self.held_chains(situation.context) < situation.load:
            return None
        if self.held_chains(situation.context, "small") < situation.load * self._samples:
            return None
        self.prepare(situation)
        agreed = structs.replace(situation, acceptance=agreement)
        with self._lock:
            for point in self._points(agreed):
                if point not in self._cascades:
                    self._cascades[point] = self._simulate_cascade(point)
        points = self._points(agreed)
        speed = _interpolate([point.load for point in points], [self._cascades[point] for point in points], situation.load)
        best = self.choose(situation).way
        if speed <= (other := self.speed(best, situation)):
            return None
        gain = f"{speed / other:.2f} times as fast as {best}, predicted for {count_chains(situation.load)} at once"
        return LoadChoice("cascade", f"cascade: {gain} with {agreement:.0%} of small's answers in agreement (profile {self.profile.name})")

    def held_chains(self, context: int, role: str = "") -> int:
        """Returns the number of chains of a length whose texts the servers can keep.

        Checked steps of more chains would read whole texts anew. Without a role, both servers keep them.
        """
        held = [self._layout.fit(self.profile, role, gpu).cache_tokens for role, gpu in self._layout.servers]
        sums = {
            role: sum(size for size, (own, _) in zip(held, self._layout.servers, strict=True) if own == role) for role in self._layout.roles
        }
        return (sums[role] if role in sums else min(sums.values())) // (context + AHEAD)

    def speed(self, way: Way, situation: Situation) -> float:
        """Returns the predicted speed of a way, in tokens a second."""
        return self._between(way, situation, "speed")

    def chain_speed(self, way: Way, situation: Situation) -> float:
        """Returns the predicted speed of one of the chains, in tokens a second."""
        return self.speed(way, situation) / (1.0 if self.optimize == "latency" else max(1.0, situation.load))

    def judge_seconds(self, situation: Situation) -> float:
        """Returns the predicted seconds of a judgement while all chains check steps."""
        return self._between("checked", situation, "judge_s")

    def _between(self, way: Way, situation: Situation, field: str) -> float:
        points = self._points(situation)
        return _interpolate([point.load for point in points], [getattr(self._known[point][way], field) for point in points], situation.load)

    def _simulate(self, way: Way, point: GridPoint) -> Value:
        """Runs chains until their rates are those of running chains, and then measures."""
        if self.optimize == "batch":
            return self._simulate_batch(way, point)
        steps = max(STEPS[0], min(STEPS[1], SIMULATED // point.load))
        half, begin = steps * self._step * point.load // 2, max(self._step, point.context - 3 * steps * self._step // 4)
        drawn = Drawn(length=1 << 20, step=self._step, acceptance=point.acceptance, prompt=begin)
        program = adaptive(lambda _, __: way, judge=self._judge, warm=True)
        clock = VirtualClock(self._roomy, self._layout)
        chains = clock.run([program(drawn, seed) for seed in range(point.load)], warm=begin, enough=half)
        began, before, judged = clock.now, [chain.kept for chain in chains], _judging(chains)
        clock.run((), enough=2 * half)
        kept = [chain.kept - early for chain, early in zip(chains, before, strict=True)]
        total, seconds = sum(kept), clock.now - began
        speed = (total if self.optimize == "throughput" else max(median(kept), 0.5 * total / len(kept))) / seconds
        return Value(max(speed, 1e-6), (_judging(chains) - judged) * self._step / max(1, total))

    def _simulate_batch(self, way: Way, point: GridPoint) -> Value:
        """Runs chains of one length to the end of the last."""
        drawn = Drawn(length=point.left, step=self._step, acceptance=point.acceptance, prompt=point.context)
        program, clock = adaptive(lambda _, __: way, judge=self._judge, warm=True), VirtualClock(self._roomy, self._layout)
        chains = clock.run([program(drawn, seed) for seed in range(point.load)], warm=point.context)
        total = point.load * point.left
        return Value(total / clock.now, _judging(chains) * self._step / total)

    def _simulate_cascade(self, point: GridPoint) -> float:
        """Returns the speed of cascades that run together."""
        drawn = Drawn(length=point.left or EXPECTED, acceptance=point.acceptance, prompt=point.context, samples=self._samples)
        rounds = max(CASCADES[0], CASCADES[1] // point.load)
        return self._simulate_batches(drawn, point.load, rounds) if self.optimize == "batch" else self._follow(drawn, point.load, rounds)

    def _simulate_batches(self, drawn: Drawn, load: int, rounds: int) -> float:
        """Returns the mean speed of batches of cascades, each from begin to end.

        Whether small's answers agree is drawn once for each chain, so one batch would depend on chance.
        """
        seconds = 0.0
        for turn in range(rounds):
            clock = VirtualClock(self._roomy, self._layout)
            clock.run([cascade(drawn, turn * load + number) for number in range(load)], warm=drawn.prompt)
            seconds += clock.now
        return rounds * load * drawn.length / seconds

    def _follow(self, drawn: Drawn, load: int, rounds: int) -> float:
        """Returns the speed of running cascades, of which each is followed by another one."""
        clock, took = VirtualClock(self._roomy, self._layout), list[float]()

        def follow(number: int) -> Program:
            for turn in range(rounds):
                began = clock.now
                yield from cascade(drawn, number * rounds + turn)
                took.append(clock.now - began)
                yield "keep", drawn.length

        clock.run([follow(number) for number in range(load)], enough=max(1, 3 * rounds * load // 4) * drawn.length)
        return clock.kept / clock.now if self.optimize != "latency" else drawn.length / median(took)

    def _points(self, situation: Situation) -> list[GridPoint]:
        """Returns the simulations around a situation, one or two."""
        acceptance = min(ACCEPTANCES, key=lambda known: abs(known - situation.acceptance))
        context = min(CONTEXTS, key=lambda known: abs(log(known / max(1, situation.context))))
        left = min(LENGTHS, key=lambda known: abs(log(known / max(1, situation.left)))) if self.optimize == "batch" else 0
        place = bisect_left(LOADS, situation.load)
        loads = LOADS[max(0, place - 1) : place + 1] if place < len(LOADS) else LOADS[-1:]
        if loads[-1] == situation.load:
            loads = loads[-1:]
        return [GridPoint(load, acceptance, context, left) for load in loads]


def count_chains(load: float) -> str:
    """Returns a load in words."""
    return f"{load:.0f} chain{'s' * (round(load) != 1)}"


def _judging(chains: Sequence[SimulatedChain]) -> float:
    """Returns the seconds of all judgements so far."""
    return sum(seconds for chain in chains for key, seconds in chain.spent.items() if key[1] == "judge")


@cache
def shared_policy(profile: str, layout: str, optimize: Optimize, judge: str, step: int, small: bool, samples: int = 3) -> LoadPolicy:
    """Returns the policy of this process for these options. Raises `UsageError`."""
    return LoadPolicy(load_profile(profile), layout=layout, optimize=optimize, judge=judge, step=step, small=small, samples=samples)


def _interpolate(sizes: Sequence[int], values: Sequence[float], size: float) -> float:
    """Interpolates on logarithms of both, and keeps the nearest value outside."""
    if len(sizes) == 1 or size <= sizes[0]:
        return values[0]
    if size >= sizes[-1] or min(values) <= 0:
        return values[-1]
    part = log(size / sizes[0]) / log(sizes[1] / sizes[0])
    return exp(log(values[0]) * (1 - part) + log(values[1]) * part)
