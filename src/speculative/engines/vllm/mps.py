"""Puts servers that share a GPU under CUDA MPS, with a daemon of their own.

Without it two servers on one GPU take turns, and each runs half as fast. With it the big one keeps nearly all of its speed.
"""

from __future__ import annotations

import atexit
import os
import re
import shutil
import subprocess
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, cast
from urllib.parse import urlsplit

import psutil

from speculative.engines.vllm.launch import LaunchConfig, start
from speculative.engines.vllm.process import ServerProcess
from speculative.engines.vllm.records import state_folder

CONTROL = "nvidia-cuda-mps-control"
PIPE, LOG = "CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY"
TIMEOUT_S = 20.0
MEMORY = 0.9
"""The share of a GPU's memory that its servers have together."""
LEAST = 0.15
"""The least share of one of them."""
MEMORY_FLAG = "--gpu-memory-utilization"
WEIGHT_FILES = ("*.safetensors", "pytorch_model*.bin")
PARAMETERS = re.compile(r"(?<![\w.])(?:(\d+)x)?(\d+(?:\.\d+)?)([bm])(?![a-z0-9])", re.IGNORECASE)
"""The number of parameters in a model's name: `32B`, `1.5B`, `8x7B`, `135M`."""
WIDTHS = {r"awq|gptq|int4|fp4|w4a|4bit": 0.5, r"fp8|int8|w8a|8bit": 1.0}
"""Bytes of a parameter, by words in the name of a quantized model."""


ALONE = "each runs about half as fast (on an H200 a token of a 32B takes 40 ms beside a 1.5B, and 21 ms under MPS)"
"""The cost of sharing a GPU without MPS, in words."""


def gpus_of(launch: LaunchConfig) -> frozenset[str]:
    """Returns the numbers of a launch's GPUs: the first one, if it names none."""
    return frozenset((launch.gpus or "0").split(","))


def shared(launches: Mapping[str, LaunchConfig]) -> dict[str, LaunchConfig]:
    """Returns the launches of vLLM that share a GPU with another one.

    It is empty on a machine without tools for GPUs.
    """
    if not any(map(shutil.which, (CONTROL, "nvidia-smi"))):
        return {}
    own = {role: launch for role, launch in launches.items() if launch.program == "vLLM"}
    return {role: one for role, one in own.items() if any(gpus_of(one) & gpus_of(other) for key, other in own.items() if key != role)}


def memory_shares(launches: Mapping[str, LaunchConfig]) -> dict[str, float]:
    """Returns the memory of each launch, by the sizes of their models.

    It is empty where the size of a model is not known, or where a launch sets its own share.
    """
    sizes = {role: _weight(launch) for role, launch in launches.items()}
    if not all(sizes.values()) or any(map(sets_memory, launches.values())):
        return {}
    least = {role: max(size / sum(sizes.values()), LEAST) for role, size in sizes.items()}
    return {role: round(MEMORY * share / sum(least.values()), 3) for role, share in least.items()}


def sets_memory(launch: LaunchConfig) -> bool:
    """Returns True if a launch's own flags set its share of memory."""
    return any(MEMORY_FLAG in word for word in launch.more())


def _weight(launch: LaunchConfig) -> float:
    """Returns the bytes of a model's weights, or 0 where they are not known.

    A hub name tells the number of parameters, as in `Qwen3-32B`, and a quantization.
    """
    folder = Path(launch.model)
    if folder.is_dir():
        return sum(file.stat().st_size for pattern in WEIGHT_FILES for file in folder.glob(pattern))
    name = launch.model.rpartition("/")[2]
    if (found := PARAMETERS.search(name)) is None:
        return 0
    width = next((size for pattern, size in WIDTHS.items() if re.search(pattern, name, re.IGNORECASE)), 2.0)
    return int(found[1] or 1) * float(found[2]) * (1e9 if found[3] in "bB" else 1e6) * width


