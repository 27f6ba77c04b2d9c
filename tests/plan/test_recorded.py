"""Recorded chains, which must cost as much as the live ones did."""

from __future__ import annotations

from typing import Any

import pytest
from easy import EASY
from msgspec import structs

from speculative import Pair, Problem, Trace, solve
from speculative.engines.base import Completion
from speculative.methods import registry
from speculative.plan.clock import VirtualClock
from speculative.plan.layout import LAYOUTS
from speculative.plan.profile import load_profile
from speculative.plan.recorded import RecordedChain
from speculative.runner import bundled_pair
from speculative.testing import ScriptedEngine
from speculative.trace.events import AnyEvent, Asked, Call, Cancelled, Drafted, Proposal, Rewarded, Scored, Started

H200 = load_profile("h200-32b-1.5b")
EXACT = structs.replace(H200, big=structs.replace(H200.big, block=1), small=structs.replace(H200.small, block=1))
"""A server that finds single tokens, as the bundled engines do."""
JUDGED = ("advantage", "reward_guided", "tilted_best")
WRAPPED = [("small_only", ("vote(ballots=3)",)), ("big_only", ("early_exit(agree=2)",))]


def record(method: str, wrappers: tuple[str, ...] = ()) -> Trace:
    """A short chain of the bundled pair, with a judge where the method needs one."""
    pair: Any = bundled_pair()
    if method in JUDGED:
        pair = Pair(**pair, judge=ScriptedEngine("", name="judge", rewards=lambda text: 0.5))
    return solve(EASY, method, pair=pair, wrappers=wrappers, max_tokens=90).trace


@pytest.mark.parametrize(("method", "wrappers"), [*((name, ()) for name in registry.names()), *WRAPPED])
def test_a_recorded_chain_costs_the_tokens_of_the_live_one(method: str, wrappers: tuple[str, ...]) -> None:
    trace = record(method, wrappers)
    chain = RecordedChain.of(trace)
    for role, cost in trace.usage().items():
        made = [call for call in chain.calls if call.role == role]
        read = cost.prompt_tokens - cost.cached_tokens + cost.scored_tokens
        assert sum(call.prompt - call.cached for call in made) == read
        assert sum(call.tokens for call in made) == cost.produced_tokens
        assert sum(not call.joined for call in made) == cost.requests
    clock = VirtualClock(EXACT, LAYOUTS["c"])
    clock.run([chain.program()])
    servers = clock.all_servers(LAYOUTS["c"])
    shared = sum(event.call.shared_cache_tokens for event in trace.walk() if getattr(event, "call", None))  # type: ignore[union-attr]
    least = sum(max(1, call.prompt - call.cached) for call in chain.calls)
    first = {call.role: call for call in reversed(chain.calls)}  # its texts share their hits, which on a cold engine the first has not
    cold = sum(call.cached for call in first.values())
    assert least <= sum(server.read_tokens for server in servers) <= least + shared + cold
    assert sum(server.written_tokens for server in servers) == sum(max(1, call.tokens) for call in chain.calls)
    assert not any(server.cache.reserved for server in servers)


BEGUN = Started(problem=Problem.of("?"), method="any", params={}, engines={}, library="")


def call(requests: int, prompt: int, cached: int, produced: int, scored: int = 0) -> Call:
    return Call("big", requests, prompt, cached, produced, scored, 6.0, began=1.0)


def draft(number: int) -> Proposal:
    return Proposal(number, None, "", Completion((), "stop"), 0, "thinking")


@pytest.mark.parametrize(
    ("event", "sizes"),
    [
        (Scored(call=call(1, 43, 42, 0, 10), drafts=(1,), logprobs=((-1.0,) * 10,), digest=""), [(53, 0, 42)]),
        (Scored(call=call(1, 80, 60, 0, 20), drafts=(1, 2), logprobs=((), ()), digest=""), [(50, 0, 30), (50, 0, 30)]),
        (Scored(call=call(2, 80, 60, 2, 20), drafts=(1, 2), logprobs=((), ()), digest=""), [(50, 1, 30), (50, 1, 30)]),
        (Rewarded(call=call(1, 80, 60, 0), drafts=(1, 2), rewards=(0.0, 1.0), digest=""), [(40, 0, 30), (40, 0, 30)]),
        (Rewarded(call=call(1, 80, 60, 0, 80), drafts=(1, 2), rewards=(0.0, 1.0), digest=""), [(40, 0, 30), (40, 0, 30)]),  # an old trace
        (Cancelled(call=call(1, 80, 60, 0), verb="reward"), [(80, 0, 60)]),
        (Cancelled(call=call(1, 80, 60, 0, 20), verb="score"), [(100, 0, 60)]),
        (Cancelled(call=call(1, 80, 60, 7), verb="draft"), [(80, 7, 60)]),
        (Cancelled(call=call(0, 0, 0, 0), verb="draft"), []),
        (Drafted(call=call(1, 40, 30, 12), seed=0, proposals=(draft(1), draft(2), draft(3))), [(40, 4, 30), (40, 4, 40), (40, 4, 40)]),
        (Drafted(call=call(3, 120, 90, 12), seed=0, proposals=(draft(1), draft(2), draft(3))), [(40, 4, 30)] * 3),
        (Asked(call=call(1, 40, 0, 2), seed=0, question="?", after=None, replies=(), completions=()), [(40, 2, 0)]),
    ],
)
def test_each_kind_of_event_has_its_sequences(event: AnyEvent, sizes: list[tuple[int, int, int]]) -> None:
    found = RecordedChain.of(Trace([BEGUN, event])).calls
    assert [(one.prompt, one.tokens, one.cached) for one in found] == sizes
    assert sum(not one.joined for one in found) == getattr(event, "call").requests  # noqa: B009


def test_requests_that_follow_each_other_do_so_again() -> None:
    """A completion that was asked for more tokens makes two requests, one after the other."""
    event = Drafted(call=call(2, 90, 40, 30), seed=0, proposals=(draft(1),))
    assert [(one.began, one.ended) for one in RecordedChain.of(Trace([BEGUN, event])).calls] == [(1.0, 4.0), (4.0, 7.0)]


def test_the_sequences_of_one_request_pay_its_front_end_once() -> None:
    event = Drafted(call=call(1, 40, 0, 40), seed=0, proposals=tuple(draft(number) for number in range(4)))
    front: list[float] = []
    for one in (event, structs.replace(event, call=call(4, 160, 0, 40))):
        (chain,) = VirtualClock(EXACT, LAYOUTS["d"]).run([RecordedChain.of(Trace([BEGUN, one])).program()])
        front.append(chain.spent["big", "drafted", "call"])
    assert front[1] - front[0] == pytest.approx(6 * (EXACT.big.call_cpu_ms + 0.04 * EXACT.big.prefix_cpu_ms) / 1000)
