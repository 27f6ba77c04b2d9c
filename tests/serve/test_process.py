"""The command and the script as processes: their flags, their signals, their ends."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from easy import EASY

from speculative.cli import run
from speculative.engines.vllm import guard

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "speculative", "serve"]
SCRIPT = [sys.executable, str(ROOT / "scripts/spec_service.py")]
ASK = {"messages": [{"role": "user", "content": EASY}]}


@contextmanager
def process(command, folder, **environment):
    """A service on a free port, and its address."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SPECULATIVE_")}
    done = subprocess.Popen(
        [*command, "--port", "0"], cwd=folder, env={**clean, **environment}, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    try:
        for line in done.stderr:
            if (said := json.loads(line))["event"] == "listening":
                break
        yield done, said["url"].removesuffix("/v1")
    finally:
        done.kill()
        done.wait()
        done.stderr.close()


def ready(url):
    end = time.monotonic() + 100
    while httpx2.get(f"{url}/ready", verify=False).status_code != 200:
        assert time.monotonic() < end
        time.sleep(0.05)


def test_the_command_serves_the_bundled_pair_and_stops_cleanly(tmp_path):
    (tmp_path / "speculative.toml").write_text("[presets.fast]\nparams = {big_share = 0.2}\n")
    with process(COMMAND, tmp_path, SPECULATIVE_METHOD="fast") as (running, url):
        ready(url)
        reply = httpx2.post(f"{url}/v1/chat/completions", verify=False, json=ASK, timeout=100).json()
        assert reply["model"] == "speculative/fast"
        assert reply["choices"][0]["message"]["content"]
        assert httpx2.post(f"{url}/shutdown", verify=False).status_code == 404
        running.send_signal(signal.SIGTERM)
        assert running.wait(timeout=100) == 0
        assert [json.loads(line)["event"] for line in running.stderr][-2:] == ["draining", "stopped"]


@pytest.mark.slow
def test_sigterm_stops_the_service_while_a_model_server_loads(tmp_path):
    """Nothing waits for the server, and nothing of it is left."""
    python, model = tmp_path / "python", tmp_path / "model"
    python.write_text('#!/bin/sh\n[ "$1" = -c ] && exit 1  # the question for its flags\nexec sleep 600\n')
    python.chmod(0o755)
    model.mkdir()
    flags = ["--big", str(model), "--small", str(model), "--vllm", str(python)]
    with process([*COMMAND, *flags], tmp_path, XDG_STATE_HOME=str(tmp_path)) as (running, url):
        assert httpx2.get(f"{url}/ready", verify=False).json()["reason"] == "the models are loading"
        end = time.monotonic() + 100
        while len(tree := guard.process_tree(running.pid)) < 5:  # two guards, two servers
            assert time.monotonic() < end
            time.sleep(0.05)
        running.send_signal(signal.SIGTERM)
        assert running.wait(timeout=100) == 0
        assert not [pid for pid in tree if guard.start_time(pid)]


@pytest.mark.slow
def test_sigterm_stops_the_service_while_a_model_server_is_silent(tmp_path):
    """One that takes the connection and never answers has minutes to say what it runs; the service that is to end has not."""
    with socket.create_server(("127.0.0.1", 0)) as stuck:
        url = f"http://127.0.0.1:{stuck.getsockname()[1]}"
        with process([*COMMAND, "--big", url, "--small", url], tmp_path) as (running, _):
            with stuck.accept()[0]:
                running.send_signal(signal.SIGTERM)
                assert running.wait(timeout=100) == 0
            assert [json.loads(line)["event"] for line in running.stderr][-2:] == ["draining", "stopped"]


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "method", "small"), [("random_switch", "random_switch", "small"), ("spec_reason", "offload", "asking")])
def test_splitreasons_script(tmp_path, mode, method, small):
    """Started and stopped as its own client does it."""
    flags = [
        "--big_model=bundled:big",
        "--big_model_port=8000",
        "--big_model_gpus=0,1",
        f"--small_model=bundled:{small}",
        "--small_model_port=8001",
    ]
    flags += [
        "--small_model_gpus=2",
        "--thinking_n_ignore=2",
        "--drafting_n=1",
        "--bloat_tokens=0",
        "--max_tokens=16384",
        "--lbound=4",
        "--max_iterations=10",
    ]
    flags += [
        r"--terminating_string=\nPut your final answer within \boxed{}.",
        "--sgen=4",
        "--stok=16",
        "--sdecay=2",
        "--ltok=16",
        "--test_logging",
        f"--{mode}",
    ]
    with process([*SCRIPT, *flags], tmp_path) as (running, url):
        end = time.monotonic() + 100
        while httpx2.get(f"{url}/ping", verify=False).status_code != 200:
            assert time.monotonic() < end
            time.sleep(0.05)
        payload = {
            "question": ASK["messages"][0]["content"],
            mode: True,
            "switch_chunk": 16,
            "switch_ratio": 1,
            "test_logging": False,
        }
        reply = httpx2.post(f"{url}/speculative_reason", verify=False, json=payload, timeout=100).json()
        assert reply.keys() >= {"final_answer", "usage_records"}
        assert (bool(reply["final_answer"]), reply["speculative"]["method"]) == (True, method)
        assert httpx2.post(f"{url}/shutdown", verify=False, timeout=5).text == "Shutting down..."
        assert running.wait(timeout=100) == 0


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--host", "0.0.0.0"], "--no-auth"),
        (["--port", "99999"], "port"),
        (["--big", "nonsense:9"], "nonsense:9"),
        (["--method", "nothing"], "nothing"),
        (["--prot", "1"], "--port"),
    ],
)
def test_bad_flags_are_reported_in_one_line(tmp_path, monkeypatch, capsys, flags, told):
    monkeypatch.chdir(tmp_path)
    assert run(["serve", "--port", "0", "--log-level", "error", *flags]) in (1, 2)
    said = capsys.readouterr().err
    assert told in said.splitlines()[-1]
    assert "Traceback" not in said


def test_a_profile_for_auto_that_is_none_is_told_at_the_start(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPECULATIVE_PROFILE", "none.json")
    assert run(["serve", "--port", "0", "--no-auth"]) == 2
    assert "profile none.json cannot be read" in capsys.readouterr().err


def test_help_of_the_other_commands_loads_nothing_of_the_service():
    code = "import sys; from speculative.cli import run; run(['--help']); sys.exit('fastapi' in sys.modules or 'uvicorn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=False).returncode == 0
