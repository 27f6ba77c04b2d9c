"""Where samples come from: what a hostile reader would ask of a run, written into its folder before the run starts."""

from __future__ import annotations

import os
import platform
import shlex
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

from speculative.engines.base import Engine
from speculative.hiding import HIDDEN, SECRET, hidden
from speculative.trace.events import EngineCard
from speculative.version import VERSION

PACKAGES = ("aiohttp", "datasets", "inspect-ai", "lm-eval", "math-verify", "msgspec", "numpy", "onnxruntime", "tokenizers", "vllm")
PATIENCE = 10.0
"""Seconds that a program may take that is asked about the machine."""


def provenance(pair: Mapping[str, Engine], *, command: Sequence[str] | None = None, **more: Any) -> dict[str, Any]:
    """What is known of a run that is about to start, as `RunFolder.note` takes it. `more` is what its door knows: flags, seeds, tasks.

    It has `at` (UTC), `command` (without secrets), `versions`, `git` (of the working folder's checkout, and of the library's
    own), `engines` by role, and `hardware` (of this machine, in words; what stands behind an address is not known).
    """
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command_line(sys.argv if command is None else command),
        "versions": versions(),
        "git": commits(),
        "engines": {role: card(engine) for role, engine in pair.items()},
        "hardware": hardware(),
        **more,
    }


def card(engine: Engine) -> dict[str, Any]:
    """An engine, and the server behind it as that tells of itself."""
    server: Any = getattr(engine, "server", None)
    told = {"server": f"{server.kind} {server.version}".strip(), "model": server.model} if server else {"server": "in this process"}
    folder: Path | None = getattr(engine, "folder", None)
    if folder:
        told["weights"] = blake2b((folder / "model.safetensors").read_bytes(), digest_size=8).hexdigest()
    known = EngineCard(engine.name, engine.dialect, engine.vocabulary.fingerprint, engine.context)
    return to_builtins(known) | {"abilities": sorted(engine.abilities)} | told


def command_line(argv: Sequence[str]) -> str:
    """A command line as a shell takes it, without secrets."""
    shown: list[str] = []
    hide = False
    for token in argv:
        name, equals, _ = token.partition("=")
        if hide:
            token, hide = HIDDEN, False
        elif SECRET.fullmatch(name):
            token, hide = (f"{name}={HIDDEN}", False) if equals else (token, name.startswith("--"))
        shown.append(hidden(token))
    program = [Path(shown[0]).name] if shown else []
    return shlex.join([*program, *shown[1:]])


def versions() -> dict[str, str]:
    """Of Python, this library, and the packages that a result may depend on."""
    found = {"python": platform.python_version(), "speculative-reasoning": VERSION}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def commits() -> dict[str, str]:
    """The git commits of the working folder (`folder`) and of the library (`library`), where they are in a checkout."""
    here, library = Path.cwd(), Path(__file__)
    found = {"folder": _commit(here)}
    if _told("git", "-C", str(library.parent), "ls-files", "--error-unmatch", library.name):
        found["library"] = _commit(library.parent)
    return {name: commit for name, commit in found.items() if commit}


def hardware() -> str:
    """This machine in words: `16 CPU cores (x86_64), 128 GiB of memory, 2 GPUs: NVIDIA H200, NVIDIA H200`."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    words = [f"{cores} CPU core{'s' * (cores != 1)} ({platform.machine()})"]
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        words.append(f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB of memory")
    gpus = [line.strip() for line in _told("nvidia-smi", "--query-gpu=name", "--format=csv,noheader").splitlines() if line.strip()]
    words.append(f"{len(gpus)} GPU{'s' * (len(gpus) != 1)}: {', '.join(gpus)}" if gpus else "no GPU seen")
    return ", ".join(words)


def _commit(folder: Path) -> str:
    commit = _told("git", "-C", str(folder), "rev-parse", "HEAD").strip()
    changed = commit and _told("git", "-C", str(folder), "status", "--porcelain", "--untracked-files=no").strip()
    return f"{commit}, with changes" if changed else commit


def _told(program: str, *args: str) -> str:
    """What a program prints; nothing if it is not there, fails, or takes too long."""
    if not shutil.which(program):
        return ""
    try:
        done = subprocess.run([program, *args], capture_output=True, text=True, timeout=PATIENCE, check=True, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout
