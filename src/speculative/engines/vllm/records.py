"""Records of servers, by which other commands find, use and end them."""

from __future__ import annotations

import os
import signal
from collections.abc import Collection, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from platform import node
from typing import Any

import msgspec
from filelock import FileLock, Timeout
from msgspec import Struct

from speculative.engines.vllm.guard import start_time
from speculative.errors import UsageError
from speculative.files import write_file

SUFFIX = ".note.json"
CLOCK_SHIFT_S = 5.0
"""Seconds by which the start of one process may be told in two ways: the system reckons it from a clock that is set now and then."""


class ServerRecord(Struct, frozen=True):
    """A server that we started: its guard, its address and its settings.

    `began` tells the guard from a later process with its number. `held`: it stays open between commands, and `speculative down` may end
    it; else it ends with its command.
    """

    pid: int
    began: float | None
    url: str = ""
    launch: Any = None
    host: str = ""
    held: bool = False

    @property
    def runs(self) -> bool:
        """True if its guard still runs."""
        began = start_time(self.pid)
        return began is not None and self.began is not None and abs(began - self.began) < CLOCK_SHIFT_S


def state_folder() -> Path:
    """Returns the folder of logs and records.

    It is `$XDG_STATE_HOME/speculative`, else `~/.local/state/speculative`.
    """
    base = Path(os.environ.get("XDG_STATE_HOME", ""))  # (one that is not a full path counts as none, as that standard has it)
    folder = (base if base.is_absolute() else Path.home() / ".local" / "state") / "speculative"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # (a server's arguments may hold its key)
    return folder


@contextmanager
def start_lock(seconds: float = 10.0) -> Generator[None]:
    """Lets one command at a time look for a server and start it.

    Where files cannot be locked, or another command stands still in here, it goes on without.
    """
    lock = FileLock(state_folder().with_suffix(".lock"), timeout=seconds, poll_interval=0.02)
    with suppress(Timeout, OSError, NotImplementedError):
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def write_record(log: Path, pid: int, url: str, launch: Any = None, *, held: bool = True) -> Path:
    """Writes the record of a server beside its log, and returns the file."""
    file = log.with_suffix(SUFFIX)
    write_file(file, msgspec.json.encode(ServerRecord(pid, start_time(pid), url, msgspec.to_builtins(launch), node(), held)))
    return file


def log_of(file: Path) -> Path:
    """Returns the log of the server with that record."""
    return file.with_name(file.name.removesuffix(SUFFIX) + ".log")


def read_records() -> dict[Path, ServerRecord]:
    """Returns the records of this machine's servers that still run.

    Those of others that are gone are deleted.

    A home folder may be shared: the records of other machines are left alone.
    """
    records: dict[Path, ServerRecord] = {}
    for file in sorted(state_folder().glob(f"*{SUFFIX}")):
        try:
            record = msgspec.json.decode(file.read_bytes(), type=ServerRecord)
        except (OSError, RecursionError, msgspec.DecodeError):
            continue
        if record.host not in ("", node()):
            continue
        if record.runs:
            records[file] = record
        else:
            file.unlink(missing_ok=True)
    return records


def find_record(launch: Any, url: str | None = None, but: Collection[Path] = ()) -> tuple[Path, ServerRecord] | None:
    """Returns the server at an address.

    Without one, a held server that was started in the same way, and is not one of `but`.
    """
    wanted = msgspec.to_builtins(launch)
    for file, record in read_records().items():
        if record.url == url if url else record.held and record.launch == wanted and file not in but:
            return file, record
    return None


def request_stop(record: ServerRecord) -> None:
    """Asks the guard to end its server and itself.

    Raises `UsageError` for another user's.
    """
    try:
        if record.runs:
            os.kill(record.pid, signal.SIGTERM)
    except ProcessLookupError:
        pass  # just now
    except PermissionError:
        raise UsageError(f"the server at {record.url} was started by another user, who has to end it (process {record.pid})") from None
