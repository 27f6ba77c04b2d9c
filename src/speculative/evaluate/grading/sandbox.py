"""Compares mathematics in a process with limits of time and memory."""

from __future__ import annotations

import atexit
import importlib.util
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from speculative.errors import MissingExtraError, SpeculativeError

SECONDS = 3.0
"""Seconds of processor time for one grade; the verdict does not depend on other load."""
PATIENCE = 300.0
"""Seconds of wall time for one grade, for a process that hangs."""
START = 120.0
"""Seconds of wall time for the start of the program, which takes 0.5 s on an idle machine."""
MEMORY = 1 << 30
"""The limit of the process's address space in bytes; an idle process uses 70 MB."""


class GradingTimeoutError(Exception):
    """The comparison exceeded its limits, and its process was ended.

    The message is the verdict's reason.
    """


class CheckReply(msgspec.Struct):
    """A reply of the process.

    Its first reply has only its `pid`, and how the process before it `ended`.

    `seconds` is the processor time of the reply.
    """

    yes: bool = False
    why: str = ""
    undecided: bool = False
    seconds: float = 0.0
    pid: int = 0
    ended: str = ""


class WorkerPool:
    """A program that forks working processes with all imports done.

    Unlike `multiprocessing`, it imports neither the caller's main module nor this package, and it returns plain data only. `pid` is
    the working process, or 0 until the next one is ready.
    """

    def __init__(self) -> None:
        worker = Path(__file__).with_name("worker.py")
        self._program = subprocess.Popen(
            [sys.executable, "-P", str(worker), str(MEMORY)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            start_new_session=True,  # Ctrl-C at the terminal does not reach it, and its group can be killed
        )
        self.pid = self.killed = 0
        self.ended = ""
        """The end of the previous working process: "time" at its limit of processor time, else "killed"."""

    @property
    def alive(self) -> bool:
        return self._program.poll() is None

    def kill(self) -> None:
        """Kills the program and the working process."""
        if self.alive:
            os.killpg(self._program.pid, signal.SIGKILL)

    def close(self) -> None:
        """Kills the program and frees the pipes."""
        self.kill()
        self._program.communicate()

    def kill_worker(self) -> None:
        """Kills the working process; the program forks the next one."""
        if pid := self.pid:
            self.killed = pid
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def wait(self) -> bool:
        """Waits until a working process is ready, and skips late replies of a killed one.

        Returns False if none will start.
        """
        while not self.pid:
            reply = self._read()
            if reply is None:
                return False
            self.pid, self.ended = reply.pid, reply.ended
        return True

    def exchange(self, request: tuple[str, ...], seconds: float) -> CheckReply | None:
        """Sends a request with its limit of processor time.

        Returns the reply, or None if the working process ended.
        """
        stdin = self._program.stdin
        assert stdin is not None
        try:
            stdin.write(msgspec.json.encode((seconds, *request)) + b"\n")
            stdin.flush()
            reply = self._read()
        except BrokenPipeError:
            reply = None
        if reply and not reply.pid:
            return reply
        self.pid, self.ended = (reply.pid, reply.ended) if reply else (0, "")
        return None

    def _read(self) -> CheckReply | None:
        stdout = self._program.stdout
        assert stdout is not None
        line = stdout.readline()
        return msgspec.json.decode(line, type=CheckReply) if line.endswith(b"\n") else None


class Clock:
    """Kills a process after some seconds, unless the block ends before."""

    def __init__(self, seconds: float, kill: Callable[[], None]) -> None:
        self.late = False
        self._kill = kill
        self._timer = threading.Timer(seconds, self._expire)
        self._timer.daemon = True

    def _expire(self) -> None:
        self.late = True
        self._kill()

    def __enter__(self) -> Clock:
        self._timer.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._timer.cancel()
        self._timer.join()


class Checker:
    """Holds the one pool.

    Callers of all threads take turns, each with the whole time limit.
    """

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._pool: WorkerPool | None = None
        self._inherited: list[WorkerPool | None] = []
        atexit.register(self.close)
        os.register_at_fork(after_in_child=self._forget)

    @contextmanager
    def session(self) -> Generator[Callable[..., CheckReply]]:
        """Yields a function that sends requests for one grade."""
        require()
        with self._turn:
            pool, left = self._started(), SECONDS
            clock = Clock(PATIENCE, pool.kill_worker)

            def ask(*request: str) -> CheckReply:
                nonlocal left
                reply = pool.exchange(request, left)
                if reply is None and not clock.late and pool.wait() and pool.ended != "time":
                    # another program may have killed it, so the next process is asked once more
                    reply = pool.exchange(request, left)
                if reply is None:
                    late = clock.late or pool.ended == "time"
                    raise GradingTimeoutError("not decided in time" if late else "not decided within the memory limit")
                left = max(0.01, left - reply.seconds)
                if reply.undecided:
                    raise GradingTimeoutError(reply.why)
                return reply

            try:
                with clock:
                    yield ask
            except GradingTimeoutError:
                raise
            except BaseException:
                self.close()  # Ctrl-C may have left half an exchange in the pipe
                raise
            finally:
                if pool.pid == pool.killed:
                    pool.pid = 0  # killed just after its reply

    def _started(self) -> WorkerPool:
        if self._pool is None or not self._pool.alive:
            self.close()
            self._pool = WorkerPool()
        pool = self._pool
        with Clock(START, pool.kill):
            ready = pool.wait()
        if not ready:
            self.close()
            raise SpeculativeError(f"the grading process cannot start; see the reason with: {sys.executable} -c 'import math_verify'")
        return pool

    def close(self) -> None:
        """Ends the processes. A later grade starts new ones."""
        pool, self._pool = self._pool, None
        if pool:
            pool.close()

    def _forget(self) -> None:
        """Forgets the parent's pool in a forked process.

        A reference stays, since dropping a running program warns.
        """
        self._inherited.append(self._pool)
        self._turn, self._pool = threading.Lock(), None


def require() -> None:
    """Raises `UsageError` that names the extra if math-verify is missing."""
    if importlib.util.find_spec("math_verify") is None:
        raise MissingExtraError("grading mathematics", "math-verify", "eval")


checker = Checker()
