"""`speculative up` and `down`: servers that stay open between commands."""

from __future__ import annotations

import sys
import time
from contextlib import suppress

from speculative.cli._errors import note
from speculative.cli._flags import DEFAULT_ENGINES, EngineFlags
from speculative.cli._progress import LoadingLine
from speculative.cli._signals import raise_on_signal
from speculative.engines.options import BUNDLED, engine_kind
from speculative.engines.vllm import records
from speculative.engines.vllm.launch import SIGTERM_CODES, LaunchConfig, start, wait_ready
from speculative.engines.vllm.process import ServerProcess, end_all
from speculative.errors import UsageError
from speculative.pair import launch_config

WAIT = 60.0
"""Seconds in which `down` expects the servers to be gone."""


def up(*, engines: EngineFlags = DEFAULT_ENGINES) -> int:
    """Start servers for the models and hold them open.

    They are vLLM or llama.cpp, and end with Ctrl-C or `speculative down`.
    """
    given = {role: specs for role, specs in (("big", engines.big), ("small", engines.small), ("judge", engines.judge)) if specs}
    options = engines.options()
    launches = {role: launch_config(specs[0], options[role]) for role, specs in given.items() if engine_kind(specs) == "model"}
    if not launches:
        raise UsageError("there is no server to start; name models with --big and --small (a hub name, a folder or a GGUF file)")
    with raise_on_signal():
        return _held(launches, {role: specs for role, specs in given.items() if role not in launches})


def _held(launches: dict[str, LaunchConfig], others: dict[str, tuple[str, ...]]) -> int:
    begun: list[ServerProcess] = []
    try:
        with LoadingLine() as tell:
            for launch in launches.values():
                begun.append(start(launch, held=True))  # noqa: PERF401 (if the second fails, the first one is known)
            for running, launch in zip(begun, launches.values(), strict=True):
                wait_ready(running, launch, tell)
        pair = {role: (running.url,) for role, running in zip(launches, begun, strict=True)} | others
        flags = [f"--{role} {spec}" for role, specs in sorted(pair.items()) for spec in specs if spec != BUNDLED.get(role)]
        with suppress(KeyboardInterrupt):  # which is how it is meant to end; before, the servers were not open yet
            sys.stdout.write(f"speculative ask {' '.join(flags)}\n")
            sys.stdout.flush()
            return _watched([running for running in begun if running.process])
        return 0
    finally:
        end_all(begun)


def _watched(ours: list[ServerProcess]) -> int:
    """Holds the servers open until one of them is told to end."""
    if not ours:
        note("all of these servers run already, and are left to those who started them")
        return 0
    while not (ended := {running: code for running in ours if (code := running.process and running.process.poll()) is not None}):
        time.sleep(0.5)
    if not set(ended.values()) <= set(SIGTERM_CODES):
        raise UsageError(f"a server ended by itself; its log: {', '.join(str(running.log) for running in ended)}")
    return 0


def down() -> int:
    """End the servers that `speculative up` holds open.

    Those that a command with `--no-terminate-on-exit` left running end too.
    """
    held = {file: one for file, one in records.read_records().items() if one.held}
    if not held:
        raise UsageError("no servers are held open; start some with `speculative up`")
    for one in held.values():
        records.request_stop(one)
    ends = time.monotonic() + WAIT
    while left := [one for file, one in records.read_records().items() if file in held]:
        if time.monotonic() > ends:
            numbers = ", ".join(str(one.pid) for one in left)
            raise UsageError(f"the servers of process {numbers} have not ended within {WAIT:g} s")
        time.sleep(0.1)
    for file in held:  # they were ended in good order: their logs have nothing to tell
        records.log_of(file).unlink(missing_ok=True)
    return 0
