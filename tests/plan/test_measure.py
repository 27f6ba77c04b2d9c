"""Profiles that are measured on engines. No test looks at a time, but for its order."""

from __future__ import annotations

from pathlib import Path

import pytest

from speculative.cli import run as command
from speculative.engines.http.engine import OpenAIEngine
from speculative.engines.http.load import ServerLoad, add_loads, read_load
from speculative.errors import UsageError
from speculative.plan.measure import BATCHES, READS, ServerMeter, rising, unbuffered
from speculative.plan.profile import load_profile
from speculative.testing import ScriptedEngine, ScriptedTokenizer
from speculative.testing.fake_server import FakeServer

VLLM = """# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 3.0
vllm:num_requests_running{engine="1",model_name="m"} 2.0
vllm:num_requests_waiting{engine="0",model_name="m"} 4.0
vllm:num_requests_waiting_by_reason{engine="0",model_name="m",reason="capacity"} 4.0
vllm:time_to_first_token_seconds_sum{engine="0",model_name="m"} 1.5
vllm:time_to_first_token_seconds_count{engine="0",model_name="m"} 30.0
vllm:cache_config_info{block_size="16",cache_dtype="auto",engine="0",num_gpu_blocks="1000",num_cpu_blocks="None"} 1.0
"""


def endless(seen: str, seed: int) -> str:
    return "abc " * 4000


def test_the_load_of_a_server_is_read_from_its_metrics() -> None:
    assert read_load(VLLM) == ServerLoad(5, 4, 1.5, 30, 16000, 16)
    assert read_load("sglang:num_running_reqs 2.0\nsglang:num_queue_reqs 1.0\n") == ServerLoad(2, 1)
    assert read_load("llamacpp:requests_processing 2\nllamacpp:requests_deferred 1\n") == ServerLoad(2, 1)
    assert read_load("") is None
    assert read_load("vllm:num_requests_running nonsense\n") is None


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "-5", "1e308", "1e12"])
def test_impossible_numbers_tell_no_load(value: str) -> None:
    assert read_load(f"vllm:num_requests_running {value}\n") is None
    assert read_load(f"vllm:num_requests_running 1\nvllm:num_requests_waiting {value}\n") == ServerLoad(1, 0)


def test_an_impossible_cache_has_no_size() -> None:
    huge = 'vllm:cache_config_info{block_size="16",num_gpu_blocks="99999999999999999999"} 1\n'
    assert read_load(f"vllm:num_requests_running 1\n{huge}") == ServerLoad(1, 0)


def test_the_loads_of_replicas_add_up() -> None:
    assert add_loads([ServerLoad(1, 2, 3, 4, 100, 16), ServerLoad(1, 0, 1, 1, 50, 16)]) == ServerLoad(2, 2, 4, 5, 150, 16)
    assert add_loads([]) is None


def test_costs_of_more_work_never_fall() -> None:
    assert rising([(1, 2.0), (8, 1.5), (16, 3.0)]) == ((1, 2.0), (8, 2.0), (16, 3.0))


def test_a_stream_that_arrives_at_once_is_timed_from_its_call() -> None:
    assert unbuffered([(1.0, 1), (1.5, 20), (2.0, 48)], 0.5) == [(1.0, 1), (1.5, 20), (2.0, 48)]
    assert unbuffered([(2.0, 20), (2.001, 48)], 1.0) == [(1.0, 0), (2.001, 48)]


async def test_a_server_is_measured_into_a_profile() -> None:
    engine = ScriptedEngine(endless)
    found = await ServerMeter(engine, seconds=2, largest=4).measure()
    assert [size for size, _ in found.profile.decode] == [size for size in BATCHES if size <= 4][: len(found.profile.decode)]
    assert {size for size, _ in found.profile.read} <= {1, *READS}
    assert {"write a step", "judge a step", "score a step"} <= set(found.checks)


async def test_a_server_over_http_tells_the_size_of_its_cache() -> None:
    async with FakeServer(ScriptedEngine(endless)) as server:
        server.metrics = VLLM
        engine = await OpenAIEngine.connect(server.url, tokenizer=ScriptedTokenizer(), dialect="chatml")
        found = await ServerMeter(engine, seconds=2, largest=2).measure()
        await engine.aclose()
    assert (found.profile.cache_tokens, found.profile.block) == (16000, 16)
    assert any(path.endswith("/completions") for path, _, _ in server.requests)


async def test_a_server_without_metrics_is_measured_too() -> None:
    async with FakeServer(ScriptedEngine(endless), kind="other") as server:
        engine = await OpenAIEngine.connect(server.url, tokenizer=ScriptedTokenizer(), dialect="chatml")
        assert await engine.load() is None
        found = await ServerMeter(engine, seconds=1, largest=1).measure()
        await engine.aclose()
    assert found.profile.cache_tokens > 1 << 20
    assert "score a step" not in found.checks


async def test_a_short_context_is_refused() -> None:
    with pytest.raises(UsageError, match="context must be at least"):
        ServerMeter(ScriptedEngine(endless, context=100), seconds=1, largest=1)


def test_the_command_measures_a_pair_and_plans_with_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("speculative.pair.open_engine", lambda *_: ScriptedEngine(endless))
    out = tmp_path / "own.json"
    assert command(["profile", str(out), "--seconds", "2", "--largest", "2", "--devices", "a test", "--note", "none"]) == 0
    assert f"speculative plan --profile {out}" in capsys.readouterr().out
    made = load_profile(out)
    assert (made.name, made.hardware, made.flags) == ("own", "a test", "none")
    assert command(["plan", "step_verify", "--profile", str(out), "--length", "100", "--chains", "2", "--json"]) == 0


@pytest.mark.parametrize("flags", [["--seconds", "0"], ["--largest", "0"], ["."], ["no/folder/x.json"]])
def test_bad_flags_are_refused_before_anything_is_measured(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["profile", *flags]) in (1, 2)
    assert capsys.readouterr().err.count("\n") == 1
