"""`speculative up` and `down`: start and stop servers that several commands use."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from shlex import quote

from speculative.cli._errors import note
from speculative.cli._flags import DEFAULT_ENGINES, EngineFlags
from speculative.cli._progress import LoadingLine
from speculative.cli._signals import raise_on_signal
from speculative.engines.options import BUNDLED, engine_kind
from speculative.engines.vllm import records
from speculative.engines.vllm.launch import SIGTERM_CODES, LaunchConfig, wait_ready
from speculative.engines.vllm.mps import ServerGroup
from speculative.engines.vllm.process import ServerProcess, end_all
from speculative.errors import UsageError
from speculative.pair import launch_config

STOP_TIMEOUT_S = 60.0
"""Seconds that `down` waits for the end of servers."""


def up(*, engines: EngineFlags = DEFAULT_ENGINES) -> int:
    """Start servers (vLLM or llama.cpp) for the models and keep them running.

    Ctrl-C or `speculative down` stops them.
    """
    given = {role: specs for role, specs in (("big", engines.big), ("small", engines.small), ("judge", engines.judge)) if specs}
    options = engines.options()
    launches = {role: launch_config(specs[0], options[role]) for role, specs in given.items() if engine_kind(specs) == "model"}
    if not launches:
        raise UsageError("up must have a model to start; name one with --big or --small (a hub name, a folder or a GGUF file)")
    with raise_on_signal():
        return _start_and_hold(launches, {role: specs for role, specs in given.items() if role not in launches})


def _start_and_hold(launches: dict[str, LaunchConfig], others: dict[str, tuple[str, ...]]) -> int:
    begun: list[ServerProcess] = []
    group = ServerGroup(launches)
    if group.sharing:
        note(group.sharing)
    try:
        with LoadingLine() as tell:
            for role in launches:
                begun += [group.start(role, held=True)]  # one by one: if the second fails, the first one is known
            for running, launch in zip(begun, launches.values(), strict=True):
                wait_ready(running, launch, tell)
        pair = {role: (running.url,) for role, running in zip(launches, begun, strict=True)} | others
        flags = [f"--{role} {quote(spec)}" for role, specs in sorted(pair.items()) for spec in specs if spec != BUNDLED.get(role)]
        with suppress(KeyboardInterrupt):  # Ctrl-C is the normal end
            sys.stdout.write(f"speculative ask {' '.join(flags)}\n")
            sys.stdout.flush()
            return _wait_for_end([running for running in begun if running.process])
        return 0
    finally:
        end_all(begun)
        group.stop()


def _wait_for_end(ours: list[ServerProcess]) -> int:
    """Waits until one of the servers is stopped."""
    if not ours:
        note("all of these servers run already; the commands that started them will stop them")
        return 0
    while not (ended := {running: code for running in ours if (code := running.process and running.process.poll()) is not None}):
        time.sleep(0.5)
    if not set(ended.values()) <= set(SIGTERM_CODES):
        raise UsageError(f"a server ended unexpectedly; see its log: {', '.join(str(running.log) for running in ended)}")
    return 0


def down() -> int:
    """Stop the servers that other commands left running.

    They are those of `speculative up` and of commands with `--no-terminate-on-exit`.
    """
    held = {file: one for file, one in records.read_records().items() if one.held}
    if not held:
        raise UsageError("there are no servers to stop; `speculative up` starts some")
    for one in held.values():
        records.request_stop(one)
    ends = time.monotonic() + STOP_TIMEOUT_S
    while left := [one for file, one in records.read_records().items() if file in held]:
        if time.monotonic() > ends:
            numbers = ", ".join(str(one.pid) for one in left)
            raise UsageError(f"the servers with process number {numbers} must end within {STOP_TIMEOUT_S:g} s, and are still running")
        time.sleep(0.1)
    for file in held:  # their logs are not needed after a normal end
        records.log_of(file).unlink(missing_ok=True)
    return 0
