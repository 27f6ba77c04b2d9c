"""Finds methods by name, entry point or path, and builds them from parameters."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from speculative._plugins import classes_in, installed_classes, is_path, load_class, parse_spec
from speculative.errors import UnknownNameError, UsageError, describe_mistake, quote
from speculative.files import read_text
from speculative.methods.base import Method
from speculative.methods.preset import MARK, folder_of, is_file, read_preset
from speculative.methods.wrapper import Wrapper

GROUP = "speculative.methods"
DEFAULT_METHOD = "random_switch"
"""The method where none is named: of `solve`, the commands, the service and its page. It runs with every engine."""
ROOMS = ("base", "checked_steps", "registry", "wrapper")


@cache
def registered() -> dict[str, type[Method]]:
    """Returns every registered method by name, built in and from entry points.

    Methods at paths are not among them.
    """
    found: dict[str, type[Method]] = {}
    for module in iter_modules([str(Path(__file__).parent)]):
        if module.name not in ROOMS:
            found |= {method.name(): method for method in classes_in(import_module(f"speculative.methods.{module.name}"), Method)}
    for loaded, origin in installed_classes(GROUP, Method, "method"):
        if found.setdefault(loaded.name(), loaded) is not loaded:
            raise UsageError(f"the method {loaded.name()!r} of {origin} has the name of another one; rename it or remove the package")
    return found


def names(wrappers: bool = False) -> list[str]:
    """Returns the names of the registered methods, or of the wrappers."""
    return sorted(name for name, method in registered().items() if issubclass(method, Wrapper) == wrappers)


@cache
def parameter_schema(kind: type[Method]) -> Mapping[str, Any]:
    """Returns the JSON schema of a method's parameters.

    Pydantic needs milliseconds for each, and a service describes every method.
    """
    return kind.model_json_schema()


def find(name: str, *, paths: bool = True, wrapper: bool = False) -> type[Method]:
    """Returns the method (or wrapper) of a name or alias, or at a path.

    Raises `UnknownNameError` and `UsageError`.

    `paths`: whether `FILE.py:CLASS` is accepted, and `@FILE` for the method of a preset. A path is code, so a name from a request
    must be looked up without paths.
    """
    if paths and is_file(name) and not wrapper:
        return find(read_preset(name).method, paths=False)
    if paths and is_path(name):
        found = load_class(name, Method, "method")
        if issubclass(found, Wrapper) != wrapper:
            raise UsageError(f"{name} is {'no' if wrapper else 'a'} wrapper; wrappers are named with --with, and nothing else is")
        return found
    if paths and re.search(r"[/\\]|\.[A-Za-z]\w*$", name):
        raise UsageError(f"{'wrapper' if wrapper else 'method'}: a method's file must end in .py, got {quote(name)}; write FILE.py:CLASS")
    for method in registered().values():
        if name.replace("-", "_") in (method.name(), *method.aliases) and issubclass(method, Wrapper) == wrapper:
            return method
    if name in names(not wrapper):
        if wrapper:
            raise UsageError(f"a wrapper must not be a method, got {quote(name)}; name it as the method")
        raise UsageError(f"the method must not be a wrapper, got {quote(name)}; name a method, and the wrapper under `with`")
    raise UnknownNameError("wrapper" if wrapper else "method", name, names(wrapper))


MOST_WRAPPERS = 32
"""Wrappers around one method, at most."""


def build(name: str | Method, params: Mapping[str, Any] | None = None, wrappers: Iterable[str] = (), *, paths: bool = True) -> Method:
    """Builds a method with validated parameters, inside the wrappers.

    The first wrapper is the innermost.
    A wrapper is spelled `name` or `name(field=value,…)`. `params` and `wrappers` are added to those of a preset, `@FILE`.
    Raises `UnknownNameError` and `UsageError`.
    """
    if isinstance(name, Method) and params:
        raise UsageError(f"{', '.join(params)} cannot be given beside a Method; set it in the Method")
    folder = Path() if paths else None
    if isinstance(name, Method):
        method = name
    elif paths and is_file(name):
        preset, folder = read_preset(name), folder_of(name)
        method = build(_construct(find(preset.method, paths=False), {**preset.params, **(params or {})}, folder), wrappers=preset.wrappers)
    else:
        method = _construct(find(name, paths=paths), params or {}, folder)
    for number, spec in enumerate(wrappers, 1):
        if number > MOST_WRAPPERS:
            raise UsageError(f"a method must have at most {MOST_WRAPPERS} wrappers; leave some out")
        label, settings = parse_spec("wrapper", spec)
        kind = find(label, paths=paths, wrapper=True)
        if "inner" in settings:
            raise UsageError(
                f"wrapper {quote(spec)}: `inner` cannot be set, since it is the method that the wrapper is put around; leave it out"
            )
        method = _construct(kind, {"answer_by": method.answer_by, **settings, "inner": method})
    return method


def restored(name: str, params: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Returns a kept method's name and parameters as this version writes them.

    An older version wrote `vote(random_switch)`, null for a `switch_ratio` that was left to the method, and fewer parameters
    of wrappers: a new one has a default that changes nothing.
    """
    parts = name.replace("(", "*").rstrip(")").split("*")
    around = {part: params.get(part) for part in parts[:-1]}
    own = {field: value for field, value in params.items() if field not in around}
    try:
        method = _construct(find(parts[-1], paths=False), own)
        for label in reversed(parts[:-1]):
            method = _construct(find(label, paths=False, wrapper=True), {**(around[label] or {}), "inner": method})
    except UsageError:
        return "*".join(parts), dict(params)
    now = method.params
    filled: dict[str, Any] = {label: {**now[label], **(around[label] or {})} for label in around}
    return method.full_name, {field: now.get(field) if value is None else value for field, value in params.items()} | filled


def fill_from_files(name: str, params: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Returns the parameters of a registered method, filled from files.

    Raises `UsageError`.
    """
    return _filled(find(name, paths=False), params, folder)


def _filled(kind: type[Method], params: Mapping[str, Any], folder: Path | None) -> dict[str, Any]:
    """Reads the files that parameters name as `@FILE`.

    Without a folder they must not name one.
    """
    values = dict(params)
    for field, value in params.items():
        if field in kind.from_files and isinstance(value, str) and value.startswith(MARK):
            if folder is None:
                raise UsageError(f"{kind.name()}: {field} cannot name a file here, got {value!r}; give its content")
            file = value.removeprefix(MARK)
            values[field] = read_text(folder / file, f"{kind.name()}: {field}: {file}").strip()
    return values


def _construct(kind: type[Method], params: Mapping[str, Any], folder: Path | None = None) -> Method:
    known = [field for field in kind.model_fields if field != "inner"]
    for field in params:
        if field not in kind.model_fields:
            raise UnknownNameError(f"parameter of {kind.name()}", field, known)
    values = _filled(kind, params, folder)
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        details = error.errors()
        mistake = UsageError("; ".join(_explain(kind, detail) for detail in details))
        mistake.field = ".".join(map(str, details[0]["loc"])) or None
        raise mistake from None


def _explain(kind: type[Method], detail: ErrorDetails) -> str:
    """Describes the field, its value and the bound that it breaks."""
    field = ".".join(map(str, detail["loc"]))
    return f"{kind.name()}: " + (describe_mistake(field, [detail]) if field else detail["msg"].removeprefix("Value error, "))
