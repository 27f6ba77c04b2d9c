"""Choices by load, on the virtual clock."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable
from functools import cache

import pytest
from msgspec import structs

from speculative.plan.adaptive import Way, adaptive
from speculative.plan.calls import Program, sleep
from speculative.plan.clock import VirtualClock
from speculative.plan.forecast import Optimize
from speculative.plan.layout import LAYOUTS
from speculative.plan.policy import AHEAD, LoadPolicy, Situation
from speculative.plan.profile import load_profile
from speculative.plan.programs import PROGRAMS, Drawn, MakeProgram, cascade

H200 = load_profile("h200-32b-1.5b")
WAYS: tuple[Way, ...] = ("big", "checked", "checked ahead")
SINGLE = {"big": "big_only", "checked": "step_verify", "checked ahead": "step_verify,pipeline=accept"}


@pytest.fixture(scope="module", params=["throughput", "latency"])
def policy(request: pytest.FixtureRequest) -> LoadPolicy:
    optimize: Optimize = request.param
    return LoadPolicy(H200, optimize=optimize)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("chains", [1, 40])
def test_a_chain_that_never_changes_its_way_is_the_method(way: Way, chains: int) -> None:
    walls: list[float] = []
    for make in (PROGRAMS[SINGLE[way]], adaptive(lambda _, __: way)):
        clock = VirtualClock(H200, LAYOUTS["c"])
        clock.run(make(Drawn(length=600), seed) for seed in range(chains))
        walls.append(clock.now)
    assert walls[0] == pytest.approx(walls[1], rel=1e-9)


def running(clock: VirtualClock, make: MakeProgram, chains: int, length: int = 1000, rounds: int = 3) -> float:
    """The tokens a second while so many chains run, each followed by another."""

    def slot(number: int) -> Program:
        for turn in range(rounds):
            yield from make(Drawn(length=length), 1000 * number + turn)

    clock.run([slot(number) for number in range(chains)], enough=int(0.75 * chains * length * rounds))
    return clock.kept / clock.now


@cache
def single(way: Way, chains: int) -> float:
    """The tokens a second of chains that never change their way."""
    return running(VirtualClock(H200, LAYOUTS["c"]), adaptive(lambda _, __: way), chains)


@pytest.mark.slow
@pytest.mark.parametrize("chains", [1, 16, 64, 256])
def test_it_is_nearly_as_fast_as_the_best_single_way_at_every_load(policy: LoadPolicy, chains: int) -> None:
    clock = VirtualClock(H200, LAYOUTS["c"])
    found = running(clock, adaptive(lambda way, _: policy.choose(Situation(clock.live, 0.8, 756), way).way), chains)
    assert found >= 0.97 * max(single(way, chains) for way in WAYS)


@pytest.mark.slow
@pytest.mark.parametrize("chains", [1, 16, 64, 256])
@pytest.mark.parametrize("length", [400, 1000])
def test_a_batch_that_begins_at_once_ends_nearly_as_early_as_with_the_best_single_way(chains: int, length: int) -> None:
    policy = LoadPolicy(H200, optimize="batch")

    def rate(make: Callable[[VirtualClock], MakeProgram]) -> float:
        clock = VirtualClock(H200, LAYOUTS["c"])
        program = make(clock)
        clock.run(program(Drawn(length=length), seed) for seed in range(chains))
        return chains * length / clock.now

    def situation(clock: VirtualClock, size: int) -> Situation:
        return Situation(clock.live, 0.8, size, max(50, Drawn().prompt + length - size))

    single = [rate(lambda _, way=way: adaptive(lambda _, __: way)) for way in WAYS]
    assert rate(lambda clock: adaptive(lambda way, size: policy.choose(situation(clock, size), way).way)) >= 0.97 * max(single)


@pytest.mark.parametrize("chains", [2, 200])
def test_chains_that_begin_at_once_are_counted_before_any_of_them_chooses(chains: int) -> None:
    clock, seen = VirtualClock(H200, LAYOUTS["c"]), list[int]()

    def note(way: Way | None, _: int) -> Way:
        if way is None:
            seen.append(clock.live)
        return "big"

    clock.run(adaptive(note)(Drawn(length=50), seed) for seed in range(chains))
    assert seen == [chains] * chains


def test_a_cascade_is_taken_where_small_mostly_agrees_and_its_server_has_room() -> None:
    policy = LoadPolicy(H200, optimize="throughput")
    for load in (1, 64):
        choice = policy.choose_cascade(Situation(load, context=300), 0.8)
        assert choice is not None
        assert choice.way == "cascade"
        assert "80% of small's answers in agreement" in choice.reason
    assert policy.choose_cascade(Situation(16, context=300), 0.2) is None
    assert policy.choose_cascade(Situation(256, context=300), 0.8) is None


@pytest.mark.parametrize(("chains", "length"), [(1, 200), (1, 1600), (8, 200), (8, 1600)])
def test_a_batch_of_cascades_is_compared_with_a_batch_of_the_same_length(chains: int, length: int) -> None:
    situation = Situation(chains, context=512, left=length)
    policy = LoadPolicy(H200, optimize="batch")
    seconds = list[float]()
    for turn in range(320 // chains):
        clock = VirtualClock(H200, LAYOUTS["c"])
        drawn = Drawn(length=length, prompt=512, samples=3)
        clock.run((cascade(drawn, 1000 * turn + number) for number in range(chains)), warm=512)
        seconds.append(clock.now)
    best = policy.choose(situation).way
    gain = chains * length / (sum(seconds) / len(seconds)) / policy.speed(best, situation)
    choice = policy.choose_cascade(situation, 0.8)
    assert (choice is not None) == (chains == 1) == (gain > 1)
    if choice:
        found = re.search(r"([0-9.]+) times as fast", choice.reason)
        assert found
        assert float(found[1]) == pytest.approx(gain, rel=0.1)


@pytest.mark.parametrize(("role", "chains"), [("big", 60), ("small", 190)])
def test_no_cascade_is_simulated_where_the_caches_cannot_hold_it(role: str, chains: int) -> None:
    room = chains * (300 + AHEAD)
    policy = LoadPolicy(structs.replace(H200, **{role: structs.replace(H200.server(role), cache_tokens=room)}), optimize="throughput")
    assert policy.choose_cascade(Situation(64, context=300), 0.8) is None
    assert policy.lacks(Situation(64, context=300))


def swinging(make: Callable[[VirtualClock], MakeProgram]) -> tuple[float, float]:
    """The mean seconds of a chain, and the sum of the bursts' seconds, where one chain runs always and 255 more come three times."""
    clock = VirtualClock(H200, LAYOUTS["c"])
    program = make(clock)
    took: list[float] = []
    ends: dict[float, float] = {}

    def chain(seed: int, begin: float = 0.0, turns: int = 1) -> Program:
        yield sleep(begin)
        for turn in range(turns):
            began = clock.now
            yield from program(Drawn(length=400), 1000 * seed + turn)
            took.append(clock.now - began)
            ends[begin] = clock.now

    bursts = [chain(seed, begin) for begin in (10.0, 60.0, 110.0) for seed in range(1, 256)]
    clock.run([chain(0, turns=30), *bursts])
    return sum(took) / len(took), sum(end - begin for begin, end in ends.items() if begin)


