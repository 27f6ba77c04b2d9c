"""Every error that a user can meet. Each names the thing, the value and the next step, in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pydantic import ValidationError


class SpeculativeError(Exception):
    """Base of all errors of this library. `exit_code` is what the command line exits with."""

    exit_code = 1


class UsageError(SpeculativeError):
    """The user asked for something that does not exist or is out of range."""

    exit_code = 2


class UnknownNameError(UsageError):
    """A name that is not known, with the closest one and the list of valid ones."""

    def __init__(self, kind: str, name: str, known: list[str]) -> None:
        from difflib import get_close_matches

        close = get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        super().__init__(f"unknown {kind} {name!r}{hint} (known: {', '.join(sorted(known)) or 'none'})")
        self.kind, self.name, self.known, self.closest = kind, name, known, close[0] if close else None


class MissingExtraError(UsageError):
    """A package is missing that an extra installs. The error shows the command that installs it where this library is installed."""

    def __init__(self, thing: str, package: str, extra: str, otherwise: str = "") -> None:
        super().__init__(f"{thing} needs {package}; install the extra {extra} with: {_install(extra)}{otherwise}")


def _install(extra: str) -> str:
    """Returns the command that adds an extra: from the checkout that this library came from, or from the registry."""
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
    """Returns the folder with this library's source that it was installed from, if that is still there."""
    import json
    from importlib.metadata import PackageNotFoundError, distribution
    from pathlib import Path
    from urllib.parse import unquote, urlsplit

    folders = [Path(__file__).parents[2]]  # an editable installation runs from its checkout
    try:
        came: str = json.loads(distribution("speculative-reasoning").read_text("direct_url.json") or "{}").get("url", "")
        folders += [Path(unquote(urlsplit(came).path))] if came.startswith("file:") else []
    except PackageNotFoundError:
        pass
    return next((folder for folder in folders if (folder / "constraints.txt").is_file() and (folder / "pyproject.toml").is_file()), None)


class TraceFormatError(SpeculativeError):
    """A file that is not a trace, is cut off, or has another version."""


class WeightsError(SpeculativeError):
    """A model folder that is missing, incomplete or damaged."""


class EngineError(SpeculativeError):
    """An engine failed. `trace` holds what the chain had done until then, when there was a chain.

    `role`: whose engine it was, when a chain called it.
    `lost`: its server is gone, or as good as gone: asking it again would not help (see `Problem.degrade`).
    """

    trace: Any = None
    role: str | None = None
    lost: bool = False


class MethodError(SpeculativeError):
    """A method raised something: a bug in it, or in what it uses. `trace` holds what the chain had done until then."""

    trace: Any = None


class EngineUnreachableError(EngineError):
    """No answer from the engine's address."""

    lost = True


class EngineTimeoutError(EngineError):
    """The engine let a deadline pass: for its first token, between two tokens, or for the whole call."""

    lost = True


class EngineBusyError(EngineError):
    """The server turned the call away for now.

    `retry_after`: seconds from its Retry-After, or None. `status`: its HTTP status.
    """

    def __init__(self, message: str, retry_after: float | None = None, status: int = 503) -> None:
        super().__init__(message)
        self.retry_after, self.status = retry_after, status


class EngineRefusedError(EngineError):
    """The server understood the call and refuses it: a wrong key, an unknown model, a field that it does not take."""


class EngineServerError(EngineError):
    """The server broke: an internal error, an answer that is none, or one that was cut off."""

    lost = True


class EngineClosedError(EngineError):
    """The engine was closed while, or before, it was asked."""


CONTEXT_FLAGS = "--big-context (--small-context, --judge-context)"


class ContextExceededError(EngineError):
    """The prefix does not fit into the model's positions. `tokens` and `context` are None where a server did not name them.

    `said`: the words of a server that refused the call.
    """

    def __init__(self, engine: str, tokens: int | None, context: int | None, said: str = "", hint: str = "") -> None:
        self.engine, self.tokens, self.context = engine, tokens, context
        words = f" (the server says: {said})" if said else ""
        super().__init__(f"{engine}: {self.what}{words}; {hint or self.advice}")

    @property
    def what(self) -> str:
        """What does not fit."""
        given = "the prefix" if self.tokens is None else f"a prefix of {self.tokens} tokens"
        return f"{given} does not fit into its context" + (f" of {self.context}" if self.context else "")

    @property
    def advice(self) -> str:
        """What would fit."""
        return "shorten the problem" + (f": at most {self.context - 1} tokens of prompt and chain fit" if self.context else "")


class UnknownSpecialTokenError(EngineError):
    """The tokenizer has no such special token: the dialect does not belong to this model."""


class UnsupportedMethodError(UsageError):
    """The method needs an ability that the engine does not have."""


class ReplayMismatchError(EngineError):
    """The method asked for something that the saved trace does not hold: it is not the same method, parameters or version."""


class ChainStateError(RuntimeError):
    """A method used the chain wrongly: a bug in the method, never a user's mistake.

    `where`: the file and line of the mistake, where the traceback does not say it.
    """

    where: tuple[str, int] | None = None


def usage_error_from(error: ValidationError, names: Mapping[str, str] | str = "") -> UsageError:
    """Makes one line of a validation error: the first thing that is wrong, its value and what it must be.

    `names`: how the user knows the fields, or the place that they stand in. The value of a key is not shown.
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
