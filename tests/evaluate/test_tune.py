"""Choosing parameters: targets, candidates, replayed chains."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from easy import easy_problems
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn
from profiles import quick_cases
from strategies import babble

from speculative import Pair, Problem
from speculative.errors import UsageError
from speculative.evaluate.problems import TaskProblem, problems
from speculative.evaluate.runner import EvalCell, EvalRunner, MemoryStore
from speculative.evaluate.tasks import TASKS
from speculative.evaluate.tune.candidates import between, make_spec, parse_sweeps, percentile, percentile_of, threshold_at
from speculative.evaluate.tune.plan import TunePlan, split_problems
from speculative.evaluate.tune.replay import ReplayableChain, Replays, covers, exact_tunables, scores_of
from speculative.evaluate.tune.target import Figures, parse_target
from speculative.evaluate.tune.tuner import Tuner
from speculative.methods.mixture import fit_mixture
from speculative.methods.registry import build, find
from speculative.methods.tunable import Tunable
from speculative.runner import bundled_pair, run
from speculative.runs.folder import Run, RunFolder
from speculative.testing import ScriptedEngine
from speculative.trace.events import Accepted, Rejected, Wrote
from speculative.trace.trace import Trace

# ---- targets --------------------------------------------------------------------------------------------------------


def of(
    accuracy: float = 1.0, difference: float = 0.0, share: float = 0.2, cost: float | None = 2.0, relative: float | None = 0.5
) -> Figures:
    return Figures(10, accuracy, (0, 1), difference, (-1, 1), share, 30.0, cost, relative, "FLOP")


@pytest.mark.parametrize(
    ("text", "kept", "missed"),
    [
        ("accuracy within 1 point of big_only", of(difference=-0.01), of(difference=-0.02)),
        ("Accuracy within 2.5 points of big_only", of(difference=-0.025), of(difference=-0.03)),
        ("at most 20% big tokens", of(share=0.2), of(share=0.21)),
        ("at most 20 % of big tokens", of(share=0.0), of(share=1.0)),
        ("at most 50% of the cost of big_only", of(relative=0.5), of(relative=0.51)),
        ("at most 2 USD a chain", of(cost=2.0), of(cost=2.1)),
        ("at most 2e-3 per chain", of(cost=0.002), of(cost=0.0021)),
    ],
)
def test_a_target_is_a_bound(text: str, kept: Figures, missed: Figures) -> None:
    target = parse_target(text)
    assert target.gap(kept) == 0
    assert target.gap(missed) > 0
    assert target.rank(kept) < target.rank(missed)


def test_within_the_bound_the_other_figure_counts() -> None:
    close, few = parse_target("accuracy within 1 point of big_only"), parse_target("at most 50% big tokens")
    assert close.rank(of(share=0.1, accuracy=0.99)) < close.rank(of(share=0.2, accuracy=1.0))
    assert few.rank(of(share=0.4, accuracy=1.0)) < few.rank(of(share=0.1, accuracy=0.9))


@pytest.mark.parametrize(
    "text", ["", "fast", "accuracy within one point of big_only", "at most -1% big tokens", "at most 20% small tokens"]
)
def test_another_target_is_refused_with_the_forms(text: str) -> None:
    with pytest.raises(UsageError, match="'at most 20% big tokens'"):
        parse_target(text)


def test_a_price_needs_prices() -> None:
    with pytest.raises(UsageError, match="--prices"):
        parse_target("at most 1 a chain").gap(of(cost=None))


# ---- candidates -----------------------------------------------------------------------------------------------------

finite = st.floats(-50, 50)


@given(st.tuples(finite, finite).map(sorted).filter(lambda ends: ends[1] - ends[0] > 1e-9))
def test_a_short_number_lies_between_two_scores(ends: list[float]) -> None:
    low, high = ends
    assert low < between(low, high) < high
    assert between(0.21, 0.29) == 0.25
    assert len(str(between(-0.9, -0.4))) == len("-0.6")


@given(
    st.lists(finite.map(lambda score: round(score, 3)), min_size=2, max_size=60),
    st.sampled_from(["below", "at_most", "above", "at_least"]),
    st.data(),
)
def test_big_gets_about_the_share_of_turns(scores: list[float], big_if: Any, data: st.DataObject) -> None:
    tunable = Tunable("threshold", big_if)
    shares = sorted(data.draw(st.lists(st.floats(0, 1), min_size=2, max_size=2)))
    values = [threshold_at(tunable, scores, share) for share in shares]
    if len(set(scores)) == 1:
        assert values == [None, None]
        return
    turns = [sum(tunable.gives_big(score, value) for score in scores) for value in values if value is not None]
    assert turns[0] <= turns[1]
    most = max(scores.count(score) for score in set(scores))
    assert all(abs(turn - share * len(scores)) <= most + 1 for turn, share in zip(turns, shares, strict=True))
    assert turns[0] > 0
    assert turns[1] < len(scores)


def test_percentiles() -> None:
    assert percentile_of("p5") == 5
    assert percentile_of("p2.5") == 2.5
    assert percentile_of("-0.5") is percentile_of("p") is percentile_of("pink") is None
    assert percentile([1, 2, 3, 4], 2.5) == 50
    with pytest.raises(UsageError, match="from p0 to p100"):
        percentile_of("p101")


def test_sweeps() -> None:
    assert parse_sweeps(["threshold=-1, p5", "step-tokens=3"]) == {"threshold": ["-1", "p5"], "step_tokens": ["3"]}
    for wrong, told in [(["threshold"], "FIELD=VALUE"), (["=1"], "FIELD"), (["a=1", "a=2"], "swept once"), (["a=1,1"], "must differ")]:
        with pytest.raises(UsageError, match=told):
            parse_sweeps(wrong)


@given(st.integers(2, 90), st.floats(0.05, 0.95), st.integers(0, 3))
def test_problems_are_split(count: int, share: float, seed: int) -> None:
    some = problems("tuning")[:: 500 // count][:count]
    tuning, held_out = split_problems(some, share, seed)
    assert sorted(one.id for one in tuning + held_out) == sorted(one.id for one in some)
    assert tuning
    assert held_out
    assert abs(len(held_out) - share * len(some)) <= 1
    for level in {one.level for one in some}:
        here = [one.level for one in held_out].count(level)
        assert abs(here - share * [one.level for one in some].count(level)) <= 1.5


def test_one_problem_cannot_be_split() -> None:
    with pytest.raises(UsageError, match="at least 2 problems, got 1"):
        split_problems(problems("tuning")[:1], 0.5, 0)


# ---- replayed chains ------------------------------------------------------------------------------------------------

THRESHOLDS: dict[str, dict[str, Any]] = {
    "likelihood_verify": {"threshold": st.floats(-3, 0)},
    "policy": {"price": st.floats(0, 0.1)},
    "reward_guided": {"threshold": st.floats(0, 1)},
    "step_verify": {"threshold": st.floats(0, 9)},
    "best_step": {"threshold": st.floats(-3, 0)},
    "whole_draft": {"threshold": st.floats(-3, 0)},
    "entropy_switch": {"threshold": st.floats(0, 1)},
    "stitch": {"tau_up": st.floats(0, 1), "tau_down": st.floats(0, 1)},
    "trigger": {"rho": st.floats(0, 1)},
    "chunk_gate": {"percentile": st.floats(0, 1)},
    "confidence_route": {"threshold": st.floats(0, 1)},
}
FIXED: dict[str, dict[str, Any]] = {
    "best_step": {"versions": 2},
    "whole_draft": {"samples": 2},
    "stitch": {"chunk": 6, "big_chunk": 3},
    "trigger": {"prime": 0, "tau": 0.5},
    "chunk_gate": {"chunk": 7, "calibration": "1.1; 1.5; 2; 4; 9"},
}
WRITE = (Accepted, Rejected, Wrote)


@st.composite
def settings_of(draw: DrawFn, name: str) -> dict[str, Any]:
    return {**FIXED.get(name, {}), **{field: draw(values) for field, values in THRESHOLDS[name].items()}}


def chance(salt: int, text: str) -> float:
    """A number from 0 to 1 that hangs on a text."""
    return crc32(f"{salt}/{text}".encode()) % 997 / 997


def pair_of(salt: int, name: str) -> Pair:
    def top(seen: str) -> dict[str, float]:
        return {"x": -4 * chance(salt, seen[-3:]), "y": -6 * chance(salt + 1, seen[-3:])}

    engines = [
        ScriptedEngine(babble(salt + place), name=role, scores=lambda _, text: -3 * chance(salt, text), top=top)
        for place, role in enumerate(("big", "small"))
    ]
    judge = {"judge": ScriptedEngine("", name="judge", rewards=lambda text: chance(salt, text[-9:]))} if name == "reward_guided" else {}
    return Pair(*engines, **judge)


def chain(salt: int, name: str, params: dict[str, Any]) -> tuple[Trace, dict[str, Any]]:
    method, problem = build(name, params), Problem.of("6*7?", max_tokens=150, seed=salt)
    trace = asyncio.run(run(method.prepare(problem), method, pair_of(salt, name))).trace
    return trace, method.params


@pytest.mark.parametrize("name", sorted(THRESHOLDS))
@given(st.data(), st.integers(0, 1 << 20))
def test_a_chain_stands_for_every_value_that_changes_no_decision(name: str, data: st.DataObject, salt: int) -> None:
    mine, other = data.draw(settings_of(name)), data.draw(settings_of(name))
    trace, params = chain(salt, name, mine)
    method = build(name, mine)
    scores = scores_of(method, trace)
    assert set(scores) == {tunable.field for tunable in exact_tunables(method)} == set(THRESHOLDS[name])
    recorded = ReplayableChain(sample_of(trace, params), scores)
    assert covers(recorded, exact_tunables(method), params)
    if covers(recorded, exact_tunables(build(name, other)), build(name, other).params):
        again, _ = chain(salt, name, other)
        assert without_thresholds(again) == without_thresholds(trace)


@pytest.mark.parametrize("name", ["likelihood_verify", "reward_guided", "entropy_switch", "trigger"])
@given(st.data(), st.integers(0, 1 << 20))
def test_a_replayed_decision_is_that_of_the_run(name: str, data: st.DataObject, salt: int) -> None:
    mine = data.draw(settings_of(name))
    trace, params = chain(salt, name, mine)
    (tunable,) = exact_tunables(build(name, mine))
    events = [event for event in trace if isinstance(event, Accepted | Rejected) and event.judgement]
    replayed = [tunable.gives_big(score, params[tunable.field]) for score in scores_of(build(name, mine), trace)[tunable.field]]
    assert replayed == [isinstance(event, Rejected) for event in events]


def sample_of(trace: Trace, params: dict[str, Any]) -> Any:
    class Kept:
        pass

    kept: Any = Kept()
    kept.params = params
    return kept


def without_thresholds(trace: Trace) -> list[Any]:
    """The events of a chain without times, and without the values of the parameters."""

    def bare(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: bare(inner) for key, inner in value.items() if key not in ("threshold", "params", "reason")}
        return [bare(inner) for inner in value] if isinstance(value, list | tuple) else value

    return [bare(event) for event in trace.timeless()]


def test_smalls_gate_and_questions_are_not_replayed() -> None:
    assert exact_tunables(build("step_verify", {"gate": "small"})) == []
    assert exact_tunables(build("best_step", {"by": "question"})) == []


# ---- the bundled pair -----------------------------------------------------------------------------------------------


def plan_of(
    folder: RunFolder, method: str, count: int, target: str | None = "accuracy within 10 points of big_only", **more: Any
) -> TunePlan:
    some = more.pop("some", None) or easy_problems(count)
    tuning, held_out = split_problems(some, 0.5, 0) if target else (list(some), [])
    problem = Problem.of("each", max_tokens=300)

    def cell(one: Any, chosen: Any) -> EvalCell:
        return EvalCell(TASKS["tunnel"], one, chosen, problem)

    values: dict[str, Any] = {"params": {}, "sweeps": {}, "candidates": 8, **more}
    goal = parse_target(target) if target else None
    return TunePlan(method, values["params"], values["sweeps"], goal, tuning, held_out, cell, "flops", None, values["candidates"])


def chosen(folder: Path, method: str, count: int = 6, **more: Any) -> Any:
    async def work() -> Any:
        with RunFolder(folder) as kept:
            return await Tuner(plan_of(kept, method, count, **more), kept).choose(EvalRunner.on(bundled_pair(), kept, chains=8))

    return asyncio.run(work())


def test_a_target_in_another_unit_is_refused() -> None:
    target = parse_target("at most 0.5 USD a chain")
    target.check_unit("usd", "api")
    parse_target("at most 0.5 a chain").check_unit("FLOP", "flops")
    with pytest.raises(UsageError, match="a target in USD must have a price view in it, got --cost flops, in FLOP; choose another --cost"):
        target.check_unit("FLOP", "flops")


@pytest.mark.parametrize(
    ("method", "values"),
    quick_cases(
        [
            ("entropy_switch", ["4", "3.5", "0.05"]),  # no entropy lies between the first two
            ("likelihood_verify", ["-9", "-8", "-0.02"]),
            ("best_step", ["-9", "-8", "-0.2"]),
        ]
    ),
)
def test_a_chain_that_is_taken_over_is_the_one_that_would_be_run(tmp_path: Path, method: str, values: list[str]) -> None:
    field = "threshold"
    choice = chosen(tmp_path, method, 2, target=None, sweeps={field: values})
    assert choice.replayed
    assert choice.best is None

    async def work() -> None:
        with RunFolder(tmp_path) as kept, RunFolder(tmp_path / "fresh") as fresh:
            plan, replays = plan_of(kept, method, 2, None), Replays(kept)
            for sample in kept.samples:
                if sample.method == method:
                    replays.add(sample, build(method, sample.params))
            for value in values:
                cell, again = (plan.cell(make_spec(method, {field: value}), plan.tuning) for _ in range(2))
                replays.fill(cell)
                await EvalRunner.on(bundled_pair(), fresh, chains=8).run_cells([again])
                for place, sample in cell.done.items():
                    other = again.done[place]
                    assert (sample.answer, sample.correct, sample.params) == (other.answer, other.correct, other.params)
                    assert all(
                        (one.produced_tokens, one.kept_tokens) == (sample.usage[role].produced_tokens, sample.usage[role].kept_tokens)
                        for role, one in other.usage.items()
                    )

    asyncio.run(work())


@pytest.mark.slow
def test_the_choice_is_held_against_the_target_and_reported_on_other_problems(tmp_path: Path) -> None:
    choice = chosen(tmp_path, "likelihood_verify", 8)
    assert choice.met
    assert choice.best.figures.difference >= -0.1
    assert choice.held_out.chains == choice.held_out_baseline.chains == 4
    assert choice.best.candidate.percentiles.keys() == {"threshold"}
    assert choice.run
    again = chosen(tmp_path, "likelihood_verify", 8)
    assert again.run == 0
    assert again.best == choice.best
    assert again.held_out == choice.held_out


def _right(some: list[TaskProblem], method: str) -> set[str]:
    """The ids of the problems that a method solves."""

    async def work() -> set[str]:
        store = MemoryStore()
        cell = EvalCell(TASKS["tunnel"], make_spec(method, {}), some, Problem.of("each", max_tokens=300))
        await EvalRunner.on(bundled_pair(), store, chains=8).run_cells([cell])
        return {sample.problem for sample in store.samples if sample.correct}

    return asyncio.run(work())


@pytest.mark.slow
def test_a_strict_bound_is_looked_for_among_settings_with_more_of_big(tmp_path: Path) -> None:
    some = [one for one in problems("tuning") if one.level == 1][:24]
    right = {name: _right(some, name) for name in ("big_only", "small_only")}
    hard = [one for one in some if one.id in right["big_only"] - right["small_only"]][:6]
    choice = chosen(tmp_path, "entropy_switch", some=hard, target="accuracy within 0 points of big_only")
    assert any(one.figures.difference < 0 for one in choice.candidates)  # some do not keep the bound
    assert max(one.figures.share_kept for one in choice.candidates) > 0.5  # so settings with more of big were run
    assert choice.best.figures.accuracy == max(one.figures.accuracy for one in choice.candidates)


def test_a_target_out_of_reach_gives_no_held_out_figures(tmp_path: Path) -> None:
    choice = chosen(tmp_path, "random_switch", 4, target="at most 0% big tokens", sweeps={"big_share": ["0.5", "1"]})
    assert not choice.met
    assert choice.held_out is None


@pytest.mark.slow
@pytest.mark.parametrize(("method", "count"), [("confidence_route", 6), ("policy", 4), ("chunk_gate", 4)])
def test_parameters_are_fitted_to_chains(tmp_path: Path, method: str, count: int) -> None:
    given = {"chunk": 16} if method == "chunk_gate" else {}
    choice = chosen(tmp_path, method, count, target="at most 90% big tokens", params=given)
    params = choice.best.candidate.params
    if method == "confidence_route":
        assert 0 < params["low_mean"] < params["high_mean"] <= 1
    elif method == "policy":
        assert '"by":"likelihood"' in params["fit"]
    else:
        assert len(params["calibration"].split(";")) > 5
    assert find(method).probe.keys() & params.keys() <= {"threshold", "percentile", "calibration"}


@pytest.mark.slow
def test_many_candidates_are_first_run_on_a_part(tmp_path: Path) -> None:
    choice = chosen(tmp_path, "trigger", 4, target="at most 60% big tokens", params={"tau": 0.995}, candidates=5)
    assert len([one for one in choice.candidates if one.candidate.percentiles]) >= 5
    assert {one.figures.chains for one in choice.candidates} == {2}


def test_a_method_without_scores_that_differ_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="name values with --sweep"):
        chosen(tmp_path, "big_only", 4)
    with pytest.raises(UsageError, match="name values with --sweep"):
        chosen(tmp_path, "likelihood_verify", 4, params={"threshold": -0.5})
    with pytest.raises(UsageError, match="did you mean 'threshold'"):
        chosen(tmp_path, "likelihood_verify", 4, sweeps={"treshold": ["-0.5"]})
    assert not Run(tmp_path).samples


# ---- the mixture ----------------------------------------------------------------------------------------------------


def test_a_mixture_is_found_again() -> None:
    low, high = [0.9 + 0.01 * (number % 9 - 4) for number in range(90)], [0.99 + 0.001 * (number % 5 - 2) for number in range(210)]
    found = fit_mixture([*low, *high])
    assert found
    assert found.low_mean == pytest.approx(0.9, abs=0.01)
    assert found.high_mean == pytest.approx(0.99, abs=0.002)
    assert found.low_share == pytest.approx(0.3, abs=0.05)
    assert found == fit_mixture([*high, *low])
    assert fit_mixture([0.5] * 50) is fit_mixture([0.1, 0.9]) is None


@given(st.lists(st.floats(0, 1), min_size=10, max_size=40))
def test_any_values_give_a_valid_method(values: list[float]) -> None:
    if found := fit_mixture(values):
        build("confidence_route", found.rounded())