class MpsDaemon:
    """A control daemon, with a folder of its own for its pipes and its log."""

    def __init__(self, control: str, folder: Path) -> None:
        self._control, self.folder = control, folder
        self.variables = {PIPE: str(folder / "pipe"), LOG: str(folder / "log")}

    @classmethod
    def start(cls) -> MpsDaemon | None:
        """Starts a daemon, or returns None where the driver has none or it fails."""
        control = shutil.which(CONTROL)
        if control is None:
            return None
        daemon = cls(control, Path(mkdtemp(prefix="mps-", dir=state_folder())))
        for folder in daemon.variables.values():
            Path(folder).mkdir()
        if daemon._run("-d") == 0:
            atexit.register(daemon.stop)
            return daemon
        daemon._forget()
        return None

    def stop(self) -> None:
        """Ends the daemon that was started here, and no other: the pipes are its own."""
        atexit.unregister(self.stop)
        self._run(said="quit\n")
        self._forget()

    def _run(self, *arguments: str, said: str = "") -> int:
        environment = {**os.environ, **self.variables}
        with suppress(OSError, subprocess.TimeoutExpired):
            return subprocess.run(
                [self._control, *arguments], input=said, text=True, env=environment, timeout=TIMEOUT_S, capture_output=True
            ).returncode
        return 1

    def _forget(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


class ServerGroup:
    """Starts servers together, under a daemon of their own where they share a GPU.

    The daemon ends after the last of them. Servers that outlive this process run without one, since no process would end it.
    """

    def __init__(self, launches: Mapping[str, LaunchConfig]) -> None:
        self._launches, self._together = launches, shared(launches)
        self._shares = memory_shares(self._together)
        self._stay = any(launch.keep for launch in self._together.values())
        self._daemon = MpsDaemon.start() if self._together and not self._stay else None
        self._under: set[str] = set(self._together) if self._daemon else set()
        self.sharing = self._describe() if self._together else ""
        """Tells in words how servers share a GPU, or is empty."""

    def start(self, role: str, *, held: bool = False) -> ServerProcess:
        """Starts the server of a role. It does not wait until it is ready."""
        launch = self._launches[role]
        inherited = environment(self._daemon.variables) if self._daemon and role in self._together else nullcontext()
        with inherited:
            running = start(launch, held=held, flags=memory_flags(self._shares, role))
        if running.process is None:  # another command started it
            self.leave(role)
        return running

    def leave(self, role: str) -> None:
        """Notes that a server has ended. The daemon ends with the last one."""
        if role in self._under:
            self._under.remove(role)
            if not self._under:
                self.stop()

    def stop(self) -> None:
        """Ends the daemon, if there is one. The servers must have ended before."""
        self._under.clear()
        if self._daemon:
            self._daemon.stop()
            self._daemon = None

    def _describe(self) -> str:
        how = "under an MPS daemon that ends with them"
        if not self._daemon:
            why = "they outlive this command; `speculative up` starts them with it" if self._stay else f"{CONTROL} is missing or fails"
            how = f"without MPS ({why}): {ALONE}"
        told = f"; memory: {', '.join(f'{role} {share:.0%}' for role, share in self._shares.items())}" if self._shares else ""
        if not self._shares and not any(sets_memory(launch) for launch in self._together.values()):
            told = f"; the sizes of the models are not known: set {MEMORY_FLAG} for each in --big-args and --small-args, 0.9 together"
        return f"{' and '.join(self._together)} share a GPU {how}{told}"


@contextmanager
def environment(variables: Mapping[str, str]) -> Generator[None]:
    """Sets variables that processes inherit which are started in the block."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def memory_flags(shares: Mapping[str, float], role: str) -> Sequence[str]:
    """Returns the flags of a role's share."""
    return [MEMORY_FLAG, f"{shares[role]:g}"] if role in shares else []


def share_without_mps(addresses: Sequence[str]) -> bool:
    """Returns True if local servers share a GPU, and no MPS daemon serves them.

    Args:
        addresses: the addresses of servers. Those of other machines, and those whose processes are hidden, count as alone.
    """
    gpus = _gpus_by_process()
    trees = [_process_tree(port) for address in addresses if (port := _local_port(address))] if gpus else []
    for place, tree in enumerate(trees):
        for other in trees[place + 1 :]:
            common = {gpus.get(pid) for pid in tree} & {gpus.get(pid) for pid in other} - {None}
            if common and not any(_under_mps(pid) for pid in tree | other):
                return True
    return False


def _gpus_by_process() -> dict[int, str]:
    """Returns the GPU of each process that computes on one, as nvidia-smi tells it."""
    with suppress(OSError, subprocess.SubprocessError):
        words = ["nvidia-smi", "--query-compute-apps=pid,gpu_uuid", "--format=csv,noheader"]
        told = subprocess.run(words, capture_output=True, text=True, timeout=TIMEOUT_S, check=True, stdin=subprocess.DEVNULL).stdout
        rows = [line.split(", ") for line in told.splitlines()]
        return {int(row[0]): row[1] for row in rows if len(row) == 2 and row[0].isdecimal()}
    return {}


def _local_port(address: str) -> int | None:
    parts = urlsplit(address)
    return parts.port if parts.hostname in ("127.0.0.1", "localhost", "::1") else None


def _process_tree(port: int) -> frozenset[int]:
    """Returns the processes of the server that listens on a port of this machine."""
    with suppress(psutil.Error, OSError):
        sockets = [one for one in psutil.net_connections("tcp") if one.status == psutil.CONN_LISTEN and one.laddr]
        found = [psutil.Process(one.pid) for one in sockets if one.pid and cast("Any", one.laddr).port == port]
        return frozenset(one.pid for server in found for one in (server, *server.children(recursive=True)))
    return frozenset()


def _under_mps(pid: int) -> bool:
    """Returns True if a process was started under a daemon."""
    with suppress(OSError):
        return f"\0{PIPE}=".encode() in b"\0" + Path(f"/proc/{pid}/environ").read_bytes()
    return False
