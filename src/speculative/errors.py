"""The errors of the library.

A message is one line with the thing, the value and the next step.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails


def reduce_error(self: BaseException) -> tuple[Any, ...]:
    """Returns the parts from which pickle and copy make an error again.

    Python calls the class with the message alone, which an error with other arguments cannot take.
    """
    return _restored, (type(self), self.args), vars(self)


def _restored(kind: type[BaseException], args: tuple[Any, ...]) -> BaseException:
    return kind.__new__(kind, *args)


class SpeculativeError(Exception):
    """Base of all errors of this library.

    `exit_code` is the exit code of the command line.
    """

    exit_code = 1

    def __reduce__(self) -> tuple[Any, ...]:
        return reduce_error(self)


class UsageError(SpeculativeError):
    """The user named a thing that does not exist, or gave a value out of range.

    `field`: the parameter of a method that is at fault, if it is one.
    """

    exit_code = 2
    field: str | None = None


MIN_SIMILARITY = 0.65
"""The least similarity, from 0 to 1, at which an error offers a known name for an unknown one."""


class UnknownNameError(UsageError):
    """A name is not known. The error shows the closest valid name and all valid names."""

    def __init__(self, kind: str, name: str, known: list[str]) -> None:
        from difflib import get_close_matches

        bare = {one.lstrip("-"): one for one in reversed(known)}
        asked = name[:LONGEST_QUOTE].lstrip("-")
        begun = [one for one in bare if len(asked) > 2 and one.startswith(asked)]
        close = [bare[one] for one in get_close_matches(asked, bare, n=1, cutoff=MIN_SIMILARITY) or begun]
        hint = f"; did you mean {close[0]!r}?" if close else ""
        super().__init__(f"unknown {kind} {quote(name)}{hint} (known: {', '.join(sorted(known)) or 'none'})")
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
    if "key" in name:
        return UsageError(f"{name} {requirement([first]).partition(', got ')[0]}")
    return UsageError(describe_mistake(name, [first]))


_TYPES = {
    "bool_type": ("true", "false"),
    "bool_parsing": ("true", "false"),
    "int_type": ("an integer",),
    "int_from_float": ("an integer",),
    "int_parsing": ("an integer",),
    "float_type": ("a number",),
    "float_parsing": ("a number",),
    "string_type": ("a string",),
    "list_type": ("a list",),
    "tuple_type": ("a list",),
    "dict_type": ("an object",),
    "model_type": ("an object",),
    "model_attributes_type": ("an object",),
}
"""The type that a value must have, by the validator's name of the mistake."""
_BOUNDS = {
    "greater_than_equal": ("must be at least", "ge"),
    "greater_than": ("must be more than", "gt"),
    "less_than_equal": ("must be at most", "le"),
    "less_than": ("must be less than", "lt"),
    "too_short": ("must have at least", "min_length"),
    "too_long": ("must have at most", "max_length"),
    "string_too_short": ("must have at least", "min_length"),
    "string_too_long": ("must have at most", "max_length"),
}
"""The words for a bound, and its name in the validator's context."""
_RULES = {
    "missing": "is required; add it",
    "extra_forbidden": "is not a known name; leave it out",
    "string_unicode": "must be valid Unicode, got half a character",
}


def describe_mistake(name: str, mistakes: Sequence[ErrorDetails]) -> str:
    """Describes a wrong value in one line that begins with its name."""
    reason = requirement(mistakes)
    if reason.startswith(("must ", "is ")):
        return f"{name} {reason}"
    return f"{name}: {shown_value(mistakes[0]['input'])} is not valid: {reason[:1].lower()}{reason[1:]}"


def requirement(mistakes: Sequence[ErrorDetails]) -> str:
    """Describes a wrong value and what it must be, as in `must be at least 1, got 0`.

    `mistakes`: those of one field. A field of several types has one for each type.
    """
    bounds = [found for found in mistakes if found["type"] not in _TYPES and found["type"] != "literal_error"]
    if not bounds:
        words, value = list(dict.fromkeys(word for found in mistakes for word in _alternatives(found))), mistakes[0]["input"]
        listed = f"{', '.join(words[:-1])} or {words[-1]}" if words[1:] else words[0]
        return f"must be {listed}, got {shown_value(value)}{_advice(mistakes)}"
    found = bounds[0]
    kind, value = found["type"], found["input"]
    if kind in _RULES:
        return _RULES[kind]
    if kind == "finite_number":
        return f"must be a finite number, got {shown_value(value)}"
    if kind not in _BOUNDS:
        return found["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    words, name = _BOUNDS[kind]
    bound = found.get("ctx", {})[name]
    bound = int(bound) if isinstance(bound, float) and bound.is_integer() else bound
    if "length" not in name:
        return f"{words} {bound}, got {shown_value(value)}"
    noun = "character" if isinstance(value, str) else "item"
    return f"{words} {bound} {noun}{'' if bound == 1 else 's'}, got {len(value)}"


LONGEST_QUOTE = 80
"""Characters of a user's value in an error."""


def quote(value: Any) -> str:
    """Returns a value's `repr`, which is cut if it is long."""
    if not isinstance(value, str | bytes):
        text = repr(value)
        return text if len(text) <= LONGEST_QUOTE else f"{text[:LONGEST_QUOTE]}…"
    text = repr(value[:LONGEST_QUOTE])
    if len(value) <= LONGEST_QUOTE and len(text) <= LONGEST_QUOTE:
        return text
    return f"{text[: LONGEST_QUOTE - 1]}…{text[-1]}"


def shown_value(value: Any) -> str:
    """Returns a value as an error shows it.

    A short one is whole, and of a list or an object it is the kind.
    """
    match value:
        case None | bool():
            return {None: "null", True: "true", False: "false"}[value]
        case str():
            return repr(value if len(value) <= 60 else f"{value[:60]}…")
        case list() | tuple():
            return "a list"
        case dict():
            return "an object"
        case _:
            return str(value)[:60]


def _alternatives(found: ErrorDetails) -> Sequence[str]:
    """Returns the types or the values that a field may have."""
    if found["type"] != "literal_error":
        return _TYPES[found["type"]]
    allowed: str = found.get("ctx", {})["expected"]
    words: list[str] = re.findall(r"'[^']*'|[\w.-]+", allowed)
    return [word.lower() if word in ("True", "False") else word for word in words if word != "or"]


def _advice(mistakes: Sequence[ErrorDetails]) -> str:
    """Returns the next step where a number is sent as a string."""
    value, wants_number = mistakes[0]["input"], any(found["type"] in ("int_type", "float_type") for found in mistakes)
    is_number = isinstance(value, str) and re.fullmatch(r"-?\d+(\.\d+)?", value)
    return "; send it without quotes" if is_number and wants_number else ""
