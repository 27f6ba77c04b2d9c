"""Starts vLLM for a model's name or folder.

The server ends when we do, unless it is to be kept.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from http.client import HTTPException
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

from msgspec import Struct, structs

from speculative.engines.http.protocols.vllm import FLAT_FLAG
from speculative.engines.vllm import records
from speculative.engines.vllm.process import ServerProcess, delete_old_logs, loading
from speculative.errors import EngineUnreachableError, UsageError
from speculative.redaction import read_secret

MODULE = "vllm.entrypoints.openai.api_server"
HAS_FLAG = """
from importlib.util import find_spec
from pathlib import Path
spec = find_spec("vllm")
flags = Path(spec.origin).parent.glob("entrypoints/**/cli_args.py") if spec and spec.origin else ()
print(any("enable_scale_out" in file.read_text() for file in flags))
"""
"""A program that tells whether a Python's vLLM has the flag of `FLAT_FLAG`. It does not import vLLM, which takes seconds."""

LOADING_TIMEOUT_S = 1800.0
"""Seconds in which a server has to have loaded its model."""

PAUSE = 0.5
"""Seconds between two looks at a server that loads."""

STRANGER_TIMEOUT_S = 60.0
"""Seconds in which something that listens on a port, and was not started here, has to answer: a busy server may say nothing for many."""

LOG = logging.getLogger("speculative.engines")
_LOGGED = re.compile(
    r"(?: ERROR .*?\] (?=\w*(?:Error|Exception): )|^ +Value error, |^[\d.]+ E +|^(?:[\w'. -]+: )?error(?: loading model)?: )(.+)",
    re.MULTILINE,
)
"""The first error in a log of vLLM (of a process, or of its check of the flags) or of llama.cpp's server."""

_STEERING = re.compile(r"\x1b\[[\d;?]*[A-Za-z]")
"""Colours, and a terminal's cursor."""

TAIL = 16384
"""Bytes at the end of a log in which its last line is looked for."""

Tell = Callable[[str], None]
SIGTERM_CODES = (-signal.SIGTERM, 128 + signal.SIGTERM)
"""Exit codes of a guard that was asked to end by a signal, before or after it began."""

_DIRECT = build_opener(ProxyHandler({}))
"""No proxy stands between this machine and itself."""


class LaunchConfig(Struct, frozen=True, tag_field="server", tag="vllm"):
    """The settings with which a model is served with vLLM.

    `gpus`: numbers, joined by commas (one: no parallelism). `args` are passed on as they are. `python` is the one that has vLLM.
    `port` 0 takes a free one. `name`: the server's name for the model. `keep`: the server outlives us, and the next command that
    would start the same one uses it.
    """

    model: str
    python: str | None = None
    gpus: str | None = None
    port: int = 0
    args: str = ""
    name: str | None = None
    deadline: float = LOADING_TIMEOUT_S
    keep: bool = False
    program: ClassVar[str] = "vLLM"

    def run(self, port: int) -> list[str]:
        """Returns the command that serves the model on a port.

        Raises `UsageError` where the program is missing.
        """
        python = _python(self.python)
        return self.command(python, port, *self._scoring_flags(python))

    def more(self) -> list[str]:
        """Returns the words of `args`. Raises `UsageError` for what cannot be passed on."""
        try:
            more = shlex.split(self.args)
        except ValueError as error:
            raise UsageError(f"arguments for {self.program}, {self.args!r}: {str(error).lower()}") from None
        if any(word.partition("=")[0] == "--port" for word in more):  # it would be waited for where it is not
            raise UsageError(f"arguments for {self.program}, {self.args!r}: name the port with --big-port or --small-port")
        return more

    def command(self, python: str, port: int, *flags: str) -> list[str]:
        """Returns the command.

        The words of `args` come last, so they win. Raises `UsageError` for unusable ones.
        """
        own = ["--model", self.model, "--host", "127.0.0.1", "--port", str(port)]
        caching = ["--enable-prefix-caching", "--enable-prompt-tokens-details"]
        count = len(self.gpus.split(",")) if self.gpus else 1
        parallel = ["--tensor-parallel-size", str(count)] if count > 1 else []
        named = ["--served-model-name", self.name] if self.name else []
        return [python, "-m", MODULE, *own, *caching, *flags, *parallel, *named, *self.more()]

    def _scoring_flags(self, python: str) -> list[str]:
        """Returns the flag for scores at flat cost, if this version of vLLM has it.

        The endpoint takes any sampling parameter from any client, so an address that others can reach needs a key.
        """
        words = [word.partition("=")[0] for word in self.more()]
        if "--host" in words and "--api-key" not in words:
            return []
        with suppress(OSError, subprocess.TimeoutExpired):
            found = subprocess.run([python, "-c", HAS_FLAG], capture_output=True, text=True, timeout=30, env=self.environment())
            return [FLAT_FLAG] if found.stdout.strip() == "True" else []
        return []

    def environment(self) -> dict[str, str]:
        """Returns our environment with the GPUs, the hub's key and vLLM's reports off.

        vLLM takes four stop strings unless a variable allows more, and methods stop at more words than that. Another Python
        finds its packages itself.
        """
        chosen = {"CUDA_VISIBLE_DEVICES": self.gpus, "HF_TOKEN": read_secret("HF_TOKEN")}
        own = {name: value for name, value in os.environ.items() if not self.python or name not in ("PYTHONPATH", "PYTHONHOME")}
        ours = {"VLLM_MAX_STOP_STRINGS": "256", **own, "VLLM_NO_USAGE_STATS": "1"}
        return ours | {name: value for name, value in chosen.items() if value}


