"""Forecasts, recorded chains, and the command."""

from __future__ import annotations

import asyncio
import json
import re
from itertools import pairwise
from pathlib import Path

import pytest
from msgspec import structs

import speculative
from speculative import solve
from speculative.cli import run as command
from speculative.cli._hardware import show_forecasts
from speculative.errors import UsageError
from speculative.pair import Pair
from speculative.plan.clock import VirtualClock
from speculative.plan.forecast import Scenario, check_scenario, forecast, forecasts
from speculative.plan.layout import LAYOUTS, find_layout
from speculative.plan.profile import load_profile
from speculative.plan.programs import PROGRAMS, Drawn
from speculative.plan.recorded import RecordedCall, RecordedChain, read_chains
from speculative.testing import ScriptedEngine
from speculative.trace.trace import Trace

H200 = load_profile("h200-32b-1.5b")
SHORT = Drawn(length=400)


def test_checked_steps_win_alone_and_lose_under_load() -> None:
    alone, crowded = forecasts(H200, [Scenario("step_verify", "c", 1, SHORT), Scenario("step_verify", "c", 256, SHORT)])
    assert alone.against_big
    assert crowded.against_big
    assert alone.against_big > 2
    assert crowded.against_big < 0.6


def test_more_chains_never_give_more_gpu_time_a_token_to_big_alone() -> None:
    found = forecasts(H200, [Scenario("big_only", "d", count, SHORT) for count in (1, 4, 16, 64, 256)])
    assert [one.gpu_s for one in found] == sorted((one.gpu_s for one in found), reverse=True)
    assert all(one.against_big == 1 for one in found)
    assert all(sum(one.spent.values()) == pytest.approx(1) for one in found)


def test_money_is_the_price_of_all_gpus_of_the_layout() -> None:
    found = forecast(H200, Scenario("big_only", "c", 1, SHORT), hour=3.0)
    assert found.money == pytest.approx(found.wall_s * 2 / 3600 * 3.0)
    assert forecast(H200, Scenario("big_only", "d", 1, SHORT), hour=3.0).money == pytest.approx(found.money / 2)


def test_processes_change_nothing() -> None:
    scenarios = [Scenario("step_verify", "c", count, SHORT) for count in (2, 3)]
    assert forecasts(H200, scenarios, processes=2) == forecasts(H200, scenarios)


def test_one_chain_is_no_luck_of_its_decisions() -> None:
    """A chain of 8 steps has 0 to 8 rejections: one draw would give several acceptances the same figures."""
    found = [forecast(H200, Scenario("step_verify", "c", 1, structs.replace(SHORT, acceptance=share))) for share in (0.6, 0.7, 0.8, 0.9)]
    speeds = [one.tokens_s for one in found]
    assert all(above > 1.05 * below for below, above in pairwise(speeds))
    assert all(one.fast_s < one.latency_s < one.slow_s for one in found)
    long = forecast(H200, Scenario("step_verify", "c", 1, Drawn(length=4000)))
    assert long.tokens_s == pytest.approx(speeds[2], rel=0.1)


@pytest.mark.parametrize(("chains", "draws"), [(1, 64), (16, 16), (64, 4), (256, 1), (300, 1)])
def test_few_chains_are_drawn_often_and_many_once(chains: int, draws: int) -> None:
    scenario = Scenario("step_verify", "c", chains, SHORT)
    assert scenario.draws == draws
    if chains == 1:
        assert forecast(H200, scenario).draws == draws


def test_long_chains_are_drawn_less_often() -> None:
    assert 2 < forecast(H200, Scenario("step_verify", "c", 1, Drawn(length=20_000))).draws < 64


def test_a_method_without_decisions_has_no_spread() -> None:
    one = forecast(H200, Scenario("big_only", "d", 1, SHORT))
    assert one.fast_s == one.latency_s == one.slow_s


def test_each_recorded_chain_is_in_a_draw() -> None:
    chains = tuple(RecordedChain("any", (RecordedCall("big", 10, size, 0, "write", 0, 0.0, 1.0),), size) for size in (10, 100, 400))
    alone = [forecast(H200, Scenario("any", "d", 1, SHORT, (chain,))) for chain in chains]
    found = forecast(H200, Scenario("any", "d", 1, SHORT, chains))
    assert (found.draws, found.latency_s) == (3, alone[1].latency_s)
    assert found.tokens_s == pytest.approx(510 / sum(one.wall_s for one in alone))
    assert found.gpu_s == pytest.approx(sum(one.gpu_s for one in alone) / 3)
    assert forecast(H200, Scenario("any", "d", 2, SHORT, chains)).draws == 2