@cache
def swinging_single(way: Way) -> tuple[float, float]:
    """The same of chains that never change their way."""
    return swinging(lambda _: adaptive(lambda _, __: way))


@pytest.mark.slow
def test_a_load_that_swings_between_1_and_256_chains(policy: LoadPolicy) -> None:
    singles = [swinging_single(way) for way in WAYS]
    mean, wall = swinging(lambda clock: adaptive(lambda way, _: policy.choose(Situation(clock.live, 0.8, 456), way).way))
    assert mean <= min(each for each, _ in singles) / 0.97
    assert wall <= min(all_of_it for _, all_of_it in singles) / 0.97


def test_checked_steps_while_there_is_room_and_big_alone_when_there_is_none(policy: LoadPolicy) -> None:
    alone, crowded = policy.choose(Situation(1)), policy.choose(Situation(400))
    assert alone.way == "checked ahead"
    assert crowded.way == "big"
    assert "the caches hold" in crowded.reason
    assert policy.choose(Situation(250, context=300)).way == "big"


def test_long_texts_leave_room_for_fewer_chains(policy: LoadPolicy) -> None:
    assert policy.choose(Situation(20, context=4000)).way != "big"
    assert policy.choose(Situation(20, context=16000)).way == "big"


@pytest.mark.slow
def test_a_running_chain_changes_for_a_clear_gain_only(policy: LoadPolicy) -> None:
    load = 1 + bisect_left(range(1, 300), True, key=lambda load: policy.choose(Situation(load)).way == "big")
    near = policy.choose(Situation(load), "checked").way, policy.choose(Situation(load), "big").way
    assert near[1] == "big"
    assert policy.choose(Situation(1), "big").way == "checked ahead"


@pytest.mark.slow
def test_many_rejected_steps_turn_to_big_earlier(policy: LoadPolicy) -> None:
    def last(acceptance: float) -> int:
        return max(load for load in (1, 16, 48, 96, 192) if policy.choose(Situation(load, acceptance)).way != "big")

    assert last(0.5) < last(0.95)


def test_a_choice_that_is_ready_does_not_simulate(policy: LoadPolicy) -> None:
    situation = Situation(3, 0.65, 900)
    policy.prepare(situation)
    assert not policy.lacks(situation)
    assert policy.lacks(Situation(3, 0.5, 900))


def test_small_alone_is_taken_only_where_it_is_allowed() -> None:
    assert LoadPolicy(H200, small=True).choose(Situation(1)).way == "small"
    assert "small" not in LoadPolicy(H200).ways
