"""Servers that other commands may find: by a note they wait for one that loads and use it, and `speculative down` ends those that stay."""

from __future__ import annotations

import fcntl
import os
import signal
import time
from collections.abc import Collection, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from platform import node
from typing import Any

import msgspec
from msgspec import Struct

from speculative.engines.vllm.guard import began
from speculative.errors import UsageError
from speculative.files import write_file

NOTE = ".note.json"
PROC = Path("/proc")
"""Where the system tells of its processes: it takes that to know one again (`guard.began`)."""


class Note(Struct, frozen=True):
    """A server that we started: its guard (`began` tells it from a later process with its number), where it answers, how and on which
    machine it was started. `held`: it stays open between commands, and `speculative down` may end it; else it ends with its command.
    """

    pid: int
    began: str | None
    url: str = ""
    launch: Any = None
    host: str = ""
    held: bool = False


def state() -> Path:
    """Where logs and notes are kept: `$XDG_STATE_HOME/speculative`, else `~/.local/state/speculative`."""
    base = Path(os.environ.get("XDG_STATE_HOME", ""))  # (one that is not a full path counts as none, as that standard has it)
    folder = (base if base.is_absolute() else Path.home() / ".local" / "state") / "speculative"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # (a server's arguments may hold its key)
    return folder


@contextmanager
def alone(seconds: float = 10.0) -> Generator[None]:
    """One command at a time looks for a server and starts it: two at once would both find none.

    Where folders cannot be locked, or another command stands still in here, it goes on without.
    """
    folder, ends = os.open(state(), os.O_RDONLY), time.monotonic() + seconds
    try:
        with suppress(OSError):
            while not _locked(folder) and time.monotonic() < ends:
                time.sleep(0.02)
        yield
    finally:
        os.close(folder)


def _locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def able() -> bool:
    """Whether this system lets us know a process again."""
    return (PROC / str(os.getpid()) / "stat").is_file()


def check(what: str, instead: str) -> None:
    """Raises `UsageError` where it does not."""
    if not able():
        raise UsageError(f"{what} needs {PROC}, to know the process again that was started, and this system has none; {instead}")


def write(log: Path, pid: int, url: str, launch: Any = None, *, held: bool = True) -> Path:
    """Notes a server, beside its log; the file is given back."""
    file = log.with_suffix(NOTE)
    write_file(file, msgspec.json.encode(Note(pid, began(pid), url, msgspec.to_builtins(launch), node(), held)))
    return file


def log_of(file: Path) -> Path:
    """The log of a server that is noted."""
    return file.with_name(file.name.removesuffix(NOTE) + ".log")


def notes() -> dict[Path, Note]:
    """All notes of processes of this machine that still run; those of processes that are gone are thrown away.

    A home folder may be shared: what runs on other machines is theirs to end.
    """
    found: dict[Path, Note] = {}
    if not able():
        return found
    for file in sorted(state().glob(f"*{NOTE}")):
        try:
            note = msgspec.json.decode(file.read_bytes(), type=Note)
        except (OSError, msgspec.DecodeError):
            continue
        if note.host not in ("", node()):
            continue
        if note.began is not None and note.began == began(note.pid):
            found[file] = note
        else:
            file.unlink(missing_ok=True)
    return found


def find(launch: Any, url: str | None = None, but: Collection[Path] = ()) -> tuple[Path, Note] | None:
    """The server that was started at an address; without one, a server that is held and was started just so, but those."""
    wanted = msgspec.to_builtins(launch)
    for file, note in notes().items():
        if note.url == url if url else note.held and note.launch == wanted and file not in but:
            return file, note
    return None


def ask_to_end(note: Note) -> None:
    """Tells the guard to end its server and itself. Raises `UsageError` for another user's."""
    try:
        if note.began == began(note.pid):
            os.kill(note.pid, signal.SIGTERM)
    except ProcessLookupError:
        pass  # just now
    except PermissionError:
        raise UsageError(f"the server at {note.url} was started by another user, who has to end it (process {note.pid})") from None
