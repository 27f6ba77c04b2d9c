"""The one place where exceptions become a line on standard error and an exit code."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from speculative.cli.commands import COMMANDS
from speculative.errors import SpeculativeError, UnknownName

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
        return _fail("interrupted", 128 + signal.SIGINT)
    return code if isinstance(code, int) else 0


def warn(message: str) -> None:
    """One line on standard error; the work goes on."""
    sys.stderr.write(f"speculative: warning: {' '.join(message.split())}\n")


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"speculative: {' '.join(message.split())}\n")
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
        flag = error.token.keyword or error.token.value
        return f"{UnknownName('flag', flag, [*known, '--help'])}{_owner(flag, error.command_chain)}"
    if isinstance(error, exceptions.UnknownCommandError):
        return str(UnknownName("command", (error.unused_tokens or [""])[0], list(COMMANDS)))
    told = str(error)
    return told[:1].lower() + told[1:]


def _owner(flag: str, command: Sequence[str] | None) -> str:
    """Tells of the methods that have such a parameter, when it was given to another one."""
    if list(command or ()) != ["ask"]:
        return ""
    from speculative.methods.registry import registered

    field = flag.lstrip("-").removeprefix("no-").replace("-", "_")
    owners = [name for name, kind in registered().items() if field in kind.model_fields]
    return f"; it is a parameter of {', '.join(owners)}" if owners else ""
