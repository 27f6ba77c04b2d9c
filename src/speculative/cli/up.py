"""`speculative up` and `speculative down`: a pair of servers that stays open between commands."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from speculative.cli.engine_flags import DEFAULT_ENGINES, EngineFlags, loading, spec_of
from speculative.cli.interrupt import raising
from speculative.engines.vllm import Launch, Running, begin, loaded, state
from speculative.errors import UsageError
from speculative.pair import EngineOptions, starts

FILE = "up.json"
WAIT = 60.0
"""Seconds in which `down` expects the servers to be gone."""


def up(*, engines: EngineFlags = DEFAULT_ENGINES) -> int:
    """Start vLLM for the models and hold the servers open, until Ctrl-C or `speculative down`."""
    specs = {"big": spec_of(engines.big), "small": spec_of(engines.small)}
    options = engines.options()
    launches = {role: _launch(spec, options[role]) for role, spec in specs.items() if isinstance(spec, str) and starts(spec)}
    if not launches:
        raise UsageError("there is no server to start; name models with --big and --small (a hub name or a folder)")
    with raising():
        return _held(launches)


def _held(launches: dict[str, Launch]) -> int:
    note = state() / FILE
    begun: list[Running] = []
    try:
        begun += [begin(launch) for launch in launches.values()]
        for running, launch in zip(begun, launches.values(), strict=True):
            loaded(running, launch, loading if sys.stderr.isatty() else None)
        note.write_bytes(msgspec.json.encode({"pid": os.getpid(), "began": _began(os.getpid())}))
        flags = " ".join(f"--{role} {running.url}" for role, running in zip(launches, begun, strict=True))
        sys.stdout.write(f"speculative ask {flags}\n")
        sys.stdout.flush()
        while all(running.process is None or running.process.poll() is None for running in begun):
            time.sleep(0.5)
        raise UsageError(f"a server ended by itself; its log is one of {', '.join(str(running.log) for running in begun)}")
    except KeyboardInterrupt:
        return 0
    finally:
        note.unlink(missing_ok=True)
        for running in begun:
            running.stop()


def down() -> int:
    """End the servers that `speculative up` holds open."""
    note = state() / FILE
    try:
        held: dict[str, Any] = msgspec.json.decode(note.read_bytes())
        pid, began = int(held["pid"]), held["began"]
    except (FileNotFoundError, msgspec.DecodeError, KeyError, ValueError):
        raise UsageError("no servers are held open; start some with `speculative up`") from None
    if began != _began(pid):  # the number belongs to another program by now
        note.unlink(missing_ok=True)
        raise UsageError("the servers are gone already")
    os.kill(pid, signal.SIGTERM)
    ends = time.monotonic() + WAIT
    while _began(pid) == began:
        if time.monotonic() > ends:
            raise UsageError(f"the servers of process {pid} have not ended within {WAIT:g} s")
        time.sleep(0.1)
    return 0


def _launch(spec: str, options: EngineOptions) -> Launch:
    return Launch(spec, options.vllm, options.gpus, options.port, options.args, options.model)


def _began(pid: int) -> str | None:
    """When a process began, in the system's ticks; None when there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]