@pytest.mark.parametrize(
    ("scenario", "role", "tokens"),
    [
        (Scenario("step_verify", "c", 1, Drawn(prompt=10_000_000)), "small", 10_000_050),
        (Scenario("big_only", "c", 1, Drawn(length=229_376)), "big", 229_632),
        (Scenario("big_only", "e", 1, Drawn(length=150_000)), "big", 150_256),
        (
            Scenario("any", "c", 3, SHORT, (RecordedChain("any", (RecordedCall("judge", 300_000, 1, 0, "scored", 0, 0.0, 1.0),), 5),)),
            "big",
            300_001,
        ),
    ],
)
def test_a_text_that_no_cache_holds_is_an_error(scenario: Scenario, role: str, tokens: int) -> None:
    with pytest.raises(UsageError, match=f"a text of {tokens} tokens must fit into the cache of {role}, got"):
        forecast(H200, scenario)


def test_a_profile_with_a_tiny_cache_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny = tmp_path / "tiny.json"
    structs.replace(H200, small=structs.replace(H200.small, cache_tokens=10)).save(tiny)
    assert command(["plan", "step_verify", "--profile", str(tiny)]) == 2
    assert "must fit into the cache of small, got 10 tokens" in capsys.readouterr().err


def test_a_layout_without_a_server_is_refused() -> None:
    with pytest.raises(UsageError, match="must have a server for small, got layout d"):
        check_scenario(Scenario("step_verify", "d", 1, SHORT))


def judged(*sizes: int) -> Scenario:
    """Small writes, and a judge reads."""
    calls = [
        RecordedCall(role, size, tokens, 0, "call", 0, at, at + 0.5)
        for at, (role, size, tokens) in enumerate((("small", 100, 50), *(("judge", size, 0) for size in sizes)))
    ]
    return Scenario("reward_guided", "c", 1, SHORT, (RecordedChain("reward_guided", tuple(calls), 50),))


def test_a_judge_gets_a_gpu_of_its_own() -> None:
    scenario = check_scenario(judged(1000))
    assert scenario.layout == "c+judge"
    assert find_layout(scenario.layout).gpus == 3
    (found,) = forecasts(H200, [scenario], hour=1.0)
    assert found.gpu_s == pytest.approx(3 * found.latency_s)
    assert found.busy["judge 0"] > 0 == found.busy["big 0"]
    (big,) = forecasts(H200, [Scenario("big_only", "a+big", 1, Drawn(length=50, prompt=100))])
    assert find_layout("a+big").gpus == 3
    assert found.against_big == pytest.approx(found.tokens_s / big.tokens_s)  # on as many GPUs


def test_a_judge_costs_what_the_profile_says_or_as_much_as_big(tmp_path: Path) -> None:
    scenario, own = check_scenario(judged(1000, 2000)), structs.replace(H200.small, read=((1, 1000.0),))
    assert forecast(H200, scenario) == forecast(structs.replace(H200, judge=H200.big), scenario)
    assert forecast(H200, scenario).latency_s > forecast(structs.replace(H200, judge=H200.small), scenario).latency_s
    assert forecast(structs.replace(H200, judge=own), scenario).latency_s > 2
    structs.replace(H200, judge=own).save(tmp_path / "own.json")
    assert load_profile(tmp_path / "own.json").judge == own
    structs.replace(H200, judge=structs.replace(own, call_ms=-1)).save(tmp_path / "wrong.json")
    with pytest.raises(UsageError, match=r"judge\.call_ms must be at least 0, got -1"):
        load_profile(tmp_path / "wrong.json")


@pytest.mark.parametrize("name", ["c+x", "+judge", "c+", "judge", "c judge"])
def test_an_unknown_layout_names_those_that_there_are(name: str) -> None:
    with pytest.raises(UsageError, match=rf"layout must be one of a: .*, got '{re.escape(name)}'; \+big .* and \+judge"):
        find_layout(name)


def test_a_plan_of_a_judged_chain_states_its_layout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    engines = [ScriptedEngine("One.\n\nTwo.\n\n</think>42", name=role) for role in ("big", "small")]
    pair = Pair(*engines, ScriptedEngine("", name="judge", rewards=lambda text: 0.9))
    solve("?", "reward_guided", pair=pair).trace.save(tmp_path / "t.jsonl")
    assert command(["plan", "--trace", str(tmp_path), "--chains", "1", "--profile", "h200-32b-1.5b"]) == 0
    told = capsys.readouterr()
    assert "c+judge" in told.out
    assert "the judge is priced as a server like big's on a GPU of its own" in told.err


