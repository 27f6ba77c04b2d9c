"""The evaluation loop, its seeds and its samples."""

import pytest
from easy import easy_problems
from strategies import Mortal

from speculative import EngineError, Pair, Problem
from speculative._plugins import split_spec
from speculative.evaluate.problems import problems, spread
from speculative.evaluate.runner import EvalCell, EvalRunner, MemoryStore, derive_seed
from speculative.evaluate.tasks import task
from speculative.methods.spec import parse_method, parse_methods
from speculative.stats.cost import costs
from speculative.stats.summary import summarize
from speculative.testing import ScriptedEngine
from speculative.trace.usage import total_usage

SCRIPT = "Let us see.\n\nSo it is.</think>\n\nThe answer is \\boxed{174}."


async def run_cells(pair, spec, stated, problem, *, epochs=1, chains=1, engines=None):
    """Runs the methods on the problems, in memory. Returns the samples in the order in which they were kept."""
    store = MemoryStore()
    cells = [EvalCell(task("tunnel"), one, stated, problem, epochs=epochs, engines=engines) for one in parse_methods(spec)]
    await EvalRunner.on(pair, store, chains=chains).run_cells(cells)
    return store.samples


async def samples_of(spec, script=SCRIPT, limit=6, epochs=1, chains=3, seed=0):
    engines = [ScriptedEngine(script, width=2) for _ in range(2)]
    async with Pair(*engines) as pair:
        return await run_cells(pair, spec, spread(problems(), limit), Problem.of("x", seed=seed), epochs=epochs, chains=chains)


async def test_every_method_meets_the_same_problems_with_the_same_seeds():
    found = await samples_of("big_only,random_switch", epochs=2)
    met = {label: {(s.problem, s.epoch, s.seed) for s in found if s.label == label} for label in ("big_only", "random_switch")}
    assert met["big_only"] == met["random_switch"]
    assert len({s.seed for s in found}) == 12


def test_a_seed_depends_on_its_place_alone():
    assert derive_seed(0, "a", 0) == derive_seed(0, "a", 0)
    assert len({derive_seed(0, "a", 0), derive_seed(1, "a", 0), derive_seed(0, "b", 0), derive_seed(0, "a", 1)}) == 4


async def test_a_chain_that_one_model_finished_alone_says_so():
    dead, alive = Mortal(SCRIPT, name="big", lives=0), ScriptedEngine(SCRIPT, name="small")
    async with Pair(dead, alive) as pair:
        samples = await run_cells(pair, "big_only,small_only", spread(problems(), 1), Problem.of("x", degrade="small"))
    assert {sample.label: sample.degraded for sample in samples} == {"big_only": "big", "small_only": None}


async def test_cached_tokens_of_other_chains_are_counted():
    async with Pair.open() as pair:
        samples = await run_cells(pair, "big_only,vote(ballots=2)*big_only", easy_problems(1), Problem.of("x"), epochs=2)
    first, *others = [sample.shared_cache_tokens["big"] for sample in samples]
    assert first == 0
    assert all(shared > 0 for shared in others)


async def test_a_chain_costs_the_same_after_others_of_the_same_words():
    async def cost(spec: str) -> tuple[int, float]:
        async with Pair.open() as pair:
            engines = {"big": "bundled:big", "small": "bundled:small"}
            samples = await run_cells(pair, spec, easy_problems(2), Problem.of("x"), engines=engines)
        chains = [sample for sample in samples if sample.label == "random_switch(big_share=0.5)"]
        return total_usage(sample.usage for sample in chains)["big"].cached_tokens, costs(chains)["flops"].chain

    cached, alone = await cost("random_switch(big_share=0.5)")
    found, after = await cost("random_switch(big_share=0.49),random_switch(big_share=0.5)")
    assert found > cached + 100  # nearly all of the chains' words were there
    assert after == pytest.approx(alone, rel=0.02)


async def test_a_failing_engine_surfaces_and_stops_the_comparison():
    def broken(seen, seed):
        raise EngineError("the engine is broken")

    with pytest.raises(EngineError, match="broken"):
        await samples_of("big_only,small_only", broken)


async def test_standings_keep_the_order_and_sum_the_usage():
    found = await samples_of("small_only,big_only", limit=10)
    small, big = summarize(found[::-1], ["small_only", "big_only"])
    assert (small.label, big.label) == ("small_only", "big_only")
    assert big.usage["big"].produced_tokens == sum(s.usage["big"].produced_tokens for s in found if s.label == "big_only")
    assert small.speed == pytest.approx(big.seconds / small.seconds, rel=0.01)
    assert (big.share_kept, small.share_kept) == (1, 0)


async def test_the_first_of_several_baselines_is_the_baseline():
    methods = "big_only,big_only(sequential_scale=1)"
    rows = summarize(await samples_of(methods, limit=10), ["big_only", "big_only(sequential_scale=1)"])
    assert rows[0].speed == 1


async def test_without_the_baseline_there_is_no_speed():
    (row,) = summarize(await samples_of("small_only"))
    assert row.speed is None


def test_a_spec_is_a_method_in_its_wrappers():
    made = parse_method("early_exit*vote(ballots=3, answer_by=big)*random_switch(big-share=0.2)")
    assert made.name == "early_exit*vote*random_switch"
    assert made.params["big_share"] == 0.2
    assert made.params["vote"].items() >= {"answer_by": "big", "ballots": 3}.items()


def test_commas_in_brackets_part_nothing():
    assert split_spec("a(b=1,c=(2,3)),d*e", ",") == ["a(b=1,c=(2,3))", "d*e"]


async def test_a_method_under_two_labels_is_run_once():
    engines = [ScriptedEngine(SCRIPT, width=2) for _ in range(2)]
    async with Pair(*engines) as pair:
        alone = await run_cells(pair, "big_only", spread(problems(), 3), Problem.of("x"))
        calls = len(engines[0].calls)
        both = await run_cells(pair, "big_only,big_only()", spread(problems(), 3), Problem.of("x"))
    assert len(engines[0].calls) == 2 * calls
    assert [sample.label for sample in both] == ["big_only"] * 3 + ["big_only()"] * 3
    assert [sample.answer for sample in both[3:]] == [sample.answer for sample in both[:3]] == [sample.answer for sample in alone]
