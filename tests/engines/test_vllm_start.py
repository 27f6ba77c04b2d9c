"""Servers that are started for the user, with a stand-in for vLLM: it loads, answers, has children, and is gone at the end."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import unlike

import speculative
from speculative.cli import loading, run
from speculative.engines import guard, http, kept, remote_vocabulary, vllm
from speculative.engines.base import Completion, Decoding, Tally
from speculative.engines.checkup import look
from speculative.engines.vllm import Launch, VllmEngine, cause, last_line
from speculative.errors import EngineUnreachable, UsageError
from speculative.fake_server import FakeServer
from speculative.pair import EngineOptions, Pair, engine
from speculative.testing import ScriptedEngine

STAND_IN = """
import asyncio, signal, subprocess, sys, time
sys.path.insert(0, {sources!r})
from speculative.engines import remote_vocabulary
from speculative.fake_server import FakeServer
from speculative.testing import ScriptedEngine
from pathlib import Path

args = sys.argv[1:]
def flag(name):
    return args[args.index(name) + 1] if name in args else None

print("args", args, flush=True)
if "--broken" in args:
    print("out of memory", flush=True)
    sys.exit(3)
if "--slow" in args:
    if "--deaf" in args:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("deaf", flush=True)
    time.sleep(60)
deaf = "signal.signal(signal.SIGTERM, signal.SIG_IGN)" if "--deaf" in args else ""
child = subprocess.Popen([sys.executable, "-c", f"import signal,time\\n{{deaf}}\\ntime.sleep(600)"])
class Stand(ScriptedEngine):
    vocabulary = remote_vocabulary.read(Path(flag("--model")) / "tokenizer.json")
    async def complete(self, prefixes, decoding, *, key, tally):
        from speculative.engines.base import Completion
        return [[Completion(tuple(self.vocabulary.encode("7")), "length")] * decoding.n for _ in prefixes]
async def main():
    server = FakeServer(Stand(""), model=flag("--served-model-name") or flag("--model"), source=flag("--model"))
    await server.start(int(flag("--port")))
    await asyncio.sleep(600)
asyncio.run(main())
"""


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """A command that stands for the Python that has vLLM, and a model's folder."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(guard, "GRACE", 1.0)
    script = tmp_path / "stand_in.py"
    script.write_text(STAND_IN.format(sources=str(Path(speculative.__file__).parents[1])))
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nshift 2\nexec {sys.executable} {script} "$@"\n')
    python.chmod(0o755)
    unlike.byte_level(tmp_path / "model")
    return str(python), str(tmp_path / "model")


