"""A model server that runs: one that we started, or one that was there already.

Only those that we started are ended.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from speculative.engines.vllm import guard

LOG_KEPT_S = 7 * 86400.0
"""Seconds for which the log of a server that did not end well is kept."""

_OURS: list[ServerProcess] = []


class ServerProcess:
    """A server.

    `process`: the guard of one that we started; None: it was there already, or another command loads it.

    `keep`: it outlives us, once it is `loaded`. `blamed`: an error has named its log, which is to stay. `record`: the file by which
    other commands find it, or by which we found it (see `records`).
    """

    record: Path | None = None

    def __init__(self, url: str, log: Path | None, process: subprocess.Popen[bytes] | None, keep: bool = False) -> None:
        self.url, self.log, self.process, self.keep = url, log, process, keep
        self.begun = time.monotonic()
        self.loaded = self.blamed = self._asked = self._well = False
        if process:
            _OURS.append(self)

    @classmethod
    def start(cls, url: str, log: Path, command: Sequence[str], environment: Mapping[str, str], keep: bool = False) -> ServerProcess:
        """Starts a command under a guard, in a session that Ctrl-C does not reach."""
        folder = str(Path(psutil.__file__).parents[1])
        process = subprocess.Popen(
            [sys.executable, "-I", guard.__file__, folder, str(guard.GRACE), str(log), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )
        return cls(url, log, process, keep)

    @property
    def stays(self) -> bool:
        return self.keep and self.loaded

    def stop(self) -> None:
        """Ends the server, if it is ours and not to be kept, with all its processes."""
        if not self.stays:
            self.end()
        elif self.process and self.process.stdin:
            self.process.stdin.close()

    def end(self) -> None:
        """Ends the server, if it is ours.

        Its log is deleted if it loaded, ran until now and was not blamed.
        """
        self.request_end()
        if self.process is None:
            return
        try:
            self.process.wait(guard.GRACE + 10)
        except subprocess.TimeoutExpired:  # pragma: no cover (the guard itself is stuck)
            self.process.kill()
            self.process.wait()
        if self.process.stdin:
            with suppress(OSError):
                self.process.stdin.close()
        if self in _OURS:
            _OURS.remove(self)
        if self.record:
            self.record.unlink(missing_ok=True)
        if self.log and self._well and not self.blamed:
            self.log.unlink(missing_ok=True)

    def request_end(self) -> None:
        """Begins to end the server, if it is ours, and does not wait.

        If we are gone before it is, it is killed at once.
        """
        if self.process is None or self._asked:
            return
        self._asked, self._well = True, self.loaded and self.process.poll() is None
        self._say(guard.END)

    def outlive(self) -> None:
        """Lets the server go on when we end: other commands can find it from now on."""
        self._say(guard.KEEP)

    def _say(self, word: bytes) -> None:
        if self.process and self.process.stdin:
            with suppress(OSError, ValueError):  # it has ended by itself, or was left to itself
                self.process.stdin.write(word)
                self.process.stdin.flush()


def ending() -> list[ServerProcess]:
    """Returns our servers that end when we do."""
    return [one for one in _OURS if not one.stays]


def loading() -> list[Path]:
    """Returns the records of our servers that are not loaded yet.

    Two roles with one model have a server each.
    """
    return [one.record for one in _OURS if one.record and not one.loaded]


def end_all(servers: Sequence[ServerProcess]) -> None:
    """Ends servers side by side."""
    for one in servers:
        one.request_end()
    for one in servers:
        one.end()


def delete_old_logs(folder: Path) -> None:
    """Deletes logs that are a week old. A running guard holds the lock of its own."""
    for log in folder.glob("*.log"):
        with suppress(OSError), log.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if time.time() - os.fstat(file.fileno()).st_mtime > LOG_KEPT_S:
                log.unlink()
