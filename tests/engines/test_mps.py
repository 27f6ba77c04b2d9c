"""Servers that share a GPU, with a control daemon that only writes down what it is told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from speculative.engines.vllm import mps
from speculative.engines.vllm.launch import LaunchConfig

CONTROL = """#!/bin/sh
echo "$* pipe=$CUDA_MPS_PIPE_DIRECTORY said=$(cat)" >> {log}
test -d "$CUDA_MPS_PIPE_DIRECTORY" && test -d "$CUDA_MPS_LOG_DIRECTORY" || exit 5
exit {code}
"""


@pytest.fixture
def control(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return install(tmp_path, monkeypatch)


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, code: int = 0) -> Path:
    log, program = folder / "told", folder / "bin" / mps.CONTROL
    program.parent.mkdir(exist_ok=True)
    program.write_text(CONTROL.format(log=log, code=code))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return log


def model(folder: Path, name: str, size: int) -> str:
    (folder / name).mkdir()
    (folder / name / "model.safetensors").write_bytes(b"\0" * size)
    return str(folder / name)


def test_servers_with_one_gpu_in_common_share_it(control: Path) -> None:
    def roles(**gpus: str | None) -> set[str]:
        return set(mps.shared({role: LaunchConfig("m", gpus=one) for role, one in gpus.items()}))

    assert roles(big=None, small=None) == {"big", "small"}
    assert roles(big="0,1", small="1") == {"big", "small"}
    assert roles(big="0", small="1") == set()
    assert roles(big="0", small="1", judge="1") == {"small", "judge"}
    assert roles(big="0") == set()


def test_nothing_is_shared_without_a_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert mps.shared({"big": LaunchConfig("m"), "small": LaunchConfig("m")}) == {}


@pytest.mark.slow
def test_up_puts_both_servers_under_a_daemon_and_ends_it(stand_in, control: Path) -> None:
    python, model = stand_in
    words = [sys.executable, "-m", "speculative", "up", "--vllm", str(python), "--big", str(model), "--small", str(model)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as up:
        assert up.stdout
        assert up.stdout.readline().startswith("speculative ask --big")
        assert control.read_text().count("-d pipe=") == 1
        up.send_signal(signal.SIGINT)
        _, told = up.communicate(timeout=60)
    assert "big and small share a GPU under an MPS daemon that ends with them" in told
    assert control.read_text().count("said=quit") == 1


def test_every_command_that_starts_servers_puts_them_under_a_daemon(stand_in, control: Path, caplog: pytest.LogCaptureFixture) -> None:
    from speculative._sync import run_in_thread
    from speculative.engines.options import EngineOptions
    from speculative.pair import Pair

    python, model = stand_in
    options = {role: EngineOptions(vllm=python) for role in ("big", "small")}
    pair = Pair.open(model, model, options=options)
    assert "big and small share a GPU under an MPS daemon that ends with them" in caplog.text
    assert [line.partition(" ")[0] for line in control.read_text().splitlines()] == ["-d"]
    run_in_thread(pair["small"].aclose())
    assert "quit" not in control.read_text()
    run_in_thread(pair["big"].aclose())
    assert control.read_text().count("said=quit") == 1


@pytest.mark.slow
def test_a_daemon_ends_with_servers_that_do_not_start(stand_in, control: Path) -> None:
    from speculative.engines.options import EngineOptions
    from speculative.errors import EngineUnreachableError
    from speculative.pair import Pair

    python, model = stand_in
    broken = EngineOptions(vllm=python, args="--broken")
    with pytest.raises(EngineUnreachableError, match="out of memory"):
        Pair.open(model, model, options={"big": broken, "small": broken})
    assert control.read_text().count("said=quit") == 1


def test_servers_that_outlive_the_command_have_no_daemon(control: Path) -> None:
    group = mps.ServerGroup({role: LaunchConfig("m", keep=True) for role in ("big", "small")})
    assert "without MPS (they outlive this command" in group.sharing
    assert "half as fast" in group.sharing
    assert not control.exists()


def test_a_daemon_has_folders_of_its_own_and_ends_when_it_is_told(control: Path) -> None:
    daemon = mps.MpsDaemon.start()
    assert daemon
    assert daemon.folder.is_dir()
    assert control.read_text() == f"-d pipe={daemon.folder}/pipe said=\n"
    daemon.stop()
    assert control.read_text().splitlines()[1] == f" pipe={daemon.folder}/pipe said=quit"
    assert not daemon.folder.exists()


def test_without_a_driver_or_with_one_that_fails_there_is_none(tmp_path: Path, control: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, code=1)
    assert mps.MpsDaemon.start() is None
    assert not list((tmp_path / "state" / "speculative").glob("mps-*"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert mps.MpsDaemon.start() is None


def test_processes_inherit_the_daemon_only_in_its_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(mps.LOG, "before")
    monkeypatch.delenv(mps.PIPE, raising=False)
    launch = LaunchConfig("m")
    with mps.environment({mps.PIPE: "p", mps.LOG: "l"}):
        assert launch.environment()[mps.PIPE] == "p"
        assert launch.environment()[mps.LOG] == "l"
    assert mps.PIPE not in launch.environment()
    assert launch.environment()[mps.LOG] == "before"


def test_memory_is_shared_by_the_sizes_of_the_models(tmp_path: Path) -> None:
    big, small = LaunchConfig(model(tmp_path, "big", 9000)), LaunchConfig(model(tmp_path, "small", 1000))
    shares = mps.memory_shares({"big": big, "small": small})
    assert shares["big"] > 4 * shares["small"]
    assert sum(shares.values()) == pytest.approx(mps.MEMORY, abs=0.01)
    assert mps.memory_flags(shares, "big") == ["--gpu-memory-utilization", f"{shares['big']:g}"]
    assert mps.memory_flags(shares, "judge") == []


def test_memory_is_left_alone_where_sizes_are_not_known_or_the_user_says(tmp_path: Path) -> None:
    known = LaunchConfig(model(tmp_path, "big", 9000))
    assert mps.memory_shares({"big": known, "small": LaunchConfig("owner/name")}) == {}
    own = LaunchConfig(known.model, args="--gpu-memory-utilization=0.5")
    assert mps.memory_shares({"big": own, "small": known}) == {}


def test_sizes_that_are_not_known_are_told(control: Path) -> None:
    big = LaunchConfig("owner/two-2B")
    group = mps.ServerGroup({"big": big, "small": LaunchConfig("owner/name")})
    group.stop()
    assert "the sizes of the models are not known: set --gpu-memory-utilization for each" in group.sharing
    group = mps.ServerGroup({"big": big, "small": LaunchConfig("owner/name", args="--gpu-memory-utilization 0.2")})
    group.stop()
    assert "memory" not in group.sharing
    assert control.exists()


@pytest.mark.parametrize(
    ("big", "small", "ratio"),
    [
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-32B", "deepseek-ai/DeepSeek-R1-Distill-Qwen-14B", 32 / 14),
        ("Qwen/Qwen2.5-32B-Instruct", "Qwen/Qwen2.5-7B-Instruct", 32 / 7),
        ("Qwen/Qwen3-30B-A3B", "Qwen/Qwen3-8B", 30 / 8),
        ("mistralai/Mixtral-8x7B-v0.1", "mistralai/Mistral-7B-v0.1", 8),
        ("Qwen/Qwen3-32B-AWQ", "Qwen/Qwen3-8B", 16 / 16),
        ("Qwen/Qwen3-32B-FP8", "Qwen/Qwen3-8B", 32 / 16),
        ("owner/one-700M", "owner/one-0.35b", 2),
    ],
)
def test_names_of_the_hub_tell_the_sizes_of_models(big: str, small: str, ratio: float) -> None:
    shares = mps.memory_shares({"big": LaunchConfig(big), "small": LaunchConfig(small)})
    least = min(1 / (1 + ratio), 1 - 1 / (1 + ratio))
    if least > mps.LEAST:
        assert shares["big"] / shares["small"] == pytest.approx(ratio, rel=0.02)
    else:
        assert shares["small"] == pytest.approx(mps.MEMORY * mps.LEAST, rel=0.1)


@pytest.mark.parametrize("name", ["owner/name", "Qwen/Qwen3-next", "owner/v2.5-4bit", "owner/b7", "gpt-4b2"])
def test_names_without_a_size_tell_none(name: str) -> None:
    assert mps.memory_shares({"big": LaunchConfig(name), "small": LaunchConfig("owner/two-2B")}) == {}


SERVER = "import socket, sys; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); sys.stdin.read()"


@contextmanager
def listening(**environment: str) -> Iterator[tuple[int, str]]:
    """A process that listens on a port."""
    kept = {name: value for name, value in os.environ.items() if name != mps.PIPE}
    words = [sys.executable, "-c", SERVER]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=kept | environment) as server:
        assert server.stdout
        yield server.pid, f"http://127.0.0.1:{server.stdout.readline().strip()}/v1"
        server.terminate()


def told_gpus(folder: Path, monkeypatch: pytest.MonkeyPatch, rows: dict[int, str]) -> None:
    program = folder / "bin" / "nvidia-smi"
    program.write_text("#!/bin/sh\n" + "".join(f"echo '{pid}, {gpu}'\n" for pid, gpu in rows.items()))
    program.chmod(0o755)


def test_servers_that_share_a_gpu_without_mps_are_found(tmp_path: Path, control: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with listening() as (one, first), listening() as (two, second), listening(**{mps.PIPE: "/p"}) as (three, third):
        assert not mps.share_without_mps([first, second])  # there is no nvidia-smi
        told_gpus(tmp_path, monkeypatch, {one: "GPU-1", two: "GPU-1", three: "GPU-1"})
        assert mps.share_without_mps([first, second])
        assert not mps.share_without_mps([first, third])
        assert not mps.share_without_mps([first])
        assert not mps.share_without_mps([first, "http://elsewhere:8000/v1"])
        told_gpus(tmp_path, monkeypatch, {one: "GPU-1", two: "GPU-2"})
        assert not mps.share_without_mps([first, second])
