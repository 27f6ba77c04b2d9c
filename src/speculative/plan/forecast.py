"""Forecasts methods at several loads: latency, tokens a second, GPU time, money."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from math import ceil
from multiprocessing import get_context
from random import Random
from statistics import median, quantiles
from typing import Literal

from msgspec import Struct, structs

from speculative.errors import UsageError
from speculative.plan.calls import Program
from speculative.plan.clock import SimulatedChain, VirtualClock
from speculative.plan.layout import find_layout
from speculative.plan.profile import Profile
from speculative.plan.programs import Drawn, find_program
from speculative.plan.recorded import RecordedChain

Optimize = Literal["latency", "throughput", "batch"]
"""The measure of a policy: the median chain's speed, that of all chains together, or that up to the end of the last of them."""


MAX_CHAINS = 100_000
"""Chains at once, at most."""
DRAWS = 64
"""Draws of a forecast at most: chains whose decisions are drawn differ, and one draw of few of them would be luck."""
DRAWN_CHAINS = 256
"""Chains of all draws together, unless one draw has more."""
DRAWN_EVENTS = 10_000
"""Events of the clock after which nothing is drawn again: long chains have many decisions each."""


class Forecast(Struct, frozen=True):
    """The prediction for one method at one load.

    Attributes:
        method: the method.
        layout: the name of the layout.
        chains: chains that begin at once.
        draws: simulations behind the figures, each with other decisions or other recorded chains.
        latency_s: seconds of a chain, the median.
        fast_s: seconds that 5 of 100 chains stay below.
        slow_s: seconds that 95 of 100 chains stay below.
        tokens_s: tokens of all texts, over the time to the end of the last.
        wall_s: seconds to the end of the last chain, the mean of the draws.
        gpu_s: seconds of all GPUs of the layout, for a chain.
        money: the price of those, if an hour has a price.
        against_big: tokens a second over those of big alone on as many GPUs.
        busy: the share of the time in which each server works.
        spent: the shares of the calls' time by role, purpose and part.
    """

    method: str
    layout: str
    chains: int
    draws: int
    latency_s: float
    fast_s: float
    slow_s: float
    tokens_s: float
    wall_s: float
    gpu_s: float
    money: float | None
    against_big: float | None
    busy: dict[str, float]
    spent: dict[str, float]


class Scenario(Struct, frozen=True):
    """Describes one simulation: a method, a layout and a load.

    Recorded chains go before drawn ones.
    """

    method: str
    layout: str
    chains: int
    drawn: Drawn
    recorded: tuple[RecordedChain, ...] = ()

    @property
    def draws(self) -> int:
        """Draws at most. Each recorded chain is in one of them."""
        if self.recorded:
            return ceil(len(self.recorded) / self.chains)
        return min(DRAWS, ceil(DRAWN_CHAINS / self.chains))

    def programs(self, draw: int = 0) -> list[tuple[Program, int]]:
        """Returns a program for each chain of a draw, and the tokens of its text.

        Recorded chains are drawn with repetition if more are wanted.
        """
        places = range(draw * self.chains, (draw + 1) * self.chains)
        if self.recorded:
            random, own = Random(draw), self.recorded
            chosen = [own[place] if place < len(own) else random.choice(own) for place in places]
            return [(chain.program(), chain.kept) for chain in chosen]
        make = find_program(self.method)
        return [(make(self.drawn, seed), self.drawn.length) for seed in places]


def forecast(profile: Profile, scenario: Scenario, hour: float | None = None) -> Forecast:
    """Simulates one method at one load.

    Raises `UsageError` for a text that no cache holds.
    """
    check_room(profile, scenario)
    layout, tokens, events, wall, draws = find_layout(scenario.layout), 0, 0, 0.0, 0
    chains: list[SimulatedChain] = []
    busy: dict[str, float] = {}
    while draws < scenario.draws and (scenario.recorded or events < DRAWN_EVENTS):
        clock, programs = VirtualClock(profile, layout), scenario.programs(draws)
        chains += clock.run(program for program, _ in programs)
        tokens, events, wall, draws = tokens + sum(size for _, size in programs), events + clock.events, wall + clock.now, draws + 1
        for server in clock.all_servers(layout):
            busy[server.name] = busy.get(server.name, 0.0) + server.busy
    seconds, gpu = [chain.seconds for chain in chains], layout.gpus * wall / len(chains)
    parts = quantiles(seconds, n=20, method="inclusive") if len(seconds) > 1 else seconds
    return Forecast(
        method=scenario.method,
        layout=scenario.layout,
        chains=scenario.chains,
        draws=draws,
        latency_s=median(seconds),
        fast_s=parts[0],
        slow_s=parts[-1],
        tokens_s=tokens / wall,
        wall_s=wall / draws,
        gpu_s=gpu,
        money=None if hour is None else gpu / 3600 * hour,
        against_big=None,
        busy={name: time / wall for name, time in busy.items()},
        spent=shares(chains),
    )


