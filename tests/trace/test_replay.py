"""A trace runs again, and gives the same trace."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from profiles import examples
from strategies import Recorded, Verbs, babble, pairs, policies, problems, scripted_pair

from speculative import EngineError, Pair, Problem, Trace
from speculative.chain.chain import Chain
from speculative.engines.base import CallStats, Completion, Decoding, Ids
from speculative.errors import ReplayMismatchError
from speculative.methods.registry import build
from speculative.runner import run
from speculative.testing import ScriptedEngine
from speculative.trace.replay import ReplayEngine

PROBLEM = Problem.of("6*7?", max_tokens=400)


def replayed(trace: Trace, pair: Pair) -> Pair:
    return Pair(*(ReplayEngine(trace, role, like) for role, like in pair.items()))


async def again(trace: Trace, pair: Pair, method: Any, listener: Any = None) -> Trace:
    replay = replayed(trace, pair)
    async with replay:
        return (await run(trace.started.problem, method, replay, listener)).trace


@settings(max_examples=examples(120))
@given(policies(), pairs(), problems())
def test_every_method_replays_to_an_equal_timeless_trace(
    policy: tuple[str, dict[str, Any], list[str]], pair: Pair, problem: Problem
) -> None:
    name, params, wrappers = policy
    method = build(name, params, wrappers)
    trace = asyncio.run(run(method.prepare(problem), method, pair)).trace
    assert asyncio.run(again(trace, pair, method)).timeless() == trace.timeless()
    assert asyncio.run(again(trace, pair, method, Recorded())).timeless() == trace.timeless()


async def every_verb(chain: Chain) -> None:
    first = await chain.draft("small", max_tokens=20)
    below = await chain.draft("big", 2, after=first, max_tokens=5, logprobs=True)
    await chain.score("small", below)
    await chain.score("small", below)
    await chain.ask("big", "why?", after=first, n=2)
    await chain.prefill("big")
    slow = asyncio.create_task(chain.draft("big", 3))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await chain.accept(below[1])
    await slow
    await chain.write("big", max_tokens=4)
    await chain.answer("small")


async def test_every_verb_replays_also_calls_that_were_cancelled() -> None:
    pair = scripted_pair(babble(1, ["so ", "42 "] * 9), babble(2, ["or " * 9, "6*7 " * 9]), widths=(1, 2))
    method = Verbs(script=every_verb)
    trace = (await run(PROBLEM, method, pair)).trace
    assert {type(event).__name__ for event in trace} >= {
        "Drafted",
        "Scored",
        "Asked",
        "Prefilled",
        "Cancelled",
        "Accepted",
        "Wrote",
        "Answered",
    }
    assert (await again(trace, pair, method)).timeless() == trace.timeless()


@pytest.mark.parametrize("verb", ["write", "score"])
async def test_a_call_that_failed_fails_again(verb: str) -> None:
    def failing(*_: Any) -> Any:
        raise EngineError("the server is gone")

    async def verbs(chain: Chain) -> None:
        drafts = await chain.draft("small", 1)
        await (chain.write("big") if verb == "write" else chain.score("big", drafts))

    pair, method = scripted_pair(failing, "so", scores=failing), Verbs(script=verbs)
    with pytest.raises(EngineError) as caught:
        await run(PROBLEM, method, pair)
    assert caught.value.trace
    with pytest.raises(EngineError, match="the server is gone") as repeated:
        await again(caught.value.trace, pair, method)
    assert repeated.value.trace
    assert repeated.value.trace.timeless() == caught.value.trace.timeless()


async def test_another_method_parameter_or_verb_is_a_mismatch() -> None:
    pair = scripted_pair(babble(1), babble(2))
    trace = (await run(PROBLEM, build("random_switch", {"big_share": 1}), pair)).trace

    async def scoring(chain: Chain) -> None:
        await chain.score("small", [await chain.answer("small", after=draft) for draft in await chain.draft("big", 1)])

    for method in (build("spec_rewrite"), build("random_switch", {"big_share": 0}), build("logprob_subselect"), Verbs(script=scoring)):
        with pytest.raises(ReplayMismatchError):
            await again(trace, pair, method)
    drafted = (await run(PROBLEM, Verbs(script=lambda chain: chain.draft("small", 2)), pair)).trace
    with pytest.raises(ReplayMismatchError, match="holds 2 completions for a call of 3"):
        await again(drafted, pair, Verbs(script=lambda chain: chain.draft("small", 3)))


async def test_drafts_that_the_budget_left_inside_of_a_character_are_not_asked_for_again() -> None:
    """In the trace are those that a second try gave, where there was room for one."""

    async def verbs(chain: Chain) -> None:
        drafts = await chain.draft("small", 4, max_tokens=1)
        await chain.draft("big", 2, after=drafts, max_tokens=1)
        await chain.write("big", max_tokens=1)

    pair, method = scripted_pair("😀" * 99, "a" * 99), Verbs(script=verbs)
    for produced in range(5, 90):
        trace = (await run(Problem.of("6*7?", max_produced=produced), method, pair)).trace
        for listener in (None, Recorded()):
            assert (await again(trace, pair, method, listener)).timeless() == trace.timeless()


@pytest.mark.parametrize("listener", [None, Recorded()])
async def test_a_second_try_that_gave_far_more_than_the_first_had_asked_for_replays(listener: Any) -> None:
    class Silent(ScriptedEngine):
        """Gives no ids in its first reply, as a server that thinks in secret."""

        async def complete(self, prefixes: Sequence[Ids], decoding: Decoding, *, key: str, stats: CallStats) -> list[list[Completion]]:
            first, found = not self.calls, await super().complete(prefixes, decoding, key=key, stats=stats)
            return [[Completion((), "length")]] if first else found

    big, method = "a long thought " * 20, Verbs(script=lambda chain: chain.write("big", max_tokens=20))
    pair = Pair(Silent(big, abilities=ScriptedEngine("").abilities - {"stream"}), ScriptedEngine("so"))
    trace = (await run(PROBLEM, method, pair)).trace
    assert len(trace.ledger.pieces[0].text) == 40
    assert (await again(trace, pair, method, listener)).timeless() == trace.timeless()


async def test_scores_that_the_trace_does_not_hold_are_a_mismatch() -> None:
    pair = scripted_pair("ab", "cd")
    trace = (await run(PROBLEM, Verbs(script=lambda chain: chain.draft("small")), pair)).trace

    async def scoring(chain: Chain) -> None:
        await chain.score("big", await chain.draft("small", 1))

    with pytest.raises(ReplayMismatchError, match="does not hold the scores that the method asks big for"):
        await again(trace, pair, Verbs(script=scoring))


async def test_a_trace_of_other_engines_is_refused() -> None:
    pair = scripted_pair("ab", "cd", widths=(1, 2))
    trace = (await run(PROBLEM, build("big_only"), pair)).trace
    with pytest.raises(ReplayMismatchError, match="no engine for the role judge; it has big, small"):
        ReplayEngine(trace, "judge", pair["big"])
    with pytest.raises(ReplayMismatchError, match="whose vocabulary is not that of small"):
        ReplayEngine(trace, "big", pair["small"])
