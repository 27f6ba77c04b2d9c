"""`speculative up` and `speculative down`: a pair of servers that stays open between commands."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from speculative.cli.engine_flags import DEFAULT_ENGINES, EngineFlags
from speculative.cli.interrupt import raising
from speculative.cli.loading import Loading
from speculative.engines import kept
from speculative.engines.running import Running, end_all
from speculative.engines.starting import Launch, begin, loaded
from speculative.errors import UsageError
from speculative.pair import launch_of, starts

WAIT = 60.0
"""Seconds in which `down` expects the servers to be gone."""


def up(*, engines: EngineFlags = DEFAULT_ENGINES) -> int:
    """Start vLLM for the models and hold the servers open, until Ctrl-C or `speculative down`."""
    given = {role: specs for role, specs in (("big", engines.big), ("small", engines.small), ("judge", engines.judge)) if specs}
    options = engines.options()
    launches = {role: launch_of(specs[0], options[role]) for role, specs in given.items() if len(specs) == 1 and starts(specs[0])}
    if not launches:
        raise UsageError("there is no server to start; name models with --big and --small (a hub name or a folder)")
    with raising():
        return _held(launches, {role: specs for role, specs in given.items() if role not in launches})


def _held(launches: dict[str, Launch], others: dict[str, tuple[str, ...]]) -> int:
    note: Path | None = None
    begun: list[Running] = []
    try:
        for launch in launches.values():
            begun.append(begin(launch))  # noqa: PERF401 (if the second fails, the first one is known)
        with Loading() as tell:
            for running, launch in zip(begun, launches.values(), strict=True):
                loaded(running, launch, tell)
        note = kept.write(f"up-{os.getpid()}", os.getpid()) if kept.able() else None
        pair = {role: (running.url,) for role, running in zip(launches, begun, strict=True)} | others
        flags = [f"--{role} {spec}" for role, specs in sorted(pair.items()) for spec in specs if not spec.startswith("bundled:")]
        sys.stdout.write(f"speculative ask {' '.join(flags)}\n")
        sys.stdout.flush()
        while all(running.process is None or running.process.poll() is None for running in begun):
            time.sleep(0.5)
        raise UsageError(f"a server ended by itself; its log is one of {', '.join(str(running.log) for running in begun)}")
    except KeyboardInterrupt:
        return 0
    finally:
        end_all(begun)
        if note:
            note.unlink(missing_ok=True)


def down() -> int:
    """End the servers that `speculative up`, or a command with `--no-terminate-on-exit`, left running."""
    kept.check("`speculative down`", "end `speculative up` with Ctrl-C")
    held = kept.notes()
    if not held:
        raise UsageError("no servers are held open; start some with `speculative up`")
    for note in held.values():
        kept.ask_to_end(note)
    ends = time.monotonic() + WAIT
    while left := kept.notes():
        if time.monotonic() > ends:
            numbers = ", ".join(str(note.pid) for note in left.values())
            raise UsageError(f"the servers of process {numbers} have not ended within {WAIT:g} s")
        time.sleep(0.1)
    for file in held:  # they were ended in good order: their logs have nothing to tell
        file.with_name(file.name.replace(".note.json", ".log")).unlink(missing_ok=True)
    return 0
