"""Runs one command, and ends it with all its children when the program that asked for it is gone, however it went.

    python guard.py SECONDS LOG COMMAND…

It is a program of its own, so that no crash can skip it: it reads its standard input, which closes when the other side ends. There it is
also asked to end the command; when the other side is gone after that, nobody waits, and the command is killed at once. Or it is told to
keep the command: that goes on when the other side ends, and only a signal to us ends it, or being asked.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

ASK, KEEP = b"E", b"K"
"""What is said to it."""

DEATH_SIGNAL, SUBREAPER = 1, 36
"""`PR_SET_PDEATHSIG` and `PR_SET_CHILD_SUBREAPER` of Linux."""

GRACE = 10.0
"""Seconds between asking the command to end and killing it."""


def family(pid: int) -> list[int]:
    """A process and all that descend from it, as far as `/proc` tells (elsewhere: the process alone)."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            after = entry.read_text().rpartition(")")[2].split()
            parents[int(entry.parent.name)] = int(after[1])
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


def began(pid: int) -> str | None:
    """When a process began, in the system's ticks: its number may be another one's by now. None: it does not run, or cannot be known."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def adopt() -> None:
    """Whatever our command leaves without a parent becomes our child (where the system can do that), so that it is found at the end."""
    _prctl(SUBREAPER, 1)


def follow() -> None:
    """In the command, before it begins: it is asked to end when we are killed."""
    _prctl(DEATH_SIGNAL, signal.SIGTERM)


def _prctl(option: int, value: int) -> None:
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def end(command: subprocess.Popen[bytes], grace: float, *, alone: bool = False, now: Callable[[], bool] = bool) -> None:
    """Asks the command and its descendants to end, waits, and kills what is left. Nothing else is touched.

    `alone`: this process has no other children, so what it has adopted is the command's. `now`: whether the waiting is to be cut short.
    """

    def ours() -> dict[int, str]:
        found = [*family(command.pid), *(family(os.getpid())[1:] if alone else ())]
        return {pid: start for pid in found if (start := began(pid))}

    def left() -> list[int]:
        return [pid for pid, start in members.items() if pid != command.pid and began(pid) == start]

    members = ours()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(command.pid, signal.SIGTERM)
    deadline = time.monotonic() + grace
    while command.poll() is None or left():
        if time.monotonic() >= deadline or now():
            break
        time.sleep(0.05)
        members |= ours()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(command.pid, signal.SIGKILL)
    for pid in left():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    command.wait()


def reap(seconds: float = 5.0) -> None:
    """Takes leave of adopted children that are dead: nobody else may do so, and they would be listed for ever."""
    deadline = time.monotonic() + seconds
    with contextlib.suppress(ChildProcessError):
        while time.monotonic() < deadline:
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                time.sleep(0.02)


def main(grace: str, log: str, *command: str) -> int:
    """Runs the command until it ends, a signal or standard input asks for its end, or that does end; then it has `grace` seconds.

    Gives the command's exit code back, after a signal that one.
    """
    adopt()
    asked, left = threading.Event(), threading.Event()
    told, again = list[int](), list[int]()

    def leave(number: int, frame: object) -> None:  # (setting an event that the same thread waits for may lock it up)
        (again if told or asked.is_set() else told).append(number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, leave)
    with Path(log).open("ab") as out:
        fcntl.flock(out, fcntl.LOCK_SH)  # as long as it, or one of its children, may write there
        try:
            started = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, preexec_fn=follow)
        except OSError as error:
            out.write(f"{command[0]} cannot be run: {error.strerror}\n".encode())
            return 127

    def listen() -> None:
        keep = False
        while said := os.read(0, 4096):
            keep = keep or KEEP in said
            if ASK in said:
                asked.set()
        if told or asked.is_set():
            left.set()
        elif not keep:
            asked.set()

    threading.Thread(target=listen, daemon=True).start()
    while started.poll() is None and not told and not asked.wait(0.2):
        pass
    signalled = 128 + told[0] if told and started.poll() is None else 0
    end(started, float(grace), alone=True, now=lambda: bool(again) or left.is_set())
    reap()
    return signalled or (started.returncode if started.returncode >= 0 else 128 - started.returncode)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