def lives(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def gone(pids, seconds=20):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and any(lives(pid) for pid in pids):
        time.sleep(0.05)
    return not any(lives(pid) for pid in pids)


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
    tree = [pid for process in processes for pid in guard.family(process)]
    assert len(tree) >= 6
    assert pair["big"].dialect == "qwen3"
    assert pair["big"].running.url != pair["small"].running.url
    assert any("loading" in line for line in said)
    log = pair["big"].running.log.read_text()
    assert "--enable-prefix-caching" in log
    assert "'--seed', '3'" in log
    await pair.aclose()
    assert gone(tree)
    assert not list(kept.state().iterdir())  # all went well: there is nothing to read


def test_a_server_that_breaks_names_its_log(stand_in):
    python, model = stand_in
    with pytest.raises(EngineUnreachable, match=r"ended with 3.*out of memory.*vllm-\d+\.log") as raised:
        engine(model, EngineOptions(vllm=python, args="--broken"))
    assert "out of memory" in Path(str(raised.value).rpartition("all of it: ")[2].rstrip(")")).read_text()


def test_a_python_that_is_none_is_said(stand_in, tmp_path):
    nothing = tmp_path / "nothing"
    nothing.write_text("")
    nothing.chmod(0o755)
    with pytest.raises(EngineUnreachable, match=r"ended with 127.*nothing cannot be run: Exec format error"):
        engine(stand_in[1], EngineOptions(vllm=str(nothing)))


def test_logs_that_nobody_needs_go(stand_in):
    """Old ones; not those of servers that run, however long they have been silent, and none of this week."""
    python, model = stand_in
    running = vllm.start(Launch(model, python))
    old, new = (kept.state() / f"vllm-{name}.log" for name in "12")
    for file in (old, new):
        file.write_text("out of memory")
    for file in (old, running.log):
        os.utime(file, (1, 1))
    vllm.start(Launch(model, python)).stop()
    assert sorted(kept.state().iterdir()) == sorted([new, running.log])
    running.stop()


def test_the_log_of_a_server_that_ended_by_itself_stays(stand_in):
    python, model = stand_in
    running = vllm.start(Launch(model, python))
    os.kill(guard.family(running.process.pid)[1], signal.SIGKILL)
    running.process.wait(20)
    running.stop()
    assert running.log.exists()


def test_where_no_process_can_be_known_again_none_is_kept(stand_in, monkeypatch, tmp_path, capfd):
    """A system without /proc: said in one line, and no note is thrown away for it."""
    python, model = stand_in
    note = kept.write("vllm-1", os.getpid(), "http://127.0.0.1:1/v1")
    monkeypatch.setattr(kept, "PROC", tmp_path / "proc")
    before = set(guard.family(os.getpid()))
    with pytest.raises(UsageError, match=r"no-terminate-on-exit\) needs .*proc.*leave that flag out"):
        engine(model, EngineOptions(vllm=python, keep=True))
    assert run(["down"]) == 2
    assert "`speculative down` needs" in capfd.readouterr().err
    assert set(guard.family(os.getpid())) == before
    assert note.exists()
    vllm.start(Launch(model, python)).stop()  # what ends with us needs no note


@pytest.mark.parametrize("args", ["--slow", "--slow --deaf"])
def test_ctrl_c_while_a_server_loads_says_what_is_waited_for_and_a_second_one_ends_it(stand_in, args):
    """The deaf server does not hear that it is to end: with us gone, it is not left the time that it had."""
    python, model = stand_in
    command = [sys.executable, "-m", "speculative.cli", "ask", "How many?", "--big", model, "--vllm", python, f"--big-args={args}"]
    said = "deaf" if "deaf" in args else "args"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as asking:
        deadline = time.monotonic() + 20
        while said not in "".join(file.read_text() for file in kept.state().glob("*.log")) and time.monotonic() < deadline:
            time.sleep(0.05)
        tree = guard.family(asking.pid)
        assert len(tree) >= 3
        asking.send_signal(signal.SIGINT)
        lines = iter(asking.stderr.readline, "")
        assert any(line.startswith("speculative: ending the servers that were started here (a second Ctrl-C") for line in lines)
        if "--deaf" in args:
            asking.send_signal(signal.SIGINT)
        assert asking.wait(9) == 130
    assert gone(tree, 5)  # of 10 s that a server has


def test_one_that_breaks_ends_the_other(stand_in):
    python, model = stand_in
    options = {"big": EngineOptions(vllm=python), "small": EngineOptions(vllm=python, args="--broken")}
    before = set(guard.family(os.getpid()))
    with pytest.raises(EngineUnreachable):
        Pair.open(model, model, options=options)
    assert gone(set(guard.family(os.getpid())) - before)


def test_loading_has_a_deadline(stand_in):
    python, model = stand_in
    before = set(guard.family(os.getpid()))
    with pytest.raises(EngineUnreachable, match="did not load"):
        VllmEngine.serve(Launch(model, python, args="--slow", deadline=0.3))
    assert gone(set(guard.family(os.getpid())) - before)


async def test_a_server_that_is_there_already_is_used_and_left_alone():
    async with FakeServer(ScriptedEngine("x"), model="there") as server:
        running = await asyncio.to_thread(vllm.start, Launch("there", "/nowhere", port=server.port))
        assert running.process is None
        running.stop()
        assert await asyncio.to_thread(vllm.answers, server.url)


@pytest.mark.parametrize("source", ["itself", "other"])
async def test_one_that_runs_another_model_is_used_and_told(tmp_path, caplog, source):
    unlike.byte_level(tmp_path / "model")
    model = str(tmp_path / "model")

    class Stand(ScriptedEngine):
        vocabulary = remote_vocabulary.read(tmp_path / "model" / "tokenizer.json")

        async def complete(self, prefixes, decoding, *, key, tally):
            return [[Completion(tuple(self.vocabulary.encode("7")), "length")] * decoding.n for _ in prefixes]

    async with FakeServer(Stand(""), model="there", source=model if source == "itself" else "other/one") as server:
        launch = Launch(model, "/nowhere", port=server.port)
        engine = await asyncio.to_thread(VllmEngine.serve, launch)
        assert engine.server.model == "there"
        found = await look("big", engine)
        result = await speculative.asolve("?", "big_only", pair=Pair(engine, engine), max_tokens=4)
        await engine.aclose()
    assert result.trace.started.engines["big"].name == found.name == f"there at {server.url}"
    told = f"{server.url} runs there, not {model}: there is used as it is; for {model} end that server, or choose another port"
    assert caplog.messages == ([] if source == "itself" else [f"{told} (--big-port, --small-port)"])


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_is_left_when_we_die(stand_in, number):
    """Ours is killed in every way while its server runs: the server, and its child that ignores SIGTERM, go too."""
    python, model = stand_in
    program = textwrap.dedent(f"""
        import time
        from speculative.engines import guard, vllm
        guard.GRACE = 1.0
        running = vllm.start(vllm.Launch({model!r}, {python!r}, args="--deaf"))
        print(running.process.pid, flush=True)
        time.sleep(600)
    """)
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as ours:
        pid = int(ours.stdout.readline())
        tree = guard.family(pid)
        assert len(tree) >= 3
        ours.send_signal(number)
        ours.wait()
        assert gone(tree)


def test_what_a_killed_server_leaves_behind_goes_too(stand_in):
    """The server itself is killed, from outside: its child, which is deaf and has lost its parent, is found and ended."""
    python, model = stand_in
    running = vllm.start(Launch(model, python, args="--deaf"))
    tree = guard.family(running.process.pid)
    assert len(tree) >= 3
    os.kill(tree[1], signal.SIGKILL)
    assert gone(tree)
    running.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="the system's own way to tell a child that its parent was killed")