def recorded(tmp_path: Path, method: str, **params: object) -> Path:
    text = "One.\n\nTwo.\n\nThree is here.\n\nFour.</think>\n\nThe answer is \\boxed{4}."
    pair = Pair(ScriptedEngine(text), ScriptedEngine(text))
    (tmp_path / "traces").mkdir(exist_ok=True)
    result = speculative.solve("How many?", method=method, pair=pair, **params)
    path = tmp_path / "traces" / f"{method}.jsonl"
    result.trace.save(path)
    return path


@pytest.mark.parametrize("method", ["big_only", "step_verify", "likelihood_verify", "cascade", "random_switch", "best_step"])
def test_a_recorded_chain_makes_its_calls(tmp_path: Path, method: str) -> None:
    path = recorded(tmp_path, method)
    (chain,) = read_chains(path)
    usage = Trace.load(path).usage()
    clock = VirtualClock(H200, LAYOUTS["c"])
    (done,) = clock.run([chain.program()])
    assert done.seconds > 0
    for role, cost in usage.items():
        made = [call for call in chain.calls if call.role == role]
        assert len(made) >= cost.requests
        assert sum(call.tokens for call in made) == cost.produced_tokens
        assert done.written.get(role, 0) == sum(max(1, call.tokens) for call in made)


def test_calls_that_overlapped_overlap_again() -> None:
    calls = [("small", 0.0, 1.0), ("small", 1.0, 2.0), ("big", 1.0, 3.0), ("small", 3.0, 4.0)]
    made = tuple(RecordedCall(role, 10, 20, 0, "write", 0, began, ended) for role, began, ended in calls)
    clock = VirtualClock(H200, LAYOUTS["c"])
    (chain,) = clock.run([RecordedChain("any", made, 80).program()])
    big, small = (sum(seconds for key, seconds in chain.spent.items() if key[0] == role) for role in ("big", "small"))
    assert chain.seconds == pytest.approx(small / 3 * 2 + big)  # the second call of small runs beside that of big


def test_the_command_prints_each_method_at_each_load(capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["plan", "--length", "200", "--chains", "1", "--chains", "4", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["method"], row["chains"]) for row in rows] == [(name, count) for count in (1, 4) for name in PROGRAMS]
    assert command(["plan", "step_verify", "--length", "200", "--gpu-hour", "2"]) == 0
    shown = capsys.readouterr().out
    assert "money a chain" in shown
    assert "5% to 95%" in shown
    assert all(f" {count} " in shown for count in (1, 16, 64, 256))


def test_the_command_replays_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recorded(tmp_path, "best_step")
    recorded(tmp_path, "big_only")
    for method, methods in (("all", ["best_step", "big_only"]), ("best_step", ["best_step"])):
        assert command(["plan", method, "--trace", str(tmp_path), "--chains", "5", "--json"]) == 0
        assert [row["method"] for row in json.loads(capsys.readouterr().out)] == methods


def test_the_table_cuts_no_figure(capsys: pytest.CaptureFixture[str]) -> None:
    one = forecast(H200, Scenario("likelihood_verify,pipeline=accept", "c", 1, SHORT), hour=1.0)
    show_forecasts([structs.replace(one, chains=100_000, fast_s=12345.6, slow_s=99999.9, latency_s=54321.0, layout="e-mps")])
    shown = capsys.readouterr().out
    assert "54321 s" in shown
    assert "12346 to 100000" in shown
    assert "…" not in shown
    assert "e+" not in shown


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["nonsense"], "unknown method to draw 'nonsense'"),
        (["--profile", "nothing"], "profile nothing cannot be read"),
        (["--layout", "z"], "layout must be one of"),
        (["step_verify", "--layout", "a"], "must have a server for small"),
        (["--acceptance", "2"], "--acceptance must be from 0 to 1, got 2"),
        (["--chains", "0"], "--chains must be from 1"),
        (["--chains", "100001"], "--chains must be from 1 to 100000, got 100001"),
        (["--gpu-hour", "-1"], "--gpu-hour must be at least 0"),
        (["--trace", "nowhere"], "trace nowhere must exist"),
        (["--length", "0"], "must be at least 1, got 0"),
    ],
)
def test_bad_flags_are_one_line(flags: list[str], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["plan", *flags]) == 2
    told = capsys.readouterr().err
    assert reason in told
    assert "Traceback" not in told


def test_a_forecast_runs_beside_an_event_loop() -> None:
    async def work() -> float:
        return (await asyncio.to_thread(forecast, H200, Scenario("big_only", "d", 1, SHORT))).tokens_s

    assert asyncio.run(work()) > 0
