"""Log-probabilities that are asked for to be shown change nothing of a chain."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from easy import EASY
from hypothesis import given, settings
from profiles import examples, quick_cases
from strategies import pairs, policies, problems, scripted_pair

from speculative import Pair, Problem, Trace
from speculative.engines.http.engine import OpenAIEngine
from speculative.errors import EngineRefusedError
from speculative.methods.registry import build
from speculative.runner import run
from speculative.testing import ScriptedEngine, ScriptedTokenizer
from speculative.testing.fake_server import FakeServer
from speculative.trace.replay import ReplayEngine

PROBLEM = Problem.of("6*7?", max_tokens=400)
TEXT = "One.\n\nTwo.\n\n</think>\n\n\\boxed{42}"
MEANS = ("mean_logprob", "mean_entropy")


def plain(trace: Trace) -> list[Any]:
    """The trace without times and without what is for a reader."""

    def without(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: without(inner) for key, inner in value.items() if key not in MEANS}
        return [without(inner) for inner in value] if isinstance(value, list) else value

    return without(trace.timeless())


def means(trace: Trace) -> list[tuple[Any, Any]]:
    """The means of each text that has tokens, in order."""
    events = list(trace.walk())
    proposals = [one for event in events if (one := getattr(event, "proposal", None))]
    proposals += [one for event in events for one in getattr(event, "proposals", ())]
    return [(one.completion.mean_logprob, one.completion.mean_entropy) for one in proposals if one.completion.ids]


async def shown(pair: Pair, name: str, problem: Problem = PROBLEM, **params: Any) -> Trace:
    return (await run(problem, build(name, params), pair, lambda _: None, displays=True)).trace


@settings(max_examples=examples(60))
@given(policies(), pairs(), problems())
def test_no_method_writes_anything_else(policy: tuple[str, dict[str, Any], list[str]], pair: Pair, problem: Problem) -> None:
    name, params, wrappers = policy
    method = build(name, params, wrappers)
    made = [asyncio.run(run(method.prepare(problem), method, pair, lambda _: None, displays=displays)).trace for displays in (False, True)]
    assert plain(made[0]) == plain(made[1])
    assert made[0].usage().keys() == made[1].usage().keys()


async def test_every_written_text_has_its_means() -> None:
    pair = scripted_pair(TEXT, TEXT, top=lambda seen: {"a": -0.1})
    trace = await shown(pair, "random_switch", unit="step")
    assert means(trace)
    for logprob, entropy in means(trace):
        assert logprob == -0.1
        assert 0 < entropy < 0.7
    assert b"mean_logprob" in trace.dump()
    assert Trace([]).dump().count(b"mean_logprob") == 0


async def test_children_have_them_too() -> None:
    pair = scripted_pair(TEXT, TEXT)
    method = build("small_only", {}, ["vote(ballots=2)"])
    trace = (await run(PROBLEM, method, pair, displays=True)).trace
    assert len(means(trace)) >= 4
    assert all(logprob == -0.1 for logprob, _ in means(trace))


async def test_an_engine_without_them_is_not_asked() -> None:
    abilities = ScriptedEngine("").abilities - {"logprobs", "top"}
    trace = await shown(scripted_pair(TEXT, TEXT, abilities=abilities), "random_switch")
    assert b"mean_" not in trace.dump()


async def test_a_watched_chain_replays_to_the_same_trace() -> None:
    pair = scripted_pair(TEXT, TEXT)
    trace = await shown(pair, "spec_rewrite")
    again = await run(PROBLEM, build("spec_rewrite", {}), Pair(*(ReplayEngine(trace, role, like) for role, like in pair.items())))
    assert again.trace.timeless() == trace.timeless()


class Refusing(ScriptedEngine):
    """Refuses calls that ask for likely tokens, as a server with a low limit does."""

    def _completion(self, prefix: Any, decoding: Any, seed: int) -> Any:
        if decoding.top_logprobs:
            raise EngineRefusedError("too many log-probabilities")
        return super()._completion(prefix, decoding, seed)


async def test_a_server_that_refuses_so_many_is_asked_for_none() -> None:
    trace = await shown(Pair(Refusing(TEXT, name="B"), Refusing(TEXT, name="S")), "random_switch")
    assert trace.ended
    assert b"mean_" not in trace.dump()


class Silent(FakeServer):
    """Sends no log-probabilities, although it was asked."""

    async def _tell(self, response: Any, said: Any) -> None:  # type: ignore[override]
        for choice in said["choices"]:
            choice.pop("logprobs", None)
        await super()._tell(response, said)


async def test_a_server_that_sends_none_still_writes_the_chain() -> None:
    async with Silent(ScriptedEngine(TEXT), kind="vllm") as server:
        engine = await OpenAIEngine.connect(server.url, tokenizer=ScriptedTokenizer(), dialect="chatml")
        async with Pair(engine, engine) as pair:
            trace = await shown(pair, "big_only")
    assert "\\boxed{42}" in trace.ledger.text("answer")
    assert b"mean_" not in trace.dump()


@pytest.mark.parametrize("name", quick_cases(["logprob_subselect", "trigger", "guide", "lead"]))
async def test_the_bundled_pair_writes_the_same(name: str) -> None:
    problem = Problem.of(EASY, seed=3, max_tokens=200)
    made = []
    for displays in (False, True):
        async with Pair.open() as pair:
            made.append((await run(problem, build(name, {}), pair, lambda _: None, displays=displays)).trace)
    assert plain(made[0]) == plain(made[1])
    assert any(isinstance(logprob, float) and isinstance(entropy, float) for logprob, entropy in means(made[1]))
