"""Loads classes of users from entry points or a file, and parses their specs."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Iterator
from hashlib import blake2b
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Final, TypeVar

from speculative.errors import UnknownNameError, UsageError, quote
from speculative.files import expand_home

T = TypeVar("T")

FROM_FILE: Final = "speculative_file_"
"""The prefix of the names of modules that were loaded from a path."""


def is_path(spec: str) -> bool:
    """Returns True if a spec names a class in a file, as `FILE.py:CLASS` or `FILE.py`."""
    return ".py:" in spec or spec.endswith(".py")


def load_class(spec: str, base: type[T], noun: str) -> type[T]:
    """Loads the class of `FILE.py:CLASS`, or of `FILE.py` if it holds a single one.

    A path is code. It must come from the command line or from Python, never from a request or a downloaded file.

    Raises:
        UsageError: There is no such file or class, or the file cannot be run.
    """
    file, _, label = spec.partition(".py:") if ".py:" in spec else (spec.removesuffix(".py"), "", "")
    try:
        path = expand_home(f"{file}.py").resolve()
        exists = path.is_file()
    except (OSError, ValueError) as error:  # too long, or with a zero byte
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"{noun} {quote(spec)} cannot be a path: {reason}; name a Python file") from None
    if not exists:
        raise UsageError(f"{noun} {quote(spec)}: {path} does not exist; name a Python file")
    source = path.read_bytes()
    name = f"{FROM_FILE}{path.stem}_{blake2b(source + bytes(path), digest_size=6).hexdigest()}"
    module = sys.modules.get(name)
    if module is None:
        module = sys.modules[name] = ModuleType(name)
        module.__file__ = str(path)
        try:
            exec(compile(source, path, "exec"), module.__dict__)  # the import system might take an older file from its cache
        except BaseException as error:
            del sys.modules[name]  # half a module would be found by the next call
            if not isinstance(error, Exception | SystemExit):
                raise
            reason = str(error) if isinstance(error, UsageError) else f"{type(error).__name__}: {error}"
            raise UsageError(f"{noun} {quote(spec)} cannot be loaded: {reason}") from error
    kinds = {kind.__name__: kind for kind in classes_in(module, base)}
    if label and label not in kinds:
        raise UnknownNameError(f"{noun} class in {path.name}", label, list(kinds))
    if not label and len(kinds) != 1:
        raise UsageError(f"{noun} {quote(spec)}: the file must hold one {noun}, got {len(kinds)}; write FILE.py:CLASS")
    return kinds[label] if label else next(iter(kinds.values()))


def classes_in(module: object, base: type[T]) -> list[type[T]]:
    """Returns the subclasses that a module itself defines."""
    label = getattr(module, "__name__", "")
    return [kind for _, kind in inspect.getmembers(module, inspect.isclass) if issubclass(kind, base) and kind.__module__ == label]


def installed_classes(group: str, base: type[T], noun: str) -> Iterator[tuple[type[T], str]]:
    """Yields the classes of an entry-point group, each with its origin in words.

    Raises:
        UsageError: An entry point cannot be loaded, or is not a subclass of `base`.
    """
    for point in entry_points(group=group):
        origin = _origin(point)
        try:
            loaded: object = point.load()
        except (Exception, SystemExit) as error:
            raise UsageError(f"the {noun} {point.name!r} of {origin} cannot be loaded: {error}; mend or remove the package") from error
        if not (isinstance(loaded, type) and issubclass(loaded, base)):
            raise UsageError(
                f"the entry point {point.name!r} of the group {group} must be a subclass of {base.__name__}, got {quote(loaded)}"
            )
        yield loaded, origin


def parse_spec(what: str, spec: str) -> tuple[str, dict[str, str]]:
    """Parses `name(field=value,…)` into the name and its fields.

    `what` names the kind of thing in an error. Raises `UsageError`.
    """
    name, bracket, inside = spec.partition("(")
    if bracket and not inside.endswith(")"):
        raise UsageError(f"{what} {quote(spec)} has an open bracket; write it as name(field=value,…)")
    settings: dict[str, str] = {}
    for part in split_spec(inside.removesuffix(")"), ","):
        field, equals, value = part.partition("=")
        field = field.strip().replace("-", "_")
        if not equals:
            raise UsageError(f"{what} {quote(spec)}: each part must be field=value, got {quote(part)}")
        if field in settings:
            raise UsageError(f"{what} {quote(spec)} gives {field} twice")
        settings[field] = _unquoted(what, spec, value.strip())
    return name.strip(), settings


def split_spec(text: str, at: str) -> list[str]:
    """Splits a text at the separators outside brackets and quotes.

    Empty parts are left out. A quote begins a value: `plans="a,b"`.
    """
    parts, begin, last = list[str](), 0, ""
    depth, quoted, escaped = 0, False, False
    for place, character in enumerate(text):
        if character == '"' and not escaped:
            quoted = not quoted and last == "="
        escaped = quoted and character == "\\" and not escaped
        depth += 0 if quoted else (character == "(") - (character == ")")
        if character == at and depth == 0 and not quoted:
            parts.append(text[begin:place])
            begin, last = place + 1, ""
        elif not character.isspace():
            last = character
    parts.append(text[begin:])
    return [part.strip() for part in parts if part.strip()]


def _unquoted(what: str, spec: str, value: str) -> str:
    """Returns a value without its quotes.

    Raises `UsageError` if they are not those of JSON.
    """
    if not value.startswith('"'):
        return value
    try:
        return str(json.loads(value))
    except ValueError:
        raise UsageError(f"{what} {quote(spec)}: a value in quotes must be a string of JSON, got {value}") from None


def _origin(point: EntryPoint) -> str:
    return f"the package {point.dist.name}" if point.dist else f"the entry point {point.value}"