def check_room(profile: Profile, scenario: Scenario) -> None:
    """Raises `UsageError` if a server's cache cannot hold one text of a scenario."""
    layout = find_layout(scenario.layout)
    room = {role: layout.fit(profile, role, gpu).cache_tokens for role, gpu in layout.servers}
    for program in [chain.program() for chain in scenario.recorded] or [find_program(scenario.method)(scenario.drawn, 0)]:
        for operation, call in program:
            if operation not in ("run", "start"):
                continue
            role = call.role if call.role in room else layout.servers[0][0]
            if call.prompt + call.tokens > room[role]:
                raise UsageError(
                    f"a text of {call.prompt + call.tokens} tokens must fit into the cache of {role}, got {room[role]} tokens "
                    f"(layout {scenario.layout}); take shorter chains, or correct cache_tokens of the profile"
                )


def shares(chains: Sequence[SimulatedChain]) -> dict[str, float]:
    """Returns the shares of the calls' time, the largest first."""
    spent: dict[str, float] = {}
    for chain in chains:
        for (role, label, part), seconds in chain.spent.items():
            name = f"{role} {label}: {part}"
            spent[name] = spent.get(name, 0.0) + seconds
    total = sum(spent.values()) or 1.0
    return {name: seconds / total for name, seconds in sorted(spent.items(), key=lambda one: -one[1])}


def baseline(layout: str) -> str:
    """Returns the layout of big alone on as many GPUs."""
    gpus = find_layout(layout).gpus
    return "d" if gpus == 1 else "a" + "+big" * (gpus - 2)


def forecasts(
    profile: Profile,
    scenarios: Sequence[Scenario],
    *,
    hour: float | None = None,
    processes: int = 1,
    tell: Callable[[], None] | None = None,
) -> list[Forecast]:
    """Simulates scenarios, each held against big alone on as many GPUs.

    `processes`: simulations at once. `tell` is called after each.
    """
    wanted = [*scenarios]
    for scenario in scenarios:
        base = Scenario("big_only", baseline(scenario.layout), scenario.chains, _as_long(scenario))
        if base not in wanted:
            wanted.append(base)
    if processes > 1 and len(wanted) > 1:
        with ProcessPoolExecutor(min(processes, len(wanted)), mp_context=get_context("spawn")) as pool:
            waiting = [pool.submit(forecast, profile, scenario, hour) for scenario in wanted]
            found = [_awaited(one.result, tell) for one in waiting]
    else:
        found = [_awaited(lambda scenario=scenario: forecast(profile, scenario, hour), tell) for scenario in wanted]
    known = dict(zip(wanted, found, strict=True))
    answers: list[Forecast] = []
    for scenario in scenarios:
        base = known[Scenario("big_only", baseline(scenario.layout), scenario.chains, _as_long(scenario))]
        one = known[scenario]
        answers.append(structs.replace(one, against_big=one.tokens_s / base.tokens_s))
    return answers


def needed_roles(scenario: Scenario) -> frozenset[str]:
    """Returns the roles whose servers a scenario needs. Raises `UnknownNameError`."""
    if scenario.recorded:
        return frozenset(call.role for chain in scenario.recorded for call in chain.calls)
    find_program(scenario.method)
    return (
        frozenset({"big"})
        if scenario.method == "big_only"
        else frozenset({"small"} if scenario.method == "small_only" else ("big", "small"))
    )


def check_scenario(scenario: Scenario) -> Scenario:
    """Returns the scenario. Raises `UsageError` if its layout lacks a server.

    A judge is added to the layout, on a GPU of its own.
    """
    missing = needed_roles(scenario) - find_layout(scenario.layout).roles
    if missing == frozenset({"judge"}):
        return structs.replace(scenario, layout=f"{scenario.layout}+judge")
    if missing:
        raise UsageError(
            f"{scenario.method} must have a server for {', '.join(sorted(missing))}, got layout {scenario.layout}; choose another layout"
        )
    return scenario


def _as_long(scenario: Scenario) -> Drawn:
    """Returns the sizes of big's own chains, as long as those of the scenario."""
    if not scenario.recorded:
        return scenario.drawn
    chains = scenario.recorded
    kept = round(sum(chain.kept for chain in chains) / len(chains))
    prompt = round(sum(chain.calls[0].prompt for chain in chains) / len(chains))
    return Drawn(length=max(1, kept), prompt=max(1, prompt))


def _awaited(work: Callable[[], Forecast], tell: Callable[[], None] | None) -> Forecast:
    found = work()
    if tell:
        tell()
    return found
