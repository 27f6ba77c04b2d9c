"""Turns exceptions into a line on standard error and an exit code."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from speculative.cli._signals import SIGNALLED, InterruptedWorkError
from speculative.cli.commands import COMMANDS
from speculative.errors import SpeculativeError, UnknownNameError, usage_error_from

if TYPE_CHECKING:
    from cyclopts import Argument, CycloptsError

FAILED, MISUSED = 1, 2
QUIET_PIPE = 128 + 13
"""The exit code that a shell reports for a write to a closed pipe."""


def run_reporting_errors(work: Callable[[], Any]) -> int:
    """Runs a command and returns its exit code.

    A mistake of the user, or a failing engine or disk, gives one line on standard error, and one for each note of the error. A bug of
    this library gives a traceback.
    """
    try:
        code = work()
        sys.stdout.flush()
    except SpeculativeError as error:
        return _fail(str(error), error.exit_code, getattr(error, "__notes__", ()))
    except BrokenPipeError:
        _abandon_output()
        return QUIET_PIPE
    except OSError as error:
        _abandon_output()
        return _fail(f"{error.filename or 'output'}: {error.strerror or error}", FAILED)
    except Exception as error:
        if not _is_parse_error(error):
            raise
        return _fail(_format_parse_error(error), MISUSED)
    except KeyboardInterrupt:
        stopped = InterruptedWorkError((SIGNALLED.caught or [signal.SIGINT])[0])
        return _fail(str(stopped), stopped.exit_code)
    return code if isinstance(code, int) else 0


def _is_parse_error(error: Exception) -> TypeGuard[CycloptsError]:
    """Returns True if the parser refused the command line."""
    cyclopts: Any = sys.modules.get("cyclopts")
    return cyclopts is not None and isinstance(error, cyclopts.CycloptsError)


def check_streams() -> int:
    """Replaces a closed standard error.

    Returns a nonzero exit code if standard output is closed.
    """
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115  it stays open
    if sys.stdout is None:
        return _fail("standard output is closed; send it to a file, or to /dev/null", FAILED)
    return 0


def warn(message: str) -> None:
    """Writes a warning to standard error; the work continues."""
    sys.stderr.write(f"speculative: warning: {_line(message)}\n")


def note(message: str) -> None:
    """Writes a note to standard error, which needs no action."""
    sys.stderr.write(f"speculative: note: {_line(message)}\n")


def _line(message: str) -> str:
    """Returns a message as one line without control characters."""
    return "".join(sign if sign.isprintable() else "\ufffd" for sign in " ".join(message.split()))


def _fail(message: str, code: int, notes: Sequence[str] = ()) -> int:
    """Writes an error as one line, and each of its notes as another."""
    sys.stderr.write("".join([f"speculative: {_line(message)}\n", *(f"  {_line(note)}\n" for note in notes)]))
    return code


def _abandon_output() -> None:
    """Discards the rest of the output, so that the flush at exit does not fail."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _format_parse_error(error: CycloptsError) -> str:
    """Describes a mistake on the command line, and the closest valid word."""
    from cyclopts import exceptions
    from pydantic import ValidationError

    if isinstance(error, exceptions.UnusedCliTokensError):
        return f"unexpected {' '.join(map(repr, error.unused_tokens or []))}; put a text of several words in quotes"
    if isinstance(error, exceptions.UnknownOptionError):
        known = [argument.name for argument in error.argument_collection if argument.show and argument.name.startswith("--")]
        return _unknown_flag(error.token.keyword or error.token.value, known, list(error.command_chain or ()))
    if isinstance(error, exceptions.UnknownCommandError):
        return str(UnknownNameError("command", (error.unused_tokens or [""])[0], list(COMMANDS)))
    if isinstance(error, exceptions.MissingArgumentError) and error.argument:
        return _missing(error.argument, error.keyword, list(error.command_chain or ()))
    if isinstance(error, exceptions.ValidationError) and isinstance(cause := error.__cause__, ValidationError):  # of `serve`, a model
        names = {str(found["loc"][0]): f"setting {found['loc'][0]}" for found in cause.errors() if found["loc"]}
        return str(usage_error_from(cause, names))
    message = str(error)
    return message[:1].lower() + message[1:]


def _missing(argument: Argument, keyword: str | None, command: Sequence[str]) -> str:
    """Describes a value that is not given."""
    name = keyword or next((token.keyword for token in argument.tokens if token.keyword), argument.name)
    choices = f" ({', '.join(found)})" if (found := argument.get_choices()) else ""
    must = f"must have a value{choices}" if name.startswith("-") else f"must be given{choices}"
    return f"{name} {must}; `{' '.join(['speculative', *command])} --help` describes it"


def _unknown_flag(flag: str, known: list[str], command: Sequence[str]) -> str:
    """Describes an unknown flag: its owner, or the closest known flag."""
    if owners := _owners(flag, command):
        return f"unknown flag {flag!r}: it is a parameter of {', '.join(owners)}; {_choose(owners, flag)}"
    close = UnknownNameError("flag", flag, [*known, "--help"]).closest
    hint = f"; did you mean {close!r}?" if close else ""
    return f"unknown flag {flag!r}{hint} (`{' '.join(['speculative', *command])} --help` lists them)"


def _choose(owners: Sequence[str], flag: str) -> str:
    """Returns the next step towards a method, or a wrapper, with a parameter."""
    from speculative.methods.registry import names

    if owners[0] in names(wrappers=True):
        return f'write it as --with "{owners[0]}({_field(flag)}=…)"'
    return "choose that with --method"


def _field(flag: str) -> str:
    return flag.lstrip("-").removeprefix("no-").replace("-", "_")


def _owners(flag: str, command: Sequence[str]) -> list[str]:
    """Returns the methods and wrappers that have a parameter of that name."""
    if list(command) not in (["ask"], ["eval"]):
        return []
    from speculative.methods.registry import registered

    return [name for name, kind in registered().items() if _field(flag) in kind.model_fields]