def start_and_wait(launch: LaunchConfig, tell: Tell | None = None) -> ServerProcess:
    """Starts a server and waits until it answers.

    One that answers on the port, or that another command loads, is used as it is.

    Raises:
        UsageError: There is no Python with vLLM.
        EngineUnreachableError: The server ended, or takes too long; the error names its log.
    """
    return wait_ready(start(launch), launch, tell)


def start(launch: LaunchConfig, *, held: bool = False, flags: Sequence[str] = ()) -> ServerProcess:
    """Starts a server, unless there is one to be used, and does not wait.

    `held`: other commands may use it, and `speculative down` may end it. `flags`: words for the server behind those of the launch, by which
    it is not told from others.
    """
    if not 0 <= launch.port < 1 << 16:
        raise UsageError(f"port must be at most {(1 << 16) - 1}, got {launch.port} (--big-port, --small-port)")
    held = held or launch.keep
    url = address(launch.port) if launch.port else None
    with records.start_lock():
        if found := records.find_record(structs.replace(launch, keep=True), url, loading()):
            return _use(launch, *found)
        if url and (answers(url) or _is_taken(launch.port)):
            return ServerProcess(url, None, None)
        return _start(launch, held, flags)


def _use(launch: LaunchConfig, file: Path, record: records.ServerRecord) -> ServerProcess:
    """Returns a server that has a record, of another command or of this one."""
    if file in loading():
        if record.launch["model"] != launch.model:
            raise UsageError(f"port {launch.port} is for {record.launch['model']} already; name another for {launch.model}")
    elif not record.held:
        LOG.warning("%s was started by another command and ends with it", record.url)
    running = ServerProcess(record.url, None, None)
    running.record = file
    return running


def _start(launch: LaunchConfig, held: bool, flags: Sequence[str] = ()) -> ServerProcess:
    port = launch.port or free_port()
    command, folder = [*launch.run(port), *flags], records.state_folder()
    delete_old_logs(folder)
    opened, name = tempfile.mkstemp(".log", f"{launch.program.lower()}-{port}-", folder)  # a new one: an error may have named an older one
    os.close(opened)
    running = ServerProcess.start(address(port), Path(name), command, launch.environment(), launch.keep)
    assert running.process
    if held or launch.port:
        try:
            launched = structs.replace(launch, keep=True)
            running.record = records.write_record(Path(name), running.process.pid, running.url, launched, held=held)
        except BaseException:
            running.end()
            raise
    if launch.keep:
        running.outlive()
    return running


def wait_ready(running: ServerProcess, launch: LaunchConfig, tell: Tell | None = None) -> ServerProcess:
    """Waits until the server answers.

    A server of ours is ended if anything goes wrong meanwhile, Ctrl-C included.
    """
    begun = running.begun if running.process else time.monotonic()  # ours may have loaded beside another one
    progress = _own_progress if running.process else _progress_of_another if running.record else _progress_of_unknown
    try:
        while True:
            seconds = time.monotonic() - begun
            doing = progress(running, launch, seconds)
            if answers(running.url):
                break
            if tell:
                tell(doing)
            time.sleep(PAUSE)
    except BaseException:
        running.end()
        raise
    running.loaded = True
    return running


