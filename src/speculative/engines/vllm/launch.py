"""vLLM, started for the user: a server for a model's name or folder, which ends when we do."""

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
from collections.abc import Callable
from http.client import HTTPException
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

from msgspec import Struct, structs

from speculative.engines.vllm import guard, kept
from speculative.engines.vllm.process import ServerProcess, loading, sweep
from speculative.errors import EngineUnreachableError, UsageError
from speculative.redaction import read_secret

MODULE = "vllm.entrypoints.openai.api_server"
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
TOLD = (-signal.SIGTERM, 128 + signal.SIGTERM)
"""How a guard ends that was asked to by a signal, before or after it began."""

_DIRECT = build_opener(ProxyHandler({}))
"""No proxy stands between this machine and itself."""


class LaunchConfig(Struct, frozen=True, tag_field="server", tag="vllm"):
    """How a model is served with vLLM. `gpus`: numbers, joined by commas (one: no parallelism). `args` are passed on as they are.

    `python` is the one that has vLLM. `port` 0 takes a free one. `name`: what the server calls the model. `keep`: the server
    outlives us, and the next command that would start the same one uses it (`kept`).
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
        """Returns the command that serves the model on a port. Raises `UsageError` where the program is missing."""
        return self.command(_python(self.python), port)

    def more(self) -> list[str]:
        """Returns the words of `args`. Raises `UsageError` for what cannot be passed on."""
        try:
            more = shlex.split(self.args)
        except ValueError as error:
            raise UsageError(f"arguments for {self.program}, {self.args!r}: {str(error).lower()}") from None
        if any(word.partition("=")[0] == "--port" for word in more):  # it would be waited for where it is not
            raise UsageError(f"arguments for {self.program}, {self.args!r}: name the port with --big-port or --small-port")
        return more

    def command(self, python: str, port: int) -> list[str]:
        """What is run; what `args` say comes last, and so wins. Raises `UsageError` for what cannot be passed on."""
        own = [
            "--model",
            self.model,
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "--enable-prefix-caching",
            "--enable-prompt-tokens-details",
        ]
        count = len(self.gpus.split(",")) if self.gpus else 1
        parallel = ["--tensor-parallel-size", str(count)] if count > 1 else []
        named = ["--served-model-name", self.name] if self.name else []
        return [python, "-m", MODULE, *own, *parallel, *named, *self.more()]

    def environment(self) -> dict[str, str]:
        """Ours, with the GPUs chosen and the key to gated models; vLLM reports to nobody. Another Python has packages of its own."""
        chosen = {"CUDA_VISIBLE_DEVICES": self.gpus, "HF_TOKEN": read_secret("HF_TOKEN")}
        own = {name: value for name, value in os.environ.items() if not self.python or name not in ("PYTHONPATH", "PYTHONHOME")}
        return {**own, "VLLM_NO_USAGE_STATS": "1"} | {name: value for name, value in chosen.items() if value}


def start_and_wait(launch: LaunchConfig, tell: Tell | None = None) -> ServerProcess:
    """Starts a server and waits until it answers; one that answers on the port already, or that another command loads, is used as it is.

    Raises `UsageError` when there is no Python with vLLM, `EngineUnreachableError` (with the log's path) when it ends or takes too long.
    """
    return wait_ready(start(launch), launch, tell)


def start(launch: LaunchConfig, *, held: bool = False) -> ServerProcess:
    """Starts a server, if there is none to be used, and does not wait. `held`: other commands may use it, and `speculative down` end it."""
    if launch.keep:
        kept.check("a server that stays (--no-terminate-on-exit)", "leave that flag out")
    if not 0 <= launch.port < 1 << 16:
        raise UsageError(f"port {launch.port}: there is none; a port is at most {(1 << 16) - 1} (--big-port, --small-port)")
    held = held or launch.keep
    url = address(launch.port) if launch.port else None
    with kept.alone():
        if found := kept.find(structs.replace(launch, keep=True), url, loading()):
            return _found(launch, *found)
        if url and (answers(url) or _taken(launch.port)):
            return ServerProcess(url, None, None)
        return _begun(launch, held)


def _found(launch: LaunchConfig, file: Path, note: kept.Note) -> ServerProcess:
    """One that is noted: another command's, or of this one, where a port is given twice."""
    if file in loading():
        if note.launch["model"] != launch.model:
            raise UsageError(f"port {launch.port} is for {note.launch['model']} already; name another for {launch.model}")
    elif not note.held:
        LOG.warning("%s was started by another command and ends with it", note.url)
    running = ServerProcess(note.url, None, None)
    running.note = file
    return running


def _begun(launch: LaunchConfig, held: bool) -> ServerProcess:
    port = launch.port or free_port()
    command = launch.run(port)
    sweep(kept.state())
    opened, name = tempfile.mkstemp(
        ".log", f"{launch.program.lower()}-{port}-", kept.state()
    )  # of its own: an error may have named an older one
    os.close(opened)
    # A session of its own: Ctrl-C reaches us alone, and we end the server in order.
    process = subprocess.Popen(
        [sys.executable, "-I", guard.__file__, str(guard.GRACE), name, *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=launch.environment(),
        start_new_session=True,
    )
    running = ServerProcess(address(port), Path(name), process, launch.keep)
    if (held or launch.port) and kept.able():
        try:
            running.note = kept.write(Path(name), process.pid, running.url, structs.replace(launch, keep=True), held=held)
        except BaseException:
            running.end()
            raise
    if launch.keep:
        running.outlive()
    return running


def wait_ready(running: ServerProcess, launch: LaunchConfig, tell: Tell | None = None) -> ServerProcess:
    """Waits until the server answers. Whatever goes wrong meanwhile, Ctrl-C included, a server of ours is ended."""
    begun = running.begun if running.process else time.monotonic()  # ours may have loaded beside another one
    look = _ours if running.process else _anothers if running.note else _strangers
    try:
        while True:
            seconds = time.monotonic() - begun
            doing = look(running, launch, seconds)
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


def _ours(running: ServerProcess, launch: LaunchConfig, seconds: float) -> str:
    """What a server of ours is doing. Raises `EngineUnreachableError` when it has ended, or its time is over."""
    assert running.process
    code = running.process.poll()
    if code in TOLD:
        raise EngineUnreachableError(f"{launch.program} was ended (SIGTERM, as `speculative down` sends it) while it loaded {launch.model}")
    if code is not None:
        raise EngineUnreachableError(
            f"{launch.program} ended with {code} while it loaded {launch.model}: {cause(running.log)} (all of it: {running.log})"
        )
    if seconds > launch.deadline:
        raise EngineUnreachableError(f"{launch.program} did not load {launch.model} within {launch.deadline:g} s; its log: {running.log}")
    return f"loading {launch.model} ({seconds:.0f} s): {last_line(running.log)}"


def _anothers(running: ServerProcess, launch: LaunchConfig, seconds: float) -> str:
    """The same for one that another command started."""
    assert running.note
    log, note = kept.log_of(running.note), kept.notes().get(running.note)
    if note is None:
        why = f"its log: {log}" if log.exists() else "it was told to end"
        raise EngineUnreachableError(f"the server that another command started at {running.url} has ended; {why}")
    model = note.launch["model"]
    if seconds > launch.deadline:
        raise EngineUnreachableError(
            f"{model}, which another command started at {running.url}, has not answered within {launch.deadline:g} s; wait for it, "
            f"end it (process {note.pid}), or name another port (--big-port, --small-port); its log: {log}"
        )
    return f"waiting for {model}, which another command started ({seconds:.0f} s): {last_line(log)}"


def _strangers(running: ServerProcess, launch: LaunchConfig, seconds: float) -> str:
    """The same for what listens on the port and was not started here."""
    if seconds > min(STRANGER_TIMEOUT_S, launch.deadline):
        raise EngineUnreachableError(
            f"what listens at {running.url} did not answer as a model server does within {min(STRANGER_TIMEOUT_S, launch.deadline):g} s; "
            "end it, or name another port (--big-port, --small-port)"
        )
    return f"waiting for what listens at {running.url} ({seconds:.0f} s)"


def address(port: int) -> str:
    """Where a server of this machine answers."""
    return f"http://127.0.0.1:{port}/v1"


def _taken(port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: what is left of old connections does not count
        try:
            tried.bind(("127.0.0.1", port))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False


def answers(url: str) -> bool:
    """Whether a server lists its models there, and has loaded them: llama.cpp's server may list a model that it still loads."""
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
    """The last line of a log that says something, shortened."""
    if log is None or not log.is_file():
        return "no log"
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL))
        lines = _STEERING.sub("", file.read().decode(errors="replace")).splitlines()
    said = next((line.strip() for line in reversed(lines) if line.strip()), "nothing said yet")
    return "".join(sign for sign in said if sign.isprintable())[:200]


def cause(log: Path | None) -> str:
    """Why a server ended: the first error that it logged (its last line says "see above", or where to read on), else the last line."""
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
    """A port of this machine that nobody listens on now."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])
