"""Commands that want the same server at once: one starts it, the others wait for it, and `speculative down` may come in between."""

import signal
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from msgspec import structs
from standing import command, gone, until

from speculative.cli import run
from speculative.engines.vllm import guard, records
from speculative.engines.vllm import launch as starting
from speculative.engines.vllm.launch import LaunchConfig
from speculative.engines.vllm.process import end_all
from speculative.errors import EngineUnreachableError, UsageError


@pytest.fixture
def loading(stand_in, tmp_path):
    """A launch of a server that is loaded as soon as the file is there."""
    python, model = stand_in
    return LaunchConfig(model, python, port=starting.free_port(), args=f"--until {tmp_path / 'loaded'}"), tmp_path / "loaded"


def test_a_server_that_another_command_loads_is_waited_for(loading):
    launch, file = loading
    first = starting.start(launch)
    said = []

    def tell(line):
        said.append(line)
        file.touch()

    try:
        second = starting.start(LaunchConfig(launch.model, "/nowhere", port=launch.port))
        assert (second.url, second.process) == (first.url, None)
        starting.wait_ready(second, launch, tell)
        assert said[0].startswith(f"waiting for {launch.model}, which another command started (0 s): ")
        second.end()
        assert starting.answers(first.url)
    finally:
        first.end()
    assert not records.read_records()


@pytest.mark.slow
def test_a_server_that_is_to_stay_is_waited_for_by_those_who_name_its_model_in_the_same_way(stand_in, loading):
    launch, file = structs.replace(loading[0], port=0), loading[1]
    with typed(stand_in, launch, "up") as first:
        begins()
        ((_, note),) = records.read_records().items()
        again = starting.start(launch)
        assert (again.url, again.process) == (note.url, None)
        file.touch()
        starting.wait_ready(again, launch)
        assert first.stdout.readline() == f"speculative ask --big {note.url}\n"
        assert run(["down"]) == 0
        assert first.wait(100) == 0
    assert not records.read_records()


@pytest.mark.slow
def test_two_roles_of_one_model_have_a_server_each(loading):
    launch, file = structs.replace(loading[0], port=0), loading[1]
    both = [starting.start(launch, held=True) for _ in range(2)]
    try:
        file.touch()
        assert len({starting.wait_ready(one, launch).url for one in both}) == 2
        assert starting.start(launch).process is None
    finally:
        end_all(both)


def test_two_models_on_one_port_are_refused_and_one_is_shared(loading, caplog):
    launch, _ = loading
    first = starting.start(launch)
    try:
        with pytest.raises(UsageError, match=f"port {launch.port} is for .*/model already; name another for some/model"):
            starting.start(structs.replace(launch, model="some/model"))
        second = starting.start(launch)
        assert (second.url, second.process) == (first.url, None)
        assert not caplog.messages
    finally:
        first.end()


def test_of_many_that_start_at_once_one_does(loading):
    launch, _ = loading
    together = threading.Barrier(4)

    def begun(_):
        together.wait()
        return starting.start(launch)

    with ThreadPoolExecutor(4) as pool:
        several = list(pool.map(begun, range(4)))
    try:
        assert sum(one.process is not None for one in several) == 1
    finally:
        end_all(several)


def test_who_waits_for_a_server_that_breaks_is_told_where_its_log_is(loading):
    launch, file = loading
    first = starting.start(LaunchConfig(launch.model, launch.python, port=launch.port, args=f"{launch.args} --broken"))
    second = starting.start(launch)
    with ThreadPoolExecutor(1) as pool:
        failing = pool.submit(starting.wait_ready, first, launch)
        with pytest.raises(EngineUnreachableError, match=r"another command started .* has ended; its log: (.*)$") as raised:
            starting.wait_ready(second, launch, lambda _: file.touch())
        assert "out of memory" in Path(str(raised.value).rpartition("its log: ")[2]).read_text()
        with pytest.raises(EngineUnreachableError, match="ended with 3"):
            failing.result(100)