def test_a_server_whose_guard_is_killed_is_asked_to_end(stand_in):
    python, model = stand_in
    running = vllm.start(Launch(model, python))
    tree = guard.family(running.process.pid)
    running.process.kill()
    try:
        assert gone(tree[1:2])
    finally:
        for pid in tree[2:]:
            os.kill(pid, signal.SIGKILL)
        running.stop()


async def test_a_proxy_is_not_asked_for_this_machine(monkeypatch):
    monkeypatch.setattr("urllib.request._opener", None)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    async with FakeServer(ScriptedEngine("x")) as server:
        assert await asyncio.to_thread(vllm.answers, server.url)


async def test_what_is_no_web_server_does_not_answer():
    async def greet(_, writer):
        writer.write(b"SSH-2.0-Something\r\n")
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        assert not await asyncio.to_thread(vllm.answers, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")


def test_what_is_run():
    launch = Launch("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", gpus="0,1", args="--max-model-len 4096 --data-parallel-size 2")
    command = launch.command("python", 8000)
    assert command[:5] == ["python", "-m", "vllm.entrypoints.openai.api_server", "--model", launch.model]
    assert command[command.index("--tensor-parallel-size") + 1] == "2"
    assert command[-4:] == ["--max-model-len", "4096", "--data-parallel-size", "2"]
    assert launch.environment()["CUDA_VISIBLE_DEVICES"] == "0,1"


def test_the_key_to_gated_models_is_passed_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    assert "HF_TOKEN" not in Launch("a/b").environment()
    (tmp_path / ".env").write_text("HF_TOKEN=hf_of_the_file\n")
    assert Launch("a/b").environment()["HF_TOKEN"] == "hf_of_the_file"
    assert "HF_TOKEN" not in os.environ


def test_what_cannot_be_started_is_said(tmp_path, monkeypatch):
    with pytest.raises(UsageError, match="--vllm PYTHON"):
        engine("someone/model")
    with pytest.raises(UsageError, match=r"--vllm '/no/python': there is no such program"):
        engine("someone/model", EngineOptions(vllm="/no/python"))
    with pytest.raises(UsageError, match="no closing quotation"):
        engine("someone/model", EngineOptions(vllm=sys.executable, args="--name 'x"))
    with pytest.raises(UsageError, match="name the port with --big-port"):
        engine("someone/model", EngineOptions(vllm=sys.executable, args="--port=9000"))
    for wrong in ("bundle:big", "model", "a/b/c", ""):
        with pytest.raises(UsageError, match="it opens bundled:big"):
            engine(wrong)
    assert last_line(None) == "no log"
    (tmp_path / "log").write_text("one\n\n")
    assert last_line(tmp_path / "log") == "one"


def test_servers_are_held_open_and_let_go(stand_in, capfd):
    python, model = stand_in
    command = [sys.executable, "-m", "speculative.cli", "up", "--big", model, "--small", model, "--vllm", python]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as held:
        line = held.stdout.readline()
        assert line.startswith("speculative ask --big http://127.0.0.1:")
        url = line.split()[3]
        tree = guard.family(held.pid)
        assert len(tree) >= 7
        assert vllm.answers(url)
        assert run(["down"]) == 0
        assert held.wait(10) == 0
    assert gone(tree)
    assert run(["down"]) == 2
    assert "no servers are held open" in capfd.readouterr().err
    assert run(["up"]) == 2


def test_the_line_of_up_names_the_whole_pair(stand_in):
    python, model = stand_in
    command = [sys.executable, "-m", "speculative.cli", "up", "--big", model, "--vllm", python]
    command += ["--small", "http://one:8000", "--small", "http://two:8000", "--judge", model]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as held:
        words = held.stdout.readline().split()
        tree = guard.family(held.pid)
        held.send_signal(signal.SIGTERM)
        assert held.wait(20) == 0
    assert words[2:7:2] == ["--big", "--judge", "--small"]
    assert words[6:] == ["--small", "http://one:8000", "--small", "http://two:8000"]
    assert gone(tree)


def test_servers_of_another_machine_are_left_to_it(stand_in, monkeypatch):
    with monkeypatch.context() as there:
        there.setattr(kept, "node", lambda: "another")
        file = kept.write("vllm-1", os.getpid(), "http://127.0.0.1:1/v1")
        assert list(kept.notes()) == [file]
    assert not kept.notes()
    assert file.exists()


@pytest.mark.parametrize("loads", [True, False])
def test_a_doctor_who_waits_for_a_server_can_be_called_off(stand_in, loads):
    """For one that loads, and for one that listens and says nothing."""
    python, model = stand_in
    with contextlib.ExitStack() as opened:
        stuck = opened.enter_context(socket.create_server(("127.0.0.1", 0)))
        url = f"http://127.0.0.1:{stuck.getsockname()[1]}"
        spec = [model, "--vllm", python, "--big-args=--slow"] if loads else [url]
        command = [sys.executable, "-m", "speculative.cli", "doctor", "--big", *spec]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as doctor:
            if loads:
                deadline = time.monotonic() + 20
                while len(guard.family(doctor.pid)) < 3 and time.monotonic() < deadline:
                    time.sleep(0.05)
            else:
                opened.enter_context(stuck.accept()[0])
            tree = guard.family(doctor.pid)
            doctor.send_signal(signal.SIGINT)
            assert doctor.wait(15) == 130
            *before, last = doctor.stderr.read().splitlines()
            assert last == "speculative: interrupted"
            assert bool(before) == loads
        assert gone(tree)


async def test_servers_that_are_kept_serve_the_next_command_until_they_are_ended(stand_in, capfd):
    python, model = stand_in
    options = {"big": EngineOptions(vllm=python, keep=True)}
    first = await asyncio.to_thread(Pair.open, model, "bundled:small", options=options)
    running = first["big"].running
    tree = guard.family(running.process.pid)
    assert len(tree) >= 3
    await first.aclose()
    assert all(lives(pid) for pid in tree)
    again = await asyncio.to_thread(Pair.open, model, "bundled:small", options={"big": EngineOptions(vllm=python)})
    assert again["big"].running.process is None
    assert again["big"].running.url == running.url
    await again.aclose()
    assert all(lives(pid) for pid in tree)
    assert await asyncio.to_thread(run, ["down"]) == 0
    running.process.wait(10)
    assert gone(tree)
    assert not kept.notes()
    assert await asyncio.to_thread(run, ["down"]) == 2


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_kept_server_outlives_us_and_is_ended_by_hand(stand_in, number):
    python, model = stand_in
    program = textwrap.dedent(f"""
        import time
        from speculative.engines import guard, vllm
        guard.GRACE = 1.0
        running = vllm.start(vllm.Launch({model!r}, {python!r}, keep=True))
        print(running.process.pid, flush=True)
        time.sleep(600)
    """)
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as ours:
        tree = guard.family(int(ours.stdout.readline()))
        ours.send_signal(number)
        ours.wait()
    time.sleep(0.5)
    assert all(lives(pid) for pid in tree)
    assert run(["down"]) == 0
    assert gone(tree)


def test_one_that_is_to_be_kept_and_does_not_load_is_ended(stand_in):
    python, model = stand_in
    before = set(guard.family(os.getpid()))
    with pytest.raises(EngineUnreachable, match="did not load"):
        VllmEngine.serve(Launch(model, python, args="--slow", deadline=0.3, keep=True))
    assert gone(set(guard.family(os.getpid())) - before)
    assert not kept.notes()


def test_when_the_second_cannot_be_begun_the_first_is_ended(stand_in, monkeypatch):
    python, model = stand_in
    before = set(guard.family(os.getpid()))
    with pytest.raises(UsageError, match="--vllm PYTHON"):
        Pair.open(model, model, options={"big": EngineOptions(vllm=python)})
    assert gone(set(guard.family(os.getpid())) - before)


async def test_when_a_server_of_ours_dies_the_error_names_its_log(stand_in, monkeypatch):
    python, model = stand_in
    monkeypatch.setattr(http, "ATTEMPTS", 1)
    opened = await asyncio.to_thread(engine, model, EngineOptions(vllm=python))
    await asyncio.to_thread(opened.running.stop)
    calls = [
        lambda: opened.complete([[1]], Decoding(1), key="", tally=Tally()),
        lambda: anext(opened.stream([1], Decoding(1), key="", tally=Tally())),
        lambda: opened.score([[1]], [[2]], key="", tally=Tally()),
    ]
    for call in calls:
        with pytest.raises(EngineUnreachable, match=r"nothing listens there.*; its log: .*vllm-\d+\.log$"):
            await call()
    await opened.aclose()


async def test_a_server_that_an_error_blames_keeps_its_log(stand_in, monkeypatch):
    python, model = stand_in
    monkeypatch.setattr(http, "ATTEMPTS", 1)
    opened = await asyncio.to_thread(engine, model, EngineOptions(vllm=python))
    opened.link.replicas = http.Replicas(["http://127.0.0.1:9"])  # as if it had died
    with pytest.raises(EngineUnreachable, match=r"its log: "):
        await opened.complete([[1]], Decoding(1), key="", tally=Tally())
    await opened.aclose()
    assert opened.running.log.exists()


async def test_who_stops_listening_ends_the_call(stand_in):
    python, model = stand_in
    opened = await asyncio.to_thread(engine, model, EngineOptions(vllm=python))
    closed = []

    async def answer(*_):
        try:
            yield b"one"
            yield b"two"
        finally:
            closed.append(True)

    opened.link.stream = answer
    stream = opened.stream([1], Decoding(4), key="", tally=Tally())
    assert await anext(stream) == b"one"
    await stream.aclose()
    assert closed
    await opened.aclose()


def test_a_terminal_sees_one_line_and_a_file_a_line_now_and_then(monkeypatch, capfd):
    monkeypatch.setattr(loading, "PAUSE", 0.0)
    with loading.Loading() as tell:
        tell("loading a model (15 s): so far")
    assert capfd.readouterr().err == "speculative: loading a model (15 s): so far\n"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with loading.Loading() as tell:
        tell("one")
        tell("two")
    assert capfd.readouterr().err == "\r\033[Kone\r\033[Ktwo\r\033[K"


def test_ending_a_family_ends_all_of_it():
    command = ["sh", "-c", "trap '' TERM; sleep 600 & sh -c 'sleep 600' & wait; sleep 600"]
    with subprocess.Popen(command, start_new_session=True) as process:
        deadline = time.monotonic() + 10
        while len(guard.family(process.pid)) < 3 and time.monotonic() < deadline:
            time.sleep(0.05)
        tree = guard.family(process.pid)
        assert guard.lives(tree[1], tree)
        guard.end(process, 0.3)
        assert gone(tree)
    assert not guard.lives(tree[1], tree)
    assert guard.family(process.pid) == [process.pid]


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
    log.write_text("loading\nRuntimeError: none\n")
    assert cause(log) == "RuntimeError: none"
    assert cause(None) == "no log"
