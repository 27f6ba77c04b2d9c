"""Forecasts methods at several loads: latency, tokens a second, GPU time, money."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
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


class Forecast(Struct, frozen=True):
    """The prediction for one method at one load.

    Attributes:
        method: the method.
        layout: the name of the layout.
        chains: chains that begin at once.
        latency_s: seconds of a chain, the median.
        slow_s: seconds that 95 of 100 chains stay below.
        tokens_s: tokens of all texts, over the time to the end of the last.
        wall_s: seconds to the end of the last chain.
        gpu_s: seconds of all GPUs of the layout, for a chain.
        money: the price of those, if an hour has a price.
        against_big: tokens a second over those of big alone on as many GPUs.
        busy: the share of the time in which each server works.
        spent: the shares of the calls' time by role, purpose and part.
    """

    method: str
    layout: str
    chains: int
    latency_s: float
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

    def programs(self) -> list[tuple[Program, int]]:
        """Returns a program for each chain, and the tokens of its text.

        Recorded chains are drawn with repetition if more are wanted.
        """
        if self.recorded:
            random, own = Random(0), self.recorded
            chosen = [own[place] if place < len(own) else random.choice(own) for place in range(self.chains)]
            return [(chain.program(), chain.kept) for chain in chosen]
        make = find_program(self.method)
        return [(make(self.drawn, seed), self.drawn.length) for seed in range(self.chains)]


def forecast(profile: Profile, scenario: Scenario, hour: float | None = None) -> Forecast:
    """Simulates one method at one load."""
    layout = find_layout(scenario.layout)
    clock = VirtualClock(profile, layout)
    programs = scenario.programs()
    chains = clock.run(program for program, _ in programs)
    tokens, wall, seconds = sum(size for _, size in programs), clock.now, [chain.seconds for chain in chains]
    gpu = layout.gpus * wall / len(chains)
    busy = {server.name: server.busy / wall for server in clock.all_servers(layout)}
    money = None if hour is None else gpu / 3600 * hour
    slow = quantiles(seconds, n=20)[-1] if len(seconds) > 1 else seconds[0]
    return Forecast(
        scenario.method,
        scenario.layout,
        scenario.chains,
        median(seconds),
        slow,
        tokens / wall,
        wall,
        gpu,
        money,
        None,
        busy,
        shares(chains),
    )


def one_by_one(found: Sequence[Forecast]) -> Forecast:
    """Combines forecasts of single chains into one of them one after another."""
    walls = [one.wall_s for one in found]
    total, seconds = sum(walls), [one.latency_s for one in found]

    def mean(values: Sequence[float | None]) -> float | None:
        """Returns the mean over time, or None if a value is missing."""
        known = [value for value in values if value is not None]
        return sum(value * wall for value, wall in zip(known, walls, strict=True)) / total if len(known) == len(walls) else None

    def mean_of(dicts: Sequence[dict[str, float]]) -> dict[str, float]:
        named = {name: mean([one.get(name, 0.0) for one in dicts]) or 0.0 for name in dict.fromkeys(name for one in dicts for name in one)}
        return dict(sorted(named.items(), key=lambda one: -one[1]))

    gpu, count = sum(one.gpu_s for one in found), len(found)
    prices = [one.money for one in found if one.money is not None]
    return structs.replace(
        found[0],
        latency_s=median(seconds),
        slow_s=quantiles(seconds, n=20)[-1] if count > 1 else seconds[0],
        tokens_s=mean([one.tokens_s for one in found]) or 0.0,
        wall_s=total,
        gpu_s=gpu / count,
        money=sum(prices) / count if prices else None,
        against_big=mean([one.against_big for one in found]),
        busy=mean_of([one.busy for one in found]),
        spent=mean_of([one.spent for one in found]),
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
    return "a" if find_layout(layout).gpus > 1 else "d"


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
    """Returns the scenario. Raises `UsageError` if its layout lacks a server."""
    roles = find_layout(scenario.layout).roles
    if missing := needed_roles(scenario) - roles:
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
