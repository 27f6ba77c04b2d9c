"""The errors of the library.

A message is one line with the thing, the value and the next step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pydantic import ValidationError


class SpeculativeError(Exception):
    """Base of all errors of this library.

    `exit_code` is the exit code of the command line.
    """

    exit_code = 1


class UsageError(SpeculativeError):
    """The user named a thing that does not exist, or gave a value out of range."""

    exit_code = 2


class UnknownNameError(UsageError):
    """A name is not known. The error shows the closest valid name and all valid names."""

    def __init__(self, kind: str, name: str, known: list[str]) -> None:
        from difflib import get_close_matches

        close = get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        super().__init__(f"unknown {kind} {name!r}{hint} (known: {', '.join(sorted(known)) or 'none'})")
        self.kind, self.name, self.known, self.closest = kind, name, known, close[0] if close else None


class MissingExtraError(UsageError):
    """A package of an extra is missing. The error shows the command that installs it."""

    def __init__(self, thing: str, package: str, extra: str, otherwise: str = "") -> None:
        super().__init__(f"{thing} needs {package}; install the extra {extra} with: {_install(extra)}{otherwise}")


def _install(extra: str) -> str:
    """Returns the command that installs an extra."""
    import os
    import shlex
    import sys
    from pathlib import Path

    python = os.path.relpath(sys.executable) if Path(sys.executable).is_relative_to(Path.cwd()) else sys.executable
    pip = f"{shlex.quote(python)} -m pip install"
    checkout = _checkout()
    if checkout is None:
        return f"{pip} {shlex.quote(f'speculative-reasoning[{extra}]')}"
    here = checkout == Path.cwd()
    lock = "constraints.txt" if here else str(checkout / "constraints.txt")
    return f"{pip} -c {shlex.quote(lock)} -e {shlex.quote(f'.[{extra}]' if here else f'{checkout}[{extra}]')}"


def _checkout() -> Path | None:
    """Returns the checkout of this library, or None."""
    import json
    from importlib.metadata import PackageNotFoundError, distribution
    from pathlib import Path
    from urllib.parse import unquote, urlsplit

    folders = [Path(__file__).parents[2]]  # an editable installation
    try:
        came: str = json.loads(distribution("speculative-reasoning").read_text("direct_url.json") or "{}").get("url", "")
        folders += [Path(unquote(urlsplit(came).path))] if came.startswith("file:") else []
    except PackageNotFoundError:
        pass
    return next((folder for folder in folders if (folder / "constraints.txt").is_file() and (folder / "pyproject.toml").is_file()), None)


class TraceFormatError(SpeculativeError):
    """A file is not a trace, is cut off, or has an unknown version."""


class WeightsError(SpeculativeError):
    """A model folder is missing, incomplete or damaged."""


class EngineError(SpeculativeError):
    """An engine failed.

    Attributes:
        trace: the chain until then, if there was one.
        role: the role of the engine, if a chain called it.
        lost: True if the server is gone, so that a retry cannot help (see `Problem.degrade`).
    """

    trace: Any = None
    role: str | None = None
    lost: bool = False


def engine_error(raised: BaseException) -> EngineError | None:
    """Returns the engine's error, also from a group of tasks, or None."""
    if not isinstance(raised, BaseExceptionGroup):
        return raised if isinstance(raised, EngineError) else None
    found = [engine_error(inner) for inner in cast("BaseExceptionGroup[BaseException]", raised).exceptions]
    return found[0] if all(found) else None


class MethodError(SpeculativeError):
    """A method raised an exception of its own. `trace` is the chain until then."""

    trace: Any = None


class EngineUnreachableError(EngineError):
    """The engine's address did not answer."""

    lost = True


class EngineTimeoutError(EngineError):
    """The engine exceeded a timeout."""

    lost = True


class EngineBusyError(EngineError):
    """The server is busy and rejected the call.

    `retry_after`: seconds from the Retry-After header, or None. `status`: the HTTP status.
    """

    def __init__(self, message: str, retry_after: float | None = None, status: int = 503) -> None:
        super().__init__(message)
        self.retry_after, self.status = retry_after, status


class EngineRefusedError(EngineError):
    """The server rejected the call, for example for a wrong key or model.

    `status`: the HTTP status, or 0 without an HTTP reply.
    """

    status: int = 0


class EngineServerError(EngineError):
    """The server failed: an internal error, or a malformed or truncated response."""

    lost = True


class EngineClosedError(EngineError):
    """The engine was closed before or during the call."""


CONTEXT_FLAGS = "--big-context (--small-context, --judge-context)"


class ContextExceededError(EngineError):
    """The prefix does not fit into the model's context.

    `tokens` and `context` are None if a server did not report them.

    `said`: the message of a server that rejected the call.
    """

    def __init__(self, engine: str, tokens: int | None, context: int | None, said: str = "", hint: str = "") -> None:
        self.engine, self.tokens, self.context = engine, tokens, context
        words = f" (the server says: {said})" if said else ""
        super().__init__(f"{engine}: {self.what}{words}; {hint or self.advice}")

    @property
    def what(self) -> str:
        """The description of the prefix and the context."""
        given = "the prefix" if self.tokens is None else f"a prefix of {self.tokens} tokens"
        return f"{given} does not fit into its context" + (f" of {self.context}" if self.context else "")

    @property
    def advice(self) -> str:
        """The next step for the user."""
        return "shorten the problem" + (f": at most {self.context - 1} tokens of prompt and chain fit" if self.context else "")


class UnknownSpecialTokenError(EngineError):
    """The tokenizer lacks a special token: the dialect does not belong to this model."""


class UnsupportedMethodError(UsageError):
    """The method needs an ability that the engine lacks."""


class ReplayMismatchError(EngineError):
    """A replay needs a call that the trace lacks."""


class ChainStateError(RuntimeError):
    """A method used the chain wrongly, which is a bug of the method.

    `where`: the file and line of the mistake, if the traceback lacks it.
    """

    where: tuple[str, int] | None = None


def usage_error_from(error: ValidationError, names: Mapping[str, str] | str = "") -> UsageError:
    """Turns a validation error into one line about its first wrong field.

    `names`: the user's names of the fields, or a prefix for them. The value of a key is not shown.
    """
    first = error.errors(include_url=False)[0]
    steps = [str(step) for step in first["loc"]]
    if isinstance(names, str):
        name = ".".join([*([names] if names else []), *steps])
    else:
        name = ".".join([names.get(steps[0], steps[0]), *steps[1:]]) if steps else "the value"
    must = first["msg"].replace("Input should be", "must be").removeprefix("Value error, ")
    value = "" if "key" in name else f", got {str(first['input'])[:80]!r}"
    return UsageError(f"{name} {must}{value}" if must.startswith("must") else f"{name}: {must}{value}")