def test_who_waits_has_a_deadline_of_its_own_and_may_leave(loading):
    launch, file = loading
    first = starting.start(launch)

    def leave(_):
        raise KeyboardInterrupt

    try:
        with pytest.raises(KeyboardInterrupt):
            starting.start_and_wait(launch, leave)
        with pytest.raises(EngineUnreachableError, match=r"another command started .* has not answered within 0\.2 s \(log: .*\); wait"):
            starting.start_and_wait(LaunchConfig(launch.model, launch.python, port=launch.port, deadline=0.2))
        file.touch()
        starting.wait_ready(first, launch)
    finally:
        first.end()


def test_a_server_that_ends_with_another_command_is_used_and_told(loading, caplog):
    launch, file = loading
    file.touch()
    first = starting.start_and_wait(launch)
    try:
        assert starting.start_and_wait(launch).process is None
        assert caplog.messages == [f"{first.url} was started by another command and ends with it"]
    finally:
        first.end()


class Quiet(BaseHTTPRequestHandler):
    """A web server that has no page."""

    def log_message(self, *_):
        pass


def test_a_port_that_something_else_has_is_said(loading, monkeypatch):
    launch, _ = loading
    monkeypatch.setattr(starting, "STRANGER_TIMEOUT_S", 0.2)
    said = []
    told = rf"what listens at http://127.0.0.1:{launch.port}/v1 did not answer as .* within 0\.2 s; .*name another port"
    with ThreadingHTTPServer(("127.0.0.1", launch.port), Quiet) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,)).start()
        try:
            with pytest.raises(EngineUnreachableError, match=told):
                starting.start_and_wait(launch, said.append)
        finally:
            server.shutdown()
    assert said[0].startswith("waiting for what listens at")
    assert not list(records.state_folder().iterdir())  # nothing was started


@pytest.mark.slow
def test_a_log_that_an_error_named_still_shows_what_it_showed(loading):
    launch, file = loading
    file.touch()
    with pytest.raises(EngineUnreachableError) as raised:
        starting.start_and_wait(LaunchConfig(launch.model, launch.python, port=launch.port, args="--broken"))
    starting.start_and_wait(launch).stop()
    assert "out of memory" in Path(str(raised.value).rpartition("all of it: ")[2].rstrip(")")).read_text()


def typed(stand_in, launch, what, *more):
    words = [what, *more, "--big", launch.model, "--big-port", str(launch.port), f"--big-args={launch.args}"]
    return subprocess.Popen(command(stand_in, *words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def begins():
    """Waits until a server loads, and is noted."""
    assert until(lambda: records.read_records() and any("args" in log.read_text() for log in records.state_folder().glob("*.log")))


@pytest.mark.slow
def test_a_second_up_says_that_the_servers_are_open(stand_in, loading):
    launch, file = loading
    with typed(stand_in, launch, "up") as first:
        begins()
        with typed(stand_in, launch, "up") as second:
            file.touch()
            line, told = second.communicate(timeout=100)
        assert second.returncode == 0
        assert line == first.stdout.readline() == f"speculative ask --big http://127.0.0.1:{launch.port}/v1\n"
        assert told.splitlines()[-1] == "speculative: note: all of these servers run already; the commands that started them will stop them"
        assert run(["down"]) == 0
        assert first.wait(100) == 0


@pytest.mark.slow
@pytest.mark.parametrize("what", [("up",), ("ask", "How many?", "--no-terminate-on-exit")])
def test_down_ends_what_is_still_loading(stand_in, loading, what):
    launch, _ = loading
    with typed(stand_in, launch, *what) as first:
        begins()
        tree = guard.process_tree(first.pid)
        assert run(["down"]) == 0
        assert first.wait(100) == 1
        said = first.stderr.read()
    assert said.splitlines()[-1] == f"speculative: vLLM was ended (SIGTERM, as `speculative down` sends it) while it loaded {launch.model}"
    assert gone(tree)
    assert not list(records.state_folder().iterdir())


@pytest.mark.slow
def test_down_leaves_what_ends_with_its_command(stand_in, loading, capfd):
    launch, _ = loading
    with typed(stand_in, launch, "ask", "How many?") as asking:
        begins()
        assert run(["down"]) == 2
        assert "there are no servers to stop" in capfd.readouterr().err
        assert asking.poll() is None
        asking.send_signal(signal.SIGINT)
        assert asking.wait(100) == 130
