"""Servers that stay open between commands: `speculative up`, `--no-terminate-on-exit`, and `speculative down`."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest
from msgspec import structs
from standing import command, gone, lives, program, until

from speculative.cli import run
from speculative.engines.options import EngineOptions
from speculative.engines.vllm import guard, records
from speculative.engines.vllm import launch as starting
from speculative.engines.vllm.engine import VllmEngine
from speculative.engines.vllm.launch import LaunchConfig
from speculative.errors import EngineUnreachableError
from speculative.pair import Pair


def test_a_process_that_began_at_another_time_is_another_process(stand_in):
    file = records.write_record(records.state_folder() / "vllm-1.log", os.getpid(), "http://127.0.0.1:1/v1")
    (record,) = records.read_records().values()
    assert record.runs
    assert structs.replace(record, began=record.began + 1.0).runs  # the system's clock was set
    assert not structs.replace(record, began=record.began - 60.0).runs
    assert not structs.replace(record, began=None).runs
    assert file.exists()


def test_a_lock_that_another_command_holds_is_not_waited_for_for_ever(stand_in):
    with records.start_lock(), records.start_lock(0.05):
        pass


@pytest.mark.slow
def test_servers_are_held_open_and_let_go(stand_in, capfd):
    model = stand_in[1]
    with subprocess.Popen(
        command(stand_in, "up", "--big", model, "--small", model), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as held:
        line = held.stdout.readline()
        assert line.startswith("speculative ask --big http://127.0.0.1:")
        url = line.split()[3]
        tree = guard.process_tree(held.pid)
        assert len(tree) >= 7
        assert starting.answers(url)
        assert run(["down"]) == 0
        assert held.wait(100) == 0
    assert gone(tree)
    assert run(["down"]) == 2
    assert "there are no servers to stop" in capfd.readouterr().err
    assert run(["up"]) == 2


@pytest.mark.slow
def test_the_line_of_up_names_the_whole_pair(stand_in):
    model = stand_in[1]
    words = ["up", "--big", model, "--small", "http://one:8000", "--small", "http://two:8000", "--judge", model]
    with subprocess.Popen(command(stand_in, *words), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as held:
        words = held.stdout.readline().split()
        tree = guard.process_tree(held.pid)
        held.send_signal(signal.SIGTERM)
        assert held.wait(100) == 0
    assert words[2:7:2] == ["--big", "--judge", "--small"]
    assert words[6:] == ["--small", "http://one:8000", "--small", "http://two:8000"]
    assert gone(tree)


def test_up_starts_nothing_beside_a_spec_that_names_no_engine(stand_in, capfd):
    assert run(["up", "--big", stand_in[1], "--small", "/no/such/folder", "--vllm", stand_in[0]]) == 2
    assert "unknown engine '/no/such/folder'" in capfd.readouterr().err
    assert not list(records.state_folder().iterdir())


@pytest.mark.slow
def test_the_line_of_up_names_a_bundled_model_out_of_its_role(stand_in):
    words = ["up", "--big", "bundled:small", "--small", stand_in[1]]
    with subprocess.Popen(command(stand_in, *words), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as held:
        assert held.stdout.readline().startswith("speculative ask --big bundled:small --small http://")
        held.send_signal(signal.SIGINT)
        assert held.wait(100) == 0


@pytest.mark.slow
def test_an_up_that_is_called_off_before_the_servers_are_open_has_not_done_its_work(stand_in):
    words = command(stand_in, "up", "--big", stand_in[1], "--big-args=--slow")
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as held:
        assert until(lambda: len(guard.process_tree(held.pid)) >= 3)
        held.send_signal(signal.SIGINT)
        assert held.wait(100) == 130
        assert held.stdout.read() == ""


@pytest.mark.parametrize("given", ["", "state"])
def test_a_state_folder_that_is_no_full_path_counts_as_none(tmp_path, monkeypatch, given):
    """Else each folder that a command is typed in would have servers of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_STATE_HOME", given)
    assert records.state_folder() == tmp_path / "home" / ".local" / "state" / "speculative"


def test_what_is_noted_is_nobody_elses(stand_in):
    """A server's arguments may hold its key."""
    assert records.state_folder().stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(("error", "code"), [(ProcessLookupError, 0), (PermissionError, 2)])
def test_a_server_that_just_ended_or_is_another_users(stand_in, monkeypatch, capfd, error, code):
    file = records.write_record(records.state_folder() / "vllm-1.log", os.getpid(), "http://127.0.0.1:1/v1")

    def kill(*_):
        file.unlink()
        raise error

    monkeypatch.setattr(os, "kill", kill)
    assert run(["down"]) == code
    said = f"the server at http://127.0.0.1:1/v1 was started by another user, who has to end it (process {os.getpid()})"
    assert (said in capfd.readouterr().err) == bool(code)


def test_servers_of_another_machine_are_left_to_it(stand_in, monkeypatch):
    with monkeypatch.context() as there:
        there.setattr(records, "node", lambda: "another")
        file = records.write_record(records.state_folder() / "vllm-1.log", os.getpid(), "http://127.0.0.1:1/v1")
        assert list(records.read_records()) == [file]
    assert not records.read_records()
    assert file.exists()


async def test_servers_that_are_kept_serve_the_next_command_until_they_are_ended(stand_in, capfd):
    python, model = stand_in
    options = {"big": EngineOptions(vllm=python, keep=True)}
    first = await asyncio.to_thread(Pair.open, model, "bundled:small", options=options)
    running = first["big"].running
    tree = guard.process_tree(running.process.pid)
    assert len(tree) >= 3
    await first.aclose()
    assert all(lives(pid) for pid in tree)
    again = await asyncio.to_thread(Pair.open, model, "bundled:small", options={"big": EngineOptions(vllm=python)})
    assert again["big"].running.process is None
    assert again["big"].running.url == running.url
    await again.aclose()
    assert all(lives(pid) for pid in tree)
    assert await asyncio.to_thread(run, ["down"]) == 0
    running.process.wait(100)
    assert gone(tree)
    assert not records.read_records()
    assert await asyncio.to_thread(run, ["down"]) == 2


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_kept_server_outlives_us_and_is_ended_by_hand(stand_in, number):
    with subprocess.Popen(program(stand_in, "keep=True"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as ours:
        tree = guard.process_tree(int(ours.stdout.readline()))
        ours.send_signal(number)
        ours.wait()
    time.sleep(0.5)
    assert all(lives(pid) for pid in tree)
    assert run(["down"]) == 0
    assert gone(tree)


def test_one_that_is_to_be_kept_and_could_not_be_noted_ends_with_us(stand_in):
    """Killed just before the note: `speculative down` would not find it."""
    program = textwrap.dedent(f"""
        import os
        from speculative.engines.vllm import records, launch as starting
        records.write_record = lambda log, pid, *_, **__: (print(pid, flush=True), os._exit(1))
        starting.start(starting.LaunchConfig({stand_in[1]!r}, {stand_in[0]!r}, keep=True))
    """)
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=False)
    assert gone(guard.process_tree(int(done.stdout)))


def test_one_that_is_to_be_kept_and_does_not_load_is_ended(stand_in):
    python, model = stand_in
    before = set(guard.process_tree(os.getpid()))
    with pytest.raises(EngineUnreachableError, match="did not load"):
        VllmEngine.serve(LaunchConfig(model, python, args="--slow", deadline=0.3, keep=True))
    assert gone(set(guard.process_tree(os.getpid())) - before)
    assert not records.read_records()