def _own_progress(running: ServerProcess, launch: LaunchConfig, seconds: float) -> str:
    """Describes the loading of a server of ours.

    Raises `EngineUnreachableError` when it has ended, or its time is over.
    """
    assert running.process
    code = running.process.poll()
    if code in SIGTERM_CODES:
        raise EngineUnreachableError(f"{launch.program} was ended (SIGTERM, as `speculative down` sends it) while it loaded {launch.model}")
    if code is not None:
        raise EngineUnreachableError(
            f"{launch.program} ended with {code} while it loaded {launch.model}: {cause(running.log)} (all of it: {running.log})"
        )
    if seconds > launch.deadline:
        raise EngineUnreachableError(f"{launch.program} did not load {launch.model} within {launch.deadline:g} s; its log: {running.log}")
    return f"loading {launch.model} ({seconds:.0f} s): {last_line(running.log)}"


def _progress_of_another(running: ServerProcess, launch: LaunchConfig, seconds: float) -> str:
    """Describes the loading of a server that another command started.

    Raises as `_own_progress`.
    """
    assert running.record
    log, record = records.log_of(running.record), records.read_records().get(running.record)
    if record is None:
        why = f"its log: {log}" if log.exists() else "it was told to end"
        raise EngineUnreachableError(f"the server that another command started at {running.url} has ended; {why}")
    model = record.launch["model"]
    if seconds > launch.deadline:
        raise EngineUnreachableError(
            f"{model}, which another command started at {running.url}, has not answered within {launch.deadline:g} s (log: {log}); "
            f"wait for it, end it (process {record.pid}), or name another port (--big-port, --small-port)"
        )
    return f"waiting for {model}, which another command started ({seconds:.0f} s): {last_line(log)}"


def _progress_of_unknown(running: ServerProcess, launch: LaunchConfig, seconds: float) -> str:
    """Describes the wait for a program on the port that was not started here.

    Raises as `_own_progress`.
    """
    if seconds > min(STRANGER_TIMEOUT_S, launch.deadline):
        raise EngineUnreachableError(
            f"what listens at {running.url} did not answer as a model server does within {min(STRANGER_TIMEOUT_S, launch.deadline):g} s; "
            "end it, or name another port (--big-port, --small-port)"
        )
    return f"waiting for what listens at {running.url} ({seconds:.0f} s)"


def address(port: int) -> str:
    """Returns the address of a server of this machine."""
    return f"http://127.0.0.1:{port}/v1"


def _is_taken(port: int) -> bool:
    """Returns whether a program listens on a port."""
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: what is left of old connections does not count
        try:
            tried.bind(("127.0.0.1", port))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False


def answers(url: str) -> bool:
    """Returns whether a server lists its models there and has loaded them.

    llama.cpp lists a model that it still loads.
    """
    return _status(f"{url}/models") in (200, 401, 403) and _status(f"{url.removesuffix('/v1')}/health") != 503


def _status(url: str) -> int | None:
    """Returns the status of a page of this machine, or None where nothing answers."""
    try:
        with _DIRECT.open(url, timeout=2) as answer:  # (an address of this machine that we made)
            return answer.status
    except HTTPError as error:
        return error.code
    except (HTTPException, OSError, ValueError):
        return None


def last_line(log: Path | None) -> str:
    """Returns the last line of a log that is not blank, shortened."""
    if log is None or not log.is_file():
        return "no log"
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL))
        lines = _STEERING.sub("", file.read().decode(errors="replace")).splitlines()
    said = next((line.strip() for line in reversed(lines) if line.strip()), "nothing said yet")
    return "".join(sign for sign in said if sign.isprintable())[:200]


def cause(log: Path | None) -> str:
    """Returns the first error that a server logged, else its last line."""
    found = _LOGGED.search(log.read_text(errors="replace")) if log and log.is_file() else None
    return found[1].strip()[:300] if found else last_line(log)


def _python(given: str | None) -> str:
    if given:
        if found := shutil.which(os.path.expanduser(given)):  # noqa: PTH111 (pathlib's raises where there is no such user)
            return found
        raise UsageError(f"--vllm {given!r}: there is no such program; name a Python that has vLLM")
    if find_spec("vllm") is None:
        raise UsageError("this Python has no vLLM; install it (pip install vllm) or name a Python that has it (--vllm PYTHON)")
    return sys.executable


def free_port() -> int:
    """Returns a port of this machine that is free now."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])
