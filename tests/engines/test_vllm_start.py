"""Servers that are started for the user, with a stand-in for vLLM: it loads, answers, has children, and is gone at the end."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest
import unlike
from standing import gone

import speculative
from speculative.engines.base import CallStats, Completion, Decoding
from speculative.engines.diagnostics import look
from speculative.engines.http import retries
from speculative.engines.http.replicas import Replicas
from speculative.engines.options import EngineOptions
from speculative.engines.tokenizers import loader
from speculative.engines.vllm import guard, records
from speculative.engines.vllm import launch as starting
from speculative.engines.vllm.engine import VllmEngine
from speculative.engines.vllm.launch import LaunchConfig, cause, last_line
from speculative.errors import EngineUnreachableError, UsageError
from speculative.pair import Pair, open_engine
from speculative.testing import ScriptedEngine
from speculative.testing.fake_server import FakeServer


async def test_a_server_is_started_used_and_ended_with_its_children(stand_in):
    python, model = stand_in
    said = []
    pair = await asyncio.to_thread(
        Pair.open,
        model,
        model,
        options={role: EngineOptions(vllm=python, args="--seed 3 --deaf") for role in ("big", "small")},
        tell=said.append,
    )
    processes = [pair[role].running.process.pid for role in ("big", "small")]
    tree = [pid for process in processes for pid in guard.process_tree(process)]
    assert len(tree) >= 6
    assert pair["big"].dialect == "qwen3"
    assert pair["big"].running.url != pair["small"].running.url
    assert any("loading" in line for line in said)
    log = pair["big"].running.log.read_text()
    assert "--enable-prefix-caching" in log
    assert "--enable-scale-out" in log
    assert "'--seed', '3'" in log
    await pair.aclose()
    assert gone(tree)
    assert not list(records.state_folder().iterdir())  # all went well: there is nothing to read


@pytest.mark.parametrize(("args", "flat"), [("", True), ("--host 0.0.0.0", False), ("--host 0.0.0.0 --api-key k", True)])
def test_a_server_is_started_so_that_scores_have_a_flat_cost_unless_strangers_could_use_the_endpoint(stand_in, args, flat):
    python, model = stand_in
    assert ("--enable-scale-out" in LaunchConfig(model, python, args=args).run(8000)) is flat


async def test_a_vllm_without_the_endpoint_is_started_without_the_flag(stand_in, tmp_path):
    python, model = stand_in
    (tmp_path / "site/vllm/entrypoints/launchers/cli_args.py").unlink()
    assert "--enable-scale-out" not in LaunchConfig(model, python).run(8000)


def test_a_server_that_breaks_names_its_log(stand_in):
    python, model = stand_in
    with pytest.raises(EngineUnreachableError, match=r"ended with 3.*out of memory.*vllm-\d+-\w+\.log") as raised:
        open_engine(model, EngineOptions(vllm=python, args="--broken"))
    assert "out of memory" in Path(str(raised.value).rpartition("all of it: ")[2].rstrip(")")).read_text()


def test_a_python_that_is_none_is_said(stand_in, tmp_path):
    nothing = tmp_path / "nothing"
    nothing.write_text("")
    nothing.chmod(0o755)
    with pytest.raises(EngineUnreachableError, match=r"ended with 127.*nothing cannot be run: Exec format error"):
        open_engine(stand_in[1], EngineOptions(vllm=str(nothing)))


@pytest.mark.slow
def test_logs_that_nobody_needs_go(stand_in):
    """Old ones; not those of servers that run, however long they have been silent, and none of this week."""
    python, model = stand_in
    running = starting.start_and_wait(LaunchConfig(model, python))
    old, new = (records.state_folder() / f"vllm-{name}.log" for name in "12")
    for file in (old, new):
        file.write_text("out of memory")
    for file in (old, running.log):
        os.utime(file, (1, 1))
    starting.start_and_wait(LaunchConfig(model, python)).stop()
    assert sorted(records.state_folder().iterdir()) == sorted([new, running.log])
    running.stop()


def test_the_log_of_a_server_that_ended_by_itself_stays(stand_in):
    python, model = stand_in
    running = starting.start_and_wait(LaunchConfig(model, python))
    os.kill(guard.process_tree(running.process.pid)[1], signal.SIGKILL)
    running.process.wait(100)
    running.stop()
    assert running.log.exists()


@pytest.mark.slow
def test_one_that_breaks_ends_the_other(stand_in):
    python, model = stand_in
    options = {"big": EngineOptions(vllm=python), "small": EngineOptions(vllm=python, args="--broken")}
    before = set(guard.process_tree(os.getpid()))
    with pytest.raises(EngineUnreachableError):
        Pair.open(model, model, options=options)
    assert gone(set(guard.process_tree(os.getpid())) - before)


def test_loading_has_a_deadline(stand_in):
    python, model = stand_in
    before = set(guard.process_tree(os.getpid()))
    with pytest.raises(EngineUnreachableError, match="did not load"):
        VllmEngine.serve(LaunchConfig(model, python, args="--slow", deadline=0.3))
    assert gone(set(guard.process_tree(os.getpid())) - before)


def test_a_server_that_loads_beside_another_has_begun_when_it_did(stand_in):
    python, model = stand_in
    launch = LaunchConfig(model, python, args="--slow", deadline=60)
    running = starting.start(launch)
    running.begun -= 61  # as long as the other one took
    with pytest.raises(EngineUnreachableError, match=r"did not load .* within 60 s"):
        starting.wait_ready(running, launch)


async def test_a_server_that_is_there_already_is_used_and_left_alone():
    async with FakeServer(ScriptedEngine("x"), model="there") as server:
        running = await asyncio.to_thread(starting.start, LaunchConfig("there", "/nowhere", port=server.port))
        assert running.process is None
        running.stop()
        assert await asyncio.to_thread(starting.answers, server.url)


@pytest.mark.parametrize("source", ["itself", "other"])
async def test_one_that_runs_another_model_is_used_and_told(tmp_path, caplog, source):
    unlike.byte_level(tmp_path / "model")
    model = str(tmp_path / "model")

    class Stand(ScriptedEngine):
        tokenizer = loader.read(tmp_path / "model" / "tokenizer.json")

        async def complete(self, prefixes, decoding, *, key, stats):
            return [[Completion(tuple(self.tokenizer.encode("7")), "length")] * decoding.n for _ in prefixes]

    async with FakeServer(Stand(""), model="there", source=model if source == "itself" else "other/one") as server:
        launch = LaunchConfig(model, "/nowhere", port=server.port)
        engine = await asyncio.to_thread(VllmEngine.serve, launch)
        assert engine.server.model == "there"
        found = await look("big", engine)
        result = await speculative.asolve("?", "big_only", pair=Pair(engine, engine), max_tokens=4)
        await engine.aclose()
    assert result.trace.started.engines["big"].name == found.name == f"there at {server.url}"
    told = f"{server.url} runs there, not {model}: there is used as it is; for {model} end that server, or choose another port"
    assert caplog.messages == ([] if source == "itself" else [f"{told} (--big-port, --small-port)"])


async def test_a_proxy_is_not_asked_for_this_machine(monkeypatch):
    monkeypatch.setattr("urllib.request._opener", None)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    async with FakeServer(ScriptedEngine("x")) as server:
        assert await asyncio.to_thread(starting.answers, server.url)


async def test_what_is_no_web_server_does_not_answer():
    async def greet(_, writer):
        writer.write(b"SSH-2.0-Something\r\n")
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        assert not await asyncio.to_thread(starting.answers, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")


def test_what_is_run():
    launch = LaunchConfig("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", gpus="0,1", args="--max-model-len 4096 --data-parallel-size 2")
    command = launch.command("python", 8000)
    assert command[:5] == ["python", "-m", "vllm.entrypoints.openai.api_server", "--model", launch.model]
    assert command[command.index("--tensor-parallel-size") + 1] == "2"
    assert command[-4:] == ["--max-model-len", "4096", "--data-parallel-size", "2"]
    assert launch.environment()["CUDA_VISIBLE_DEVICES"] == "0,1"


def test_the_key_to_gated_models_is_passed_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    assert "HF_TOKEN" not in LaunchConfig("a/b").environment()
    (tmp_path / ".env").write_text("HF_TOKEN=hf_of_the_file\n")
    assert LaunchConfig("a/b").environment()["HF_TOKEN"] == "hf_of_the_file"
    assert "HF_TOKEN" not in os.environ


def test_our_servers_take_many_stop_strings_unless_the_user_says_otherwise(monkeypatch):
    monkeypatch.delenv("VLLM_MAX_STOP_STRINGS", raising=False)
    assert LaunchConfig("a/b").environment()["VLLM_MAX_STOP_STRINGS"] == "256"
    monkeypatch.setenv("VLLM_MAX_STOP_STRINGS", "8")
    assert LaunchConfig("a/b").environment()["VLLM_MAX_STOP_STRINGS"] == "8"


def test_another_python_is_not_told_where_ours_finds_its_packages(monkeypatch):
    for name in ("PYTHONPATH", "PYTHONHOME"):
        monkeypatch.setenv(name, "/ours")
    assert {"PYTHONPATH", "PYTHONHOME"} <= set(LaunchConfig("a/b").environment())
    assert not {"PYTHONPATH", "PYTHONHOME"} & set(LaunchConfig("a/b", "/other/python").environment())


def test_what_cannot_be_started_is_said():
    with pytest.raises(UsageError, match="--vllm PYTHON"):
        open_engine("someone/model")
    with pytest.raises(UsageError, match=r"--vllm '/no/python': there is no such program"):
        open_engine("someone/model", EngineOptions(vllm="/no/python"))
    with pytest.raises(UsageError, match=r"--vllm '~nobody-of-that-name/python': there is no such program"):
        open_engine("someone/model", EngineOptions(vllm="~nobody-of-that-name/python"))
    for port in (-1, 65536):
        with pytest.raises(UsageError, match=f"big_port must be at .*, got {port}"):
            EngineOptions.of("big", {"big_port": port})
        with pytest.raises(UsageError, match=f"port must be at most 65535, got {port}"):
            starting.start_and_wait(LaunchConfig("someone/model", sys.executable, port=port))
    with pytest.raises(UsageError, match="no closing quotation"):
        open_engine("someone/model", EngineOptions(vllm=sys.executable, args="--name 'x"))
    with pytest.raises(UsageError, match="name the port with --big-port"):
        open_engine("someone/model", EngineOptions(vllm=sys.executable, args="--port=9000"))
    for wrong in ("bundle:big", "model", "a/b/c", ""):
        with pytest.raises(UsageError, match="use bundled:big"):
            open_engine(wrong)


def test_when_the_second_cannot_be_begun_the_first_is_ended(stand_in, monkeypatch):
    python, model = stand_in
    before = set(guard.process_tree(os.getpid()))
    with pytest.raises(UsageError, match="--vllm PYTHON"):
        Pair.open(model, model, options={"big": EngineOptions(vllm=python)})
    assert gone(set(guard.process_tree(os.getpid())) - before)


async def test_when_a_server_of_ours_dies_the_error_names_its_log(stand_in, monkeypatch):
    python, model = stand_in
    monkeypatch.setattr(retries, "ATTEMPTS", 1)
    opened = await asyncio.to_thread(open_engine, model, EngineOptions(vllm=python))
    await asyncio.to_thread(opened.running.stop)
    calls = [
        lambda: opened.complete([[1]], Decoding(1), key="", stats=CallStats()),
        lambda: anext(opened.stream([1], Decoding(1), key="", stats=CallStats())),
        lambda: opened.score([[1]], [[2]], key="", stats=CallStats()),
    ]
    for call in calls:
        with pytest.raises(EngineUnreachableError, match=r"nothing listens there.*; its log: .*vllm-\d+-\w+\.log$"):
            await call()
    await opened.aclose()


async def test_a_server_that_an_error_blames_keeps_its_log(stand_in, monkeypatch):
    python, model = stand_in
    monkeypatch.setattr(retries, "ATTEMPTS", 1)
    opened = await asyncio.to_thread(open_engine, model, EngineOptions(vllm=python))
    opened.client.replicas = Replicas(["http://127.0.0.1:9"])  # as if it had died
    with pytest.raises(EngineUnreachableError, match=r"its log: "):
        await opened.complete([[1]], Decoding(1), key="", stats=CallStats())
    await opened.aclose()
    assert opened.running.log.exists()


async def test_who_stops_listening_ends_the_call(stand_in):
    python, model = stand_in
    opened = await asyncio.to_thread(open_engine, model, EngineOptions(vllm=python))
    closed = []

    async def answer(*_):
        try:
            yield b"one"
            yield b"two"
        finally:
            closed.append(True)

    opened.client.stream = answer
    stream = opened.stream([1], Decoding(4), key="", stats=CallStats())
    assert await anext(stream) == b"one"
    await stream.aclose()
    assert closed
    await opened.aclose()


def test_what_a_log_said_last_steers_no_terminal(tmp_path):
    log = tmp_path / "log"
    log.write_text("one\n  \n\n")
    assert last_line(log) == "one"
    log.write_text("Loading:  5 %\r\x1b[1;32mLoading\x1b[0m: 50 %\x07\r" + " " * 300 + "\n")
    assert last_line(log) == "Loading: 50 %"
    log.write_text("The beginning" + " and more" * 1000)
    assert last_line(log).startswith("The beginning and more")
    assert len(last_line(log)) == 200
    log.write_text("")
    assert last_line(log) == "nothing said yet"
    assert last_line(None) == "no log"


def test_why_a_server_ended_is_the_first_error_of_its_processes(tmp_path):
    """As vLLM 0.32 logs it: a worker's error, what follows from it, and at last a line that says nothing."""
    log = tmp_path / "log"
    log.write_text(
        "(APIServer pid=1) WARNING 11-24 11:05:46 [x.py:1] Failed to import one with ImportError: no such file\n"
        "(VllmWorker-0 pid=3) ERROR 11-24 11:06:10 [multiproc_executor.py:953]     raise ValueError(\n"
        "(VllmWorker-0 pid=3) ERROR 11-24 11:06:10 [multiproc_executor.py:953] ValueError: Available memory is less than desired\n"
        "(EngineCore pid=2) ERROR 11-24 11:06:13 [core.py:1510] Exception: WorkerProc initialization failed. See root cause above.\n"
        "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}\n"
    )
    assert cause(log) == "ValueError: Available memory is less than desired"
    log.write_text(
        "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig\n"
        "  Value error, Invalid repository ID or local directory specified: '/some/folder'.\n"
        "Please verify the following requirements:\n"
        "    For further information visit https://errors.pydantic.dev/2.14/v/value_error\n"
    )
    assert cause(log) == "Invalid repository ID or local directory specified: '/some/folder'."
    log.write_text("loading\nRuntimeError: none\n")
    assert cause(log) == "RuntimeError: none"
    assert cause(None) == "no log"
