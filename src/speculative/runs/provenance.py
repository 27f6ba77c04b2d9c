"""Collects the provenance of a run: command, versions, engines and hardware."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from msgspec import to_builtins

from speculative import __version__
from speculative.engines.base import Engine
from speculative.redaction import redact_command
from speculative.trace.events import EngineCard

PACKAGES = ("aiohttp", "datasets", "inspect-ai", "lm-eval", "math-verify", "msgspec", "numpy", "onnxruntime", "tokenizers", "vllm")
PROGRAM_TIMEOUT_S = 10.0
"""Seconds that git and nvidia-smi may take."""


def provenance(pair: Mapping[str, Engine], *, command: Sequence[str] | None = None, **more: Any) -> dict[str, Any]:
    """Returns the provenance of a run, for `RunFolder.note`.

    It has `at` (UTC), `command` (without secrets), `versions`, `git` (commits of the working folder and of the library), `engines` by
    role and `hardware` (of this machine; the hardware behind an address is not known).

    Args:
        pair: the engines by role.
        command: the command line; the process's own unless given.
        more: other entries of the caller, such as flags, seeds and tasks.
    """
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": redact_command(sys.argv if command is None else command),
        "versions": versions(),
        "git": commits(),
        "engines": {role: describe_engine(engine) for role, engine in pair.items()},
        "hardware": hardware(),
        **more,
    }


def describe_engine(engine: Engine) -> dict[str, Any]:
    """Describes an engine, and the server behind it."""
    server: Any = getattr(engine, "server", None)
    server_info = {"server": f"{server.kind} {server.version}".strip(), "model": server.model} if server else {"server": "in this process"}
    folder: Path | None = getattr(engine, "folder", None)
    if folder:
        server_info["weights"] = blake2b((folder / "model.safetensors").read_bytes(), digest_size=8).hexdigest()
    known = EngineCard(engine.name, engine.dialect, engine.tokenizer.fingerprint, engine.context)
    return to_builtins(known) | {"abilities": sorted(engine.abilities)} | server_info


def versions() -> dict[str, str]:
    """Returns the versions of Python, this library and its packages."""
    found = {"python": platform.python_version(), "speculative-reasoning": __version__}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def commits() -> dict[str, str]:
    """Returns the git commits of the working folder and of the library."""
    here, library = Path.cwd(), Path(__file__)
    found = {"folder": _commit(here)}
    if _run_program("git", "-C", str(library.parent), "ls-files", "--error-unmatch", library.name):
        found["library"] = _commit(library.parent)
    return {name: commit for name, commit in found.items() if commit}


def hardware() -> str:
    """Describes this machine: its cores, memory and GPUs."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    words = [f"{cores} CPU core{'s' * (cores != 1)} ({platform.machine()})"]
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        words.append(f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB of memory")
    gpus = [line.strip() for line in _run_program("nvidia-smi", "--query-gpu=name", "--format=csv,noheader").splitlines() if line.strip()]
    words.append(f"{len(gpus)} GPU{'s' * (len(gpus) != 1)}: {', '.join(gpus)}" if gpus else "no GPU seen")
    return ", ".join(words)


def _commit(folder: Path) -> str:
    commit = _run_program("git", "-C", str(folder), "rev-parse", "HEAD").strip()
    changed = commit and _run_program("git", "-C", str(folder), "status", "--porcelain", "--untracked-files=no").strip()
    return f"{commit}, with changes" if changed else commit


def _run_program(program: str, *args: str) -> str:
    """Returns the output of a program, or an empty text."""
    if not shutil.which(program):
        return ""
    try:
        done = subprocess.run(
            [program, *args], capture_output=True, text=True, timeout=PROGRAM_TIMEOUT_S, check=True, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout
