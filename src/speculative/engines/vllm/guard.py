"""Runs a command, and ends it with all its children when its starter is gone.

    python guard.py PATH SECONDS LOG COMMAND…

It is a program of its own, so that no crash can skip it. PATH is the folder that holds psutil. It reads its standard input, which closes
when the other side ends: then the command is ended. A word there asks for the end (E), or to keep the command (K). A kept command goes on
when the other side ends, and ends by a signal to the guard. Once the end was asked for, a closed input kills the command at once.
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

if __name__ == "__main__":
    sys.path.append(sys.argv.pop(1))

import psutil

END, KEEP = b"E", b"K"
"""The words that it reads."""

DEATH_SIGNAL, SUBREAPER = 1, 36
"""`PR_SET_PDEATHSIG` and `PR_SET_CHILD_SUBREAPER` of Linux."""

GRACE = 10.0
"""Seconds between asking the command to end and killing it."""


def process_tree(pid: int) -> list[int]:
    """Returns a process and all its descendants.

    `Process.children` is not used: it compares times of the wall clock, and finds nothing where that clock was set meanwhile.
    """
    children: dict[int, list[int]] = {}
    for number in psutil.pids():
        with contextlib.suppress(psutil.Error):
            children.setdefault(psutil.Process(number).ppid(), []).append(number)
    tree = [pid]
    for parent in tree:
        tree += children.get(parent, ())
    return tree


def start_time(pid: int) -> float | None:
    """Returns when a process began, which tells it from a later one with its number.

    None if it does not run.
    """
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        return None if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD) else process.create_time()
    return None


def _prctl(option: int, value: int) -> None:
    with contextlib.suppress(OSError, AttributeError):  # another system
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def end(command: subprocess.Popen[bytes], grace: float, *, alone: bool = False, cut_short: Callable[[], bool] = bool) -> None:
    """Asks a command and its descendants to end, waits, and kills those that are left.

    `alone`: this process has no other children, so those that it has adopted are the command's. `cut_short`: returns True to end the wait.
    """

    def running() -> dict[int, float]:
        pids = [*process_tree(command.pid), *(process_tree(os.getpid())[1:] if alone else ())]
        return {pid: began for pid in pids if (began := start_time(pid))}

    def left() -> list[int]:
        return [pid for pid, began in members.items() if pid != command.pid and start_time(pid) == began]

    members = running()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(command.pid, signal.SIGTERM)
    deadline = time.monotonic() + grace
    while (command.poll() is None or left()) and time.monotonic() < deadline and not cut_short():
        time.sleep(0.05)
        members |= running()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(command.pid, signal.SIGKILL)
    for pid in left():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    command.wait()


def _reap(seconds: float = 5.0) -> None:
    """Waits for adopted children that are dead, so that the system forgets them."""
    deadline = time.monotonic() + seconds
    with contextlib.suppress(ChildProcessError):
        while time.monotonic() < deadline:
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                time.sleep(0.02)


def main(grace: str, log: str, *command: str) -> int:
    """Runs a command until it ends, or a signal or standard input asks for its end.

    It has `grace` seconds to end when asked.

    Returns the command's exit code, or after a signal that of the signal.
    """
    _prctl(SUBREAPER, 1)  # descendants that lose their parent become our children, so that they are found at the end
    asked, gone = threading.Event(), threading.Event()
    first, later = list[int](), list[int]()

    def note(number: int, frame: object) -> None:  # (setting an event that the same thread waits for may lock it up)
        (later if first or asked.is_set() else first).append(number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, note)
    with Path(log).open("ab") as out:
        fcntl.flock(out, fcntl.LOCK_SH)  # as long as it, or one of its children, may write there
        try:
            started = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                preexec_fn=lambda: _prctl(DEATH_SIGNAL, signal.SIGTERM),  # it is asked to end if the guard is killed
            )
        except OSError as error:
            out.write(f"{command[0]} cannot be run: {error.strerror}\n".encode())
            return 127

    def listen() -> None:
        keep = False
        while said := os.read(0, 4096):
            keep = keep or KEEP in said
            if END in said:
                asked.set()
        if first or asked.is_set():
            gone.set()
        elif not keep:
            asked.set()

    threading.Thread(target=listen, daemon=True).start()
    while started.poll() is None and not first and not asked.wait(0.2):
        pass
    signalled = 128 + first[0] if first and started.poll() is None else 0
    end(started, float(grace), alone=True, cut_short=lambda: bool(later) or gone.is_set())
    _reap()
    return signalled or (started.returncode if started.returncode >= 0 else 128 - started.returncode)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
