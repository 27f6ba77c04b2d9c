"""Chains on the virtual clock."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs
from profiles import examples

from speculative.errors import SpeculativeError
from speculative.plan.calls import PlannedCall, Program, cancel, run, sleep, start, wait
from speculative.plan.clock import SimulatedChain, VirtualClock
from speculative.plan.costs import StepCosts
from speculative.plan.layout import LAYOUTS
from speculative.plan.profile import Profile, ServerProfile, Sharing, load_profile
from speculative.plan.programs import PROGRAMS, Drawn

SIMPLE = ServerProfile(
    decode=((1, 10.0), (100, 10.0)), read=((1, 10.0), (100, 10.0), (200, 20.0)), call_ms=5.0, max_sequences=4, max_step_tokens=1000, block=1
)
PAIR = Profile(SIMPLE, structs.replace(SIMPLE, decode=((1, 1.0), (100, 1.0)), read=((1, 1.0), (1000, 1.0))))


def timed(layout: str, *programs: Program, profile: Profile = PAIR) -> tuple[VirtualClock, list[SimulatedChain]]:
    clock = VirtualClock(profile, LAYOUTS[layout])
    return clock, clock.run(programs)


def one(*calls: PlannedCall) -> Program:
    for call in calls:
        yield run(call)


def test_a_call_costs_its_front_end_its_prompt_and_its_steps() -> None:
    _, (chain,) = timed("d", one(PlannedCall("big", 50, 11)))
    assert chain.seconds == pytest.approx(0.005 + 0.010 + 10 * 0.010)
    assert chain.spent["big", "write", "call"] == pytest.approx(0.005)
    assert chain.spent["big", "write", "read"] == pytest.approx(0.010)
    assert chain.spent["big", "write", "write"] == pytest.approx(0.100)
    assert chain.written == {"big": 11}


def test_a_known_prefix_is_not_read_again() -> None:
    fresh, _ = timed("d", one(PlannedCall("big", 200, 1), PlannedCall("big", 201, 1)))
    known, _ = timed("d", one(PlannedCall("big", 200, 1), PlannedCall("big", 201, 1, known=200)))
    assert fresh.servers["big"][0].read_tokens == 401
    assert known.servers["big"][0].read_tokens == 201


def test_a_full_cache_drops_the_text_that_was_used_longest_ago() -> None:
    small = structs.replace(SIMPLE, cache_tokens=250)

    def program(delay: float) -> Program:
        yield sleep(delay)
        yield run(PlannedCall("big", 150, 1))
        yield sleep(10)
        yield run(PlannedCall("big", 151, 1, known=150))

    clock, _ = timed("d", program(0), program(5), profile=Profile(small, small))
    assert clock.servers["big"][0].read_tokens == 2 * (150 + 151)
    roomy, _ = timed("d", program(0), program(5))
    assert roomy.servers["big"][0].read_tokens == 2 * (150 + 1)


def drafts_at_once(role: str, count: int) -> Program:
    drafts = [PlannedCall(role, 50, 10) for _ in range(count)]
    for draft in drafts:
        yield start(draft)
    for draft in drafts:
        yield wait(draft)


def test_drafts_of_one_text_that_end_together_leave_their_room() -> None:
    tight = structs.replace(SIMPLE, cache_tokens=200)

    def program() -> Program:
        yield from drafts_at_once("big", 3)
        yield run(PlannedCall("big", 180, 10))  # needs nearly all of the cache

    clock, (chain,) = timed("d", program(), profile=Profile(tight, tight))
    assert chain.written == {"big": 40}
    assert clock.live == 0


def test_sequences_beyond_the_batch_wait() -> None:
    _, chains = timed("d", *(one(PlannedCall("big", 10, 101)) for _ in range(5)))
    assert max(chain.seconds for chain in chains) > 1.9 * min(chain.seconds for chain in chains)


def test_a_call_that_arrives_waits_for_the_current_step_only() -> None:
    def late() -> Program:
        yield sleep(0.0323)  # in the third step of the first chain: 5 ms of call, 10 ms of reading
        yield run(PlannedCall("big", 10, 1))

    _, (first, second) = timed("d", one(PlannedCall("big", 10, 101)), late())
    assert first.seconds == pytest.approx(0.005 + 101 * 0.010)  # reading beside writing costs as much as a step here
    assert second.ended == pytest.approx(0.005 + 0.010 + 0.010 * 3 + 0.010)


def test_a_cancelled_call_frees_its_place() -> None:
    def program() -> Program:
        call = PlannedCall("big", 10, 1000)
        yield start(call)
        yield sleep(0.105)
        yield cancel(call)
        yield run(PlannedCall("big", 10, 1))

    clock, (chain,) = timed("d", program())
    assert chain.seconds < 0.2
    assert clock.servers["big"][0].running == 0
    assert 9 <= clock.servers["big"][0].written_tokens <= 11
    assert chain.written["big"] == clock.servers["big"][0].written_tokens


def test_servers_on_one_gpu_slow_each_other_while_both_work() -> None:
    shared = structs.replace(PAIR, shared={"plain": Sharing(2.0, 3.0)})

    def both() -> Program:
        big, small = PlannedCall("big", 10, 100), PlannedCall("small", 10, 50)
        yield start(big)
        yield start(small)
        yield wait(big)
        yield wait(small)

    apart, _ = timed("c", both(), profile=shared)
    clock, (chain,) = timed("e", both(), profile=shared)
    small = clock.servers["small"][0].busy
    assert small == pytest.approx(3 * apart.servers["small"][0].busy, rel=0.05)
    assert chain.seconds == pytest.approx(apart.now + small / 2, rel=0.05)


@st.composite
def call_lists(draw: st.DrawFn) -> list[tuple[str, int, int, int]]:
    sizes = st.tuples(st.sampled_from(["big", "small"]), st.integers(1, 3000), st.integers(1, 60), st.integers(0, 3000))
    return draw(st.lists(sizes, min_size=1, max_size=8))


H200 = load_profile("h200-32b-1.5b")


@given(call_lists())
@settings(max_examples=examples(60), deadline=None)
def test_one_chain_alone_takes_the_sum_of_its_serial_calls(sizes: list[tuple[str, int, int, int]]) -> None:
    calls = [PlannedCall(*size) for size in sizes]
    clock, (chain,) = timed("c", one(*calls), profile=H200)
    assert chain.seconds == pytest.approx(sum(call.ended - call.began for call in calls))
    assert chain.seconds == pytest.approx(sum(chain.spent.values()))
    for call in calls:
        assert call.began <= call.placed <= call.scheduled <= call.first <= call.ended
        costs = StepCosts(H200.server(call.role))
        steps = sum(costs.decode(1, call.prompt + place) for place in range(1, call.tokens))
        assert call.ended - call.first == pytest.approx(steps, rel=1e-6)
    assert clock.now == chain.ended


@given(st.lists(call_lists(), min_size=1, max_size=12), st.randoms(use_true_random=False), st.sampled_from(["c", "e", "e-mps", "f"]))
@settings(max_examples=examples(60), deadline=None)
def test_time_never_runs_backwards_and_work_is_conserved(many: list[list[tuple[str, int, int, int]]], random: Random, layout: str) -> None:
    calls = [[PlannedCall(*size) for size in sizes] for sizes in many]
    clock = VirtualClock(H200, LAYOUTS[layout])
    times: list[float] = []

    def program(own: list[PlannedCall]) -> Program:
        for call in own:
            times.append(clock.now)
            yield run(call)

    chains = clock.run([program(own) for own in calls], [random.random() for _ in calls])
    flat = [call for own in calls for call in own]
    assert times == sorted(times)
    assert all(call.began <= call.placed <= call.scheduled <= call.first <= call.ended for call in flat)
    assert clock.live == 0
    servers = clock.all_servers(LAYOUTS[layout])
    assert sum(server.written_tokens for server in servers) == sum(call.tokens for call in flat)
    read = sum(server.read_tokens for server in servers)
    assert sum(call.prompt - min(call.known, call.prompt - 1) for call in flat) <= read <= sum(call.prompt for call in flat)
    assert all(server.busy <= clock.now + 1e-9 and not server.running and not server.waiting for server in servers)
    for own, chain in zip(calls, chains, strict=True):
        assert chain.seconds == pytest.approx(sum(call.ended - call.began for call in own))


@pytest.mark.parametrize("method", PROGRAMS)
@pytest.mark.parametrize("chains", [1, 7])
def test_every_drawn_method_writes_its_text(method: str, chains: int) -> None:
    clock = VirtualClock(H200, LAYOUTS["c"])
    drawn = Drawn(length=333, step=40)
    for chain in clock.run(PROGRAMS[method](drawn, seed) for seed in range(chains)):
        assert sum(chain.written.values()) >= drawn.length
    assert all(not server.running and not server.waiting for server in clock.all_servers(LAYOUTS["c"]))


def test_two_runs_agree() -> None:
    walls = set[float]()
    for _ in range(2):
        clock = VirtualClock(H200, LAYOUTS["e-mps"])
        clock.run(PROGRAMS["step_verify,pipeline=accept"](Drawn(length=400), seed) for seed in range(20))
        walls.add(clock.now)
    assert len(walls) == 1


def side_by_side(random: Random, calls: int) -> Program:
    """Drafts, questions and children of one chain, at any time, of which some are cancelled."""
    open_calls: list[PlannedCall] = []
    for place in range(calls):
        prompt, branch = random.randint(1, 900), random.randint(0, 2)
        batch = random.randint(1, 4)
        made = [PlannedCall(random.choice(["big", "small"]), prompt, random.randint(1, 6), prompt, branch=branch) for _ in range(batch)]
        for call in made:
            yield start(call)
        open_calls += made
        if random.random() < 0.5:
            yield sleep(random.random() / 20)
        random.shuffle(open_calls)
        for _ in range(len(open_calls) if place == calls - 1 else random.randint(0, len(open_calls))):
            call = open_calls.pop()
            yield cancel(call) if random.random() < 0.3 else wait(call)
            if call.done and random.random() < 0.3:
                more = PlannedCall(call.role, call.prompt + call.tokens, 5, call.prompt, branch=call.branch, goes_on=True)
                yield start(more)
                yield cancel(more) if random.random() < 0.3 else wait(more)


@given(st.integers(1, 12), st.integers(1, 5), st.integers(0, 1 << 30), st.sampled_from([1000, 4000, 1 << 30]))
@settings(max_examples=examples(60), deadline=None)
def test_nothing_is_reserved_after_all_chains_have_ended(chains: int, calls: int, salt: int, room: int) -> None:
    own = structs.replace(SIMPLE, cache_tokens=room)
    clock, _ = timed("c", *(side_by_side(Random(salt + number), calls) for number in range(chains)), profile=Profile(own, own))
    for server in clock.all_servers(LAYOUTS["c"]):
        assert (server.cache.reserved, server.running, server.waiting) == (0, 0, 0)


def test_drafts_that_end_in_one_step_free_all_their_room() -> None:
    tight = structs.replace(SIMPLE, cache_tokens=300)
    clock, chains = timed("c", *(drafts_at_once("small", 4) for _ in range(50)), profile=Profile(tight, tight))
    assert clock.live == 0
    assert all(chain.ended > 0 for chain in chains)
    assert clock.servers["small"][0].cache.reserved == 0


def test_drafts_of_one_text_read_its_known_beginning_once() -> None:
    def program() -> Program:
        for size in (100, 120):
            drafts = [PlannedCall("small", size, 10, known) for known in (size - 20, size, size)]
            for draft in drafts:
                yield start(draft)
            for draft in drafts:
                yield wait(draft)

    clock, _ = timed("c", program())
    assert clock.servers["small"][0].read_tokens == 100 + 1 + 1 + 20 + 1 + 1


def test_a_child_finds_the_beginning_that_another_text_of_its_chain_left() -> None:
    clock, _ = timed("d", one(PlannedCall("big", 200, 1), PlannedCall("big", 250, 1, known=200, branch=1)))
    assert clock.servers["big"][0].read_tokens == 250


def test_a_chain_that_waits_for_ever_is_an_error() -> None:
    def stuck() -> Program:
        yield wait(PlannedCall("big", 10, 1))

    with pytest.raises(SpeculativeError, match="got 1 that wait for ever"):
        timed("d", stuck())
