"""`--profile`: what chains would cost on the hardware of a profile."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec import structs

from speculative.cli import run
from speculative.cli._hardware import HardwareFlags, with_prices
from speculative.plan.profile import load_profile
from speculative.plan.recorded import RecordedCall, RecordedChain
from speculative.report.hardware import HardwareCard, HardwareForecast

PROFILE = ["--profile", "h200-32b-1.5b", "--gpu-hour", "3.6"]
COMPARE = ["compare", "--methods", "big_only,small_only", "--limit", "2", "--max-tokens", "120", "--no-controls"]


@pytest.mark.slow
def test_a_comparison_prices_its_own_chains_with_and_without_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found: list[list[dict[str, object]]] = []
    for more in ([], ["--out", str(tmp_path / "run")]):
        assert run([*COMPARE, *PROFILE, "--json", *more]) == 0
        found += [[row["on_hardware"] for row in json.loads(capsys.readouterr().out)]]
    big, small = found[0]
    assert [one["chains"] for one in big] == [1, 16, 64, 256]  # pyright: ignore
    for one, other in zip(big, small, strict=True):
        assert one["money"] == pytest.approx(one["gpu_s"] / 1000)  # pyright: ignore
        assert other["latency_s"] < one["latency_s"]  # pyright: ignore
    assert [[one["chains"] for one in rows] for rows in found[1]] == [[1, 16, 64, 256]] * 2  # pyright: ignore
    assert run(["report", str(tmp_path / "run"), *PROFILE, "--json"]) == 0
    reported = {row["label"]: row["on_hardware"] for row in json.loads(capsys.readouterr().out)}
    assert [reported["big_only"], reported["small_only"]] == found[1]
    assert run(["report", str(tmp_path / "run"), *PROFILE]) == 0
    told = capsys.readouterr()
    assert "big_only" in told.out
    assert "predicted for these chains on the hardware of profile h200-32b-1.5b" in told.err


def test_a_report_tells_the_hardware_and_the_chains_for_an_hour(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*COMPARE, "--out", str(tmp_path / "run"), "--json"]) == 0
    capsys.readouterr()
    assert run(["report", str(tmp_path / "run"), *PROFILE, "--json"]) == 0
    for row in json.loads(capsys.readouterr().out):
        card = row["hardware"]
        assert (card["profile"], card["layout"], card["gpus"], card["gpu_hour"]) == ("h200-32b-1.5b", "c", 2, 3.6)
        assert "H200" in card["hardware"]
        assert "vLLM" in card["software"]
        assert card["date"].startswith("20")
        for one in row["on_hardware"]:
            assert one["chains_per_gpu_hour"] == pytest.approx(3600 / one["gpu_s"])
    assert run(["report", str(tmp_path / "run"), "--json"]) == 0
    assert not any("hardware" in row for row in json.loads(capsys.readouterr().out))


def test_a_judged_method_has_a_layout_of_its_own() -> None:
    h200 = load_profile("h200-32b-1.5b")
    call = RecordedCall("judge", 100, 0, 0, "rewarded", 0, 0.0, 1.0)
    flags = HardwareFlags("h200-32b-1.5b")
    priced = flags.price({("t", "reward_guided"): [RecordedChain("reward_guided", (call,), 5)]})
    card = HardwareCard.of(h200, "", "c", None)
    (row,) = with_prices([{"task": "t", "label": "reward_guided"}], priced, card)
    assert (row["hardware"]["layout"], row["hardware"]["gpus"]) == ("c+judge", 3)
    shown = HardwareForecast.of(card, priced).card
    assert (shown.layout, shown.gpus) == ("c", 2)
    assert shown.placed.endswith("; c+judge for methods with a judge: big and small on a GPU each, a judge on its own")


def test_chains_that_the_hardware_cannot_hold_have_no_price(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    h200, tiny = load_profile("h200-32b-1.5b"), tmp_path / "tiny.json"
    structs.replace(h200, big=structs.replace(h200.big, cache_tokens=10)).save(tiny)
    assert run([*COMPARE, "--profile", str(tiny), "--json"]) == 0
    told = capsys.readouterr()
    assert not any("on_hardware" in row for row in json.loads(told.out))
    assert "not priced: a text of" in told.err


def test_without_a_profile_there_is_no_such_price(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*COMPARE, "--json"]) == 0
    assert not any("on_hardware" in row for row in json.loads(capsys.readouterr().out))


@pytest.mark.slow
def test_advice_has_forecasts_of_methods_that_can_be_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["methods", "--for", "low latency", *PROFILE, "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["likelihood_verify"]["on_hardware"][0]["against_big"] > 1.5
    assert any("on_hardware" not in row for row in rows.values())
    assert run(["methods", "--for", "low latency", *PROFILE]) == 0
    told = capsys.readouterr()
    assert "likelihood_verify" in told.out
    assert "drawn chains of 1,000 tokens" in told.err


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ([*COMPARE, "--profile", "none.json"], "profile none.json cannot be read"),
        ([*COMPARE, *PROFILE, "--layout", "z"], "layout must be one of"),
        ([*COMPARE, "--profile", "h200-32b-1.5b", "--gpu-hour", "-1"], "--gpu-hour must be at least 0"),
        (["methods", *PROFILE], "--profile must come with --for"),
    ],
)
def test_bad_hardware_is_refused_before_any_chain_runs(words: list[str], error: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words) == 2
    assert error in capsys.readouterr().err
