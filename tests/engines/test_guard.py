"""How servers that were started here end: with their children, and however we end ourselves."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from profiles import quick_cases
from standing import command, gone, program, until

from speculative.engines.vllm import guard, records
from speculative.engines.vllm import launch as starting
from speculative.engines.vllm.launch import LaunchConfig


@pytest.mark.parametrize("number", quick_cases([signal.SIGKILL, signal.SIGTERM, signal.SIGINT]))
def test_nothing_is_left_when_we_die(stand_in, number):
    """Ours is killed in every way while its server runs: the server, and its child that ignores SIGTERM, go too."""
    with subprocess.Popen(program(stand_in, "args='--deaf'"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as ours:
        pid = int(ours.stdout.readline())
        tree = guard.process_tree(pid)
        assert len(tree) >= 3
        ours.send_signal(number)
        ours.wait()
        assert gone(tree)


def test_what_a_killed_server_leaves_behind_goes_too(stand_in):
    """The server itself is killed, from outside: its child, which is deaf and has lost its parent, is found and ended."""
    python, model = stand_in
    running = starting.start_and_wait(LaunchConfig(model, python, args="--deaf"))
    tree = guard.process_tree(running.process.pid)
    assert len(tree) >= 3
    os.kill(tree[1], signal.SIGKILL)
    assert gone(tree)
    running.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="the system's own way to tell a child that its parent was killed")
def test_a_server_whose_guard_is_killed_is_asked_to_end(stand_in):
    python, model = stand_in
    running = starting.start_and_wait(LaunchConfig(model, python))
    tree = guard.process_tree(running.process.pid)
    running.process.kill()
    try:
        assert gone(tree[1:2])
    finally:
        for pid in tree[2:]:
            os.kill(pid, signal.SIGKILL)
        running.stop()


def test_ending_a_family_ends_all_of_it():
    shell = ["sh", "-c", "trap '' TERM; sleep 600 & sh -c 'sleep 600' & wait; sleep 600"]
    with subprocess.Popen(shell, start_new_session=True) as process:
        assert until(lambda: len(guard.process_tree(process.pid)) >= 3)
        tree = guard.process_tree(process.pid)
        assert guard.start_time(tree[1])
        guard.end(process, 0.3)
        assert gone(tree)
    assert not guard.start_time(tree[1])
    assert guard.process_tree(process.pid) == [process.pid]


@pytest.mark.slow
@pytest.mark.parametrize("args", ["--slow", "--slow --deaf"])
def test_ctrl_c_while_a_server_loads_says_what_is_waited_for_and_a_second_one_ends_it(stand_in, args):
    """The deaf server does not hear that it is to end: with us gone, it is not left the time that it had."""
    words = command(stand_in, "ask", "How many?", "--big", stand_in[1], f"--big-args={args}")
    said = "deaf" if "deaf" in args else "args"
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as asking:
        assert until(lambda: said in "".join(file.read_text() for file in records.state_folder().glob("*.log")))
        tree = guard.process_tree(asking.pid)
        assert len(tree) >= 3
        asking.send_signal(signal.SIGINT)
        lines = iter(asking.stderr.readline, "")
        assert any(line.startswith("speculative: ending the servers of this command (a second Ctrl-C") for line in lines)
        if "--deaf" in args:
            asking.send_signal(signal.SIGINT)
        assert asking.wait(100) == 130
    assert gone(tree, 5)  # of 10 s that a server has


@pytest.mark.slow
@pytest.mark.parametrize("loads", [True, False])
def test_a_doctor_who_waits_for_a_server_can_be_called_off(stand_in, loads):
    """For one that loads, and for one that listens and says nothing."""
    with contextlib.ExitStack() as opened:
        stuck = opened.enter_context(socket.create_server(("127.0.0.1", 0)))
        url = f"http://127.0.0.1:{stuck.getsockname()[1]}"
        spec = [stand_in[1], "--big-args=--slow"] if loads else [url]
        with subprocess.Popen(command(stand_in, "doctor", "--big", *spec), stderr=subprocess.PIPE, text=True) as doctor:
            if loads:
                assert until(lambda: len(guard.process_tree(doctor.pid)) >= 3)
            else:
                opened.enter_context(stuck.accept()[0])
            tree = guard.process_tree(doctor.pid)
            doctor.send_signal(signal.SIGINT)
            assert doctor.wait(100) == 130
            *before, last = doctor.stderr.read().splitlines()
            assert last == "speculative: interrupted"
            assert bool(before) == loads
        assert gone(tree)


def test_a_number_that_has_become_another_process_is_left_alone(monkeypatch):
    start_time, tree = guard.start_time, guard.process_tree
    with subprocess.Popen(["sleep", "600"]) as other, subprocess.Popen(["sleep", "600"], start_new_session=True) as ended:
        earlier, first = {other.pid: 1.0}, [other.pid]
        monkeypatch.setattr(guard, "start_time", lambda pid: earlier.pop(pid, None) or start_time(pid))
        monkeypatch.setattr(guard, "process_tree", lambda pid: tree(pid) + [first.pop() for _ in first[:]])
        guard.end(ended, 0.3)
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(0.3)
        other.kill()


def test_a_second_signal_ends_at_once_what_does_not_hear_the_first(tmp_path):
    log = tmp_path / "log"
    shell = ["sh", "-c", "trap '' TERM; echo deaf; sleep 600 & wait; sleep 600"]
    words = [sys.executable, "-I", guard.__file__, str(Path(psutil.__file__).parents[1]), "60", str(log), *shell]
    with subprocess.Popen(words, stdin=subprocess.PIPE) as ours:
        assert until(lambda: log.exists() and "deaf" in log.read_text())
        tree = guard.process_tree(ours.pid)
        ours.send_signal(signal.SIGTERM)
        ours.send_signal(signal.SIGINT)
        assert ours.wait(100) in (128 + signal.SIGTERM, 128 + signal.SIGINT)
    assert gone(tree)
