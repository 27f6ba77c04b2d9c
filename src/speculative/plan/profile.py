"""Reads and writes profiles: the measured costs of a pair of servers."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from speculative.errors import UsageError
from speculative.files import write_file

VERSION = 1
"""The version of the format that is written."""

LARGEST_STEP = 1 << 20
"""The most sequences and tokens of a step: the costs of all sizes up to it are computed at once."""

SLOWEST = 1000
"""The largest factor of sharing a GPU."""

Curve = tuple[tuple[int, float], ...]
"""Points of a measured curve: a number of sequences or tokens, and milliseconds."""


class ServerProfile(Struct, frozen=True, forbid_unknown_fields=True):
    """The costs of one server, in milliseconds.

    A server works in steps. A step gives each running sequence one token and reads new tokens of prompts.

    Attributes:
        model: the model, in words.
        decode: a step that only writes, by the number of sequences.
        read: a step that only reads, by the number of new tokens.
        decode_context: tokens of each sequence, in the mean, when `decode` was measured.
        context_ms: what each further token of context adds to a step.
        attend_ms: what each pair of a new token and a token before it adds to a step.
        call_ms: what a call costs outside of the steps.
        call_cpu_ms: the part of a call's cost that the server's front end spends on one call at a time.
        prefix_cpu_ms: the front end's cost of 1,000 tokens of a prompt.
        block: tokens of a block of the prefix cache.
        max_sequences: sequences that run at once.
        max_step_tokens: tokens of a step at most.
        cache_tokens: tokens that fit into the cache of all sequences together.
    """

    decode: Curve
    read: Curve
    model: str = ""
    decode_context: int = 0
    context_ms: float = 0.0
    attend_ms: float = 0.0
    call_ms: float = 0.0
    call_cpu_ms: float = 0.0
    prefix_cpu_ms: float = 0.0
    block: int = 16
    max_sequences: int = 256
    max_step_tokens: int = 8192
    cache_tokens: int = 1 << 30


class Sharing(Struct, frozen=True, forbid_unknown_fields=True):
    """The factors by which steps take longer while both servers work on one GPU."""

    big: float
    small: float


class Profile(Struct, frozen=True, forbid_unknown_fields=True):
    """The measured costs of a pair of servers.

    Attributes:
        big: the server of the big model.
        small: the server of the small model.
        name: a short name.
        date: the day of the measurement.
        hardware: the devices.
        software: the servers' program and version.
        flags: the flags with which the servers ran.
        source: the origin of each figure, in words.
        judge: the server of a judge; it costs as much as big if nothing is known.
        shared: the factors of sharing one GPU, by the way: `plain` or `mps`.
        checks: other measured milliseconds, which the planner does not read.
        version: the version of the format.
    """

    big: ServerProfile
    small: ServerProfile
    name: str = ""
    date: str = ""
    hardware: str = ""
    software: str = ""
    flags: str = ""
    source: tuple[str, ...] = ()
    judge: ServerProfile | None = None
    shared: dict[str, Sharing] = {}
    checks: dict[str, Any] = {}
    version: int = VERSION

    def server(self, role: str) -> ServerProfile:
        """Returns the profile of a role's server."""
        return self.small if role == "small" else (self.judge or self.big) if role == "judge" else self.big

    def save(self, path: Path) -> None:
        """Writes the whole file or nothing. Raises OSError."""
        write_file(path, msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n")


def shipped() -> list[str]:
    """Returns the names of the profiles that ship with the package."""
    folder = files("speculative").joinpath("bundled", "profiles")
    return sorted(file.name.removesuffix(".json") for file in folder.iterdir() if file.name.endswith(".json"))


def load_profile(name: str | Path) -> Profile:
    """Reads a profile by its file, or by the name of a shipped one.

    Raises:
        UsageError: The file is missing, or is not a profile.
    """
    if str(name) in shipped():
        data = files("speculative").joinpath("bundled", "profiles", f"{name}.json").read_bytes()
    else:
        try:
            data = Path(name).read_bytes()
        except OSError as error:
            known = ", ".join(shipped())
            raise UsageError(f"profile {name} cannot be read: {error.strerror}; name a file, or one of {known}") from None
    try:
        found = msgspec.json.decode(data, type=Profile)
    except (msgspec.DecodeError, RecursionError) as error:
        raise UsageError(f"profile {name} must be a file of `speculative profile`: {error}") from None
    if found.version != VERSION:
        raise UsageError(f"profile {name} must have version {VERSION}, got {found.version}; measure the servers again")
    for role in ("big", "small", "judge"):
        _check(f"profile {name}: {role}", found.server(role))
    for way, factors in found.shared.items():
        for role in ("big", "small"):
            _check_range(f"profile {name}: shared.{way}.{role}", getattr(factors, role), 1, SLOWEST)
    return found


def _check(where: str, server: ServerProfile) -> None:
    """Raises `UsageError` for costs that no server can have."""
    for field in ("decode", "read"):
        curve: Curve = getattr(server, field)
        sizes = [size for size, _ in curve]
        if not curve or sizes != sorted(set(sizes)) or sizes[0] < 1:
            raise UsageError(f"{where}.{field} must be points with rising sizes from 1 on, got {list(curve)[:3]}")
        if wrong := next((cost for _, cost in curve if not 0 < cost < 1e9), None):
            raise UsageError(f"{where}.{field} must be milliseconds above 0, got {wrong}")
    for field in ("decode_context", "context_ms", "attend_ms", "call_ms", "call_cpu_ms", "prefix_cpu_ms"):
        if not 0 <= getattr(server, field) < 1e9:
            raise UsageError(f"{where}.{field} must be at least 0, got {getattr(server, field)}")
    for field in ("max_sequences", "max_step_tokens"):
        _check_range(f"{where}.{field}", getattr(server, field), 1, LARGEST_STEP)
    for field in ("block", "cache_tokens"):
        _check_range(f"{where}.{field}", getattr(server, field), 1, 1 << 40)


def _check_range(where: str, value: float, least: int, most: int) -> None:
    """Raises `UsageError` for a number that is out of range."""
    if not least <= value <= most:
        raise UsageError(f"{where} must be from {least} to {most}, got {value}; correct it, or measure the servers again")
