"""Servers that outlive the command that started them: by a note the next command finds one, and `speculative down` ends it."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from platform import node
from typing import Any

import msgspec
from msgspec import Struct

from speculative.errors import UsageError
from speculative.trace import write_whole

PROC = Path("/proc")
"""Where the system tells of its processes: a number alone does not say whether it is still the process that we started."""


class Note(Struct, frozen=True):
    """Whom to end (`began` tells it from a later process with its number), where it answers, how and on which machine it was started."""

    pid: int
    began: str | None
    url: str = ""
    launch: Any = None
    host: str = ""


def state() -> Path:
    """Where logs and notes are kept: `$XDG_STATE_HOME/speculative`, else `~/.local/state/speculative`."""
    base = os.environ.get("XDG_STATE_HOME")
    folder = (Path(base) if base else Path.home() / ".local" / "state") / "speculative"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def able() -> bool:
    """Whether this system lets us know a process again."""
    return (PROC / str(os.getpid()) / "stat").is_file()


def check(what: str, instead: str) -> None:
    """Raises `UsageError` where it does not."""
    if not able():
        raise UsageError(f"{what} needs {PROC}, to know the process again that was started, and this system has none; {instead}")


def write(name: str, pid: int, url: str = "", launch: Any = None) -> Path:
    """Notes a process; the file is given back."""
    file = state() / f"{name}.note.json"
    write_whole(file, msgspec.json.encode(Note(pid, began(pid), url, msgspec.to_builtins(launch), node())))
    return file


def notes() -> dict[Path, Note]:
    """All notes of processes of this machine that still run; those of processes that are gone are thrown away.

    A home folder may be shared: what runs on other machines is theirs to end.
    """
    found: dict[Path, Note] = {}
    if not able():
        return found
    for file in sorted(state().glob("*.note.json")):
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


def find(launch: Any) -> str | None:
    """Where a server that was started just so, and left running, answers."""
    wanted = msgspec.to_builtins(launch)
    return next((note.url for note in notes().values() if note.url and note.launch == wanted), None)


def ask_to_end(note: Note) -> None:
    """Tells the process to end its servers and itself."""
    if note.began == began(note.pid):
        os.kill(note.pid, signal.SIGTERM)


def began(pid: int) -> str | None:
    """When a process began, in the system's ticks; None when there is none."""
    try:
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]
