"""The process in which mathematics is compared: replaced when its processor time is over, ends with us, never holds up an exit."""

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
"""Seconds of processor time for one grade: so the verdict does not depend on what else the machine does."""
PATIENCE = 300.0
"""Seconds of the clock for one grade, for a process that does not get on at all."""
START = 120.0
"""Seconds of the clock for the program's start, which takes half of one on an idle machine."""
MEMORY = 1 << 30
"""Bytes of address space for the process. Idle it has 70 MB."""


class GradingTimeoutError(Exception):
    """The comparison took too long or too much memory, and its process was ended. The message is the verdict's reason."""


class Reply(msgspec.Struct):
    """What a process says: whether it is so, and if not, why; or, once and at first, who it is and how the one before it ended.

    `seconds` is the processor time that the reply took.
    """

    yes: bool = False
    why: str = ""
    undecided: bool = False
    seconds: float = 0.0
    pid: int = 0
    ended: str = ""


class WorkerPool:
    """A program that has everything imported and forks the process that works, so that a killed one is replaced at once.

    It is a program of its own and not `multiprocessing`: it imports neither the caller's main module nor this package, and
    what comes back through the pipe is plain data. `pid` is the working process, 0 until the next has said that it is ready.
    """

    def __init__(self) -> None:
        worker = Path(__file__).with_name("worker.py")
        self._program = subprocess.Popen(
            [sys.executable, "-P", str(worker), str(MEMORY)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            start_new_session=True,  # a Ctrl-C at the terminal is ours alone, and all of it can be killed together
        )
        self.pid = self.killed = 0
        self.ended = ""
        """How the working process before this one ended: "time" at its limit of processor time, "killed" otherwise."""

    @property
    def alive(self) -> bool:
        return self._program.poll() is None

    def kill(self) -> None:
        """Kills the program and the working process."""
        if self.alive:
            os.killpg(self._program.pid, signal.SIGKILL)

    def close(self) -> None:
        """`kill`, and frees the pipes."""
        self.kill()
        self._program.communicate()

    def kill_worker(self) -> None:
        """Kills the working process, if one is ready; the program forks the next."""
        if pid := self.pid:
            self.killed = pid
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def wait(self) -> bool:
        """Waits until a working process is ready, past what a killed one may have said; False if there will be none."""
        while not self.pid:
            reply = self._read()
            if reply is None:
                return False
            self.pid, self.ended = reply.pid, reply.ended
        return True

    def exchange(self, request: tuple[str, ...], seconds: float) -> Reply | None:
        """Sends a request with its processor time and waits for the reply; None when the working process has ended instead."""
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

    def _read(self) -> Reply | None:
        stdout = self._program.stdout
        assert stdout is not None
        line = stdout.readline()
        return msgspec.json.decode(line, type=Reply) if line.endswith(b"\n") else None


class Clock:
    """Kills something after some seconds, unless left before; the wait for it then ends."""

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
    """Holds the one pool. Callers, from whatever thread, take turns; each has the whole deadline."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._pool: WorkerPool | None = None
        self._inherited: list[WorkerPool | None] = []
        atexit.register(self.close)
        os.register_at_fork(after_in_child=self._forget)

    @contextmanager
    def session(self) -> Generator[Callable[..., Reply]]:
        """A function that asks, good for one grade; it raises `GradingTimeoutError`. Raises `UsageError` without math-verify."""
        require()
        with self._turn:
            pool, left = self._started(), SECONDS
            clock = Clock(PATIENCE, pool.kill_worker)

            def ask(*request: str) -> Reply:
                nonlocal left
                reply = pool.exchange(request, left)
                if reply is None and not clock.late and pool.wait() and pool.ended != "time":
                    # it ended by itself: a stranger may have killed it, and then the next one has the answer
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
                self.close()  # a Ctrl-C, say, may have left half an exchange in the pipe
                raise
            finally:
                if pool.pid == pool.killed:
                    pool.pid = 0  # killed just as it replied: the next one has yet to speak

    def _started(self) -> WorkerPool:
        if self._pool is None or not self._pool.alive:
            self.close()
            self._pool = WorkerPool()
        pool = self._pool
        with Clock(START, pool.kill):
            ready = pool.wait()
        if not ready:
            self.close()
            raise SpeculativeError(f"the grading process does not start; see what this says: {sys.executable} -c 'import math_verify'")
        return pool

    def close(self) -> None:
        """Ends the processes. A later grade starts others."""
        pool, self._pool = self._pool, None
        if pool:
            pool.close()

    def _forget(self) -> None:
        """In a forked process: the pool is the parent's. (Kept, since dropping a running program would warn.)"""
        self._inherited.append(self._pool)
        self._turn, self._pool = threading.Lock(), None


def require() -> None:
    """Raises `UsageError` that names the extra, unless math-verify is there."""
    if importlib.util.find_spec("math_verify") is None:
        raise MissingExtraError("grading mathematics", "math-verify", "eval")


checker = Checker()
