"""The one place where exceptions become a line on standard error and an exit code."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speculative.cli.commands import COMMANDS
from speculative.errors import SpeculativeError, UnknownNameError

if TYPE_CHECKING:
    from cyclopts import CycloptsError

FAILED, MISUSED = 1, 2
QUIET_PIPE = 128 + 13
"""What a shell reports of a program that wrote to a closed pipe."""


class Interrupted(SpeculativeError):  # nothing went wrong
    """A signal ended the work; what was done so far has been shown."""

    def __init__(self, number: int) -> None:
        super().__init__("interrupted" if number == signal.SIGINT else "terminated")
        self.exit_code = 128 + number


def reported(work: Callable[[], Any]) -> int:
    """Runs a command. A user's mistake, a failing engine or disk gives one line; a bug of ours gives its traceback."""
    from cyclopts import CycloptsError

    try:
        code = work()
        sys.stdout.flush()
    except CycloptsError as error:
        return _fail(_told(error), MISUSED)
    except SpeculativeError as error:
        return _fail(str(error), error.exit_code)
    except BrokenPipeError:
        _abandon_output()
        return QUIET_PIPE
    except OSError as error:
        _abandon_output()
        return _fail(f"{error.filename or 'output'}: {error.strerror or error}", FAILED)
    except KeyboardInterrupt:
        from speculative.cli.interrupt import SIGNALLED

        stopped = Interrupted((SIGNALLED.caught or [signal.SIGINT])[0])
        return _fail(str(stopped), stopped.exit_code)
    return code if isinstance(code, int) else 0


def streams() -> int:
    """Sees to standard streams that are closed. Without an output there is nothing to do: an exit code that is not 0."""
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115  it stays open
    if sys.stdout is None:
        return _fail("standard output is closed; send it to a file, or to /dev/null", FAILED)
    return 0


def warn(message: str) -> None:
    """One line on standard error; the work goes on."""
    sys.stderr.write(f"speculative: warning: {_line(message)}\n")


def note(message: str) -> None:
    """One line on standard error that nothing has to be done about."""
    sys.stderr.write(f"speculative: note: {_line(message)}\n")


def _line(message: str) -> str:
    """A message as one line, of which no sign steers the terminal: it may quote a stranger's text."""
    return "".join(sign if sign.isprintable() else "\ufffd" for sign in " ".join(message.split()))


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"speculative: {_line(message)}\n")
    return code


def _abandon_output() -> None:
    """Nobody takes our output any more: what is left in its buffer must not fail once again at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _told(error: CycloptsError) -> str:
    """What was wrong with the command line, the closest that is right, and what there is."""
    from cyclopts import exceptions

    if isinstance(error, exceptions.UnusedCliTokensError):
        return f"unexpected {' '.join(map(repr, error.unused_tokens or []))}; put a text of several words in quotes"
    if isinstance(error, exceptions.UnknownOptionError):
        known = [argument.name for argument in error.argument_collection if argument.show and argument.name.startswith("--")]
        return _unknown_flag(error.token.keyword or error.token.value, known, list(error.command_chain or ()))
    if isinstance(error, exceptions.UnknownCommandError):
        return str(UnknownNameError("command", (error.unused_tokens or [""])[0], list(COMMANDS)))
    told = str(error)
    return told[:1].lower() + told[1:]


def _unknown_flag(flag: str, known: list[str], command: Sequence[str]) -> str:
    """Tells whose it is, or the closest one, and where the others are listed."""
    if owners := _owners(flag, command):
        return f"unknown flag {flag!r}: it is a parameter of {', '.join(owners)}; name that with --method"
    close = UnknownNameError("flag", flag, [*known, "--help"]).closest
    hint = f"; did you mean {close!r}?" if close else ""
    return f"unknown flag {flag!r}{hint} (`{' '.join(['speculative', *command])} --help` lists them)"


def _owners(flag: str, command: Sequence[str]) -> list[str]:
    """The methods and wrappers that have such a parameter, when it was given to another one."""
    if list(command) not in (["ask"], ["eval"]):
        return []
    from speculative.methods.registry import registered

    field = flag.lstrip("-").removeprefix("no-").replace("-", "_")
    return [name for name, kind in registered().items() if field in kind.model_fields]
