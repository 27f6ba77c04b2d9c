"""Reads and writes presets: TOML files that name a method with parameters.

`@FILE` stands for the method of a preset wherever a method is named on the command line.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from speculative.errors import UnknownNameError, UsageError, describe_mistake, quote
from speculative.files import expand_home, read_text

MARK = "@"
"""The beginning of a file's name where a method or the value of a parameter is expected."""

HINT = "`speculative tune` writes one"
TABLES = ["params", "tuned"]
LONGEST_PATH = 4096
"""Characters of a path that a system can open, at most."""


class MethodPreset(BaseModel):
    """A method with parameters and wrappers.

    `tuned` says how the parameters were chosen, for a reader.
    """

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    method: str
    params: dict[str, Any] = Field(default_factory=dict[str, Any])
    wrappers: list[str] = Field(default_factory=list[str], alias="with")
    tuned: dict[str, Any] = Field(default_factory=dict[str, Any])


def is_file(spec: str) -> bool:
    """Returns True if a spec is `@FILE`."""
    return spec.startswith(MARK)


def path_of(spec: str) -> Path:
    """Returns the path of `@FILE`."""
    return expand_home(spec.removeprefix(MARK))


def folder_of(spec: str) -> Path:
    """Returns the folder of a preset, in which its parameters name files."""
    return path_of(spec).parent


def read_preset(spec: str) -> MethodPreset:
    """Reads the preset of `@FILE`.

    Raises `UsageError` that names the file, the key and the value.
    """
    path = path_of(spec)
    if not spec.removeprefix(MARK) or len(spec) > LONGEST_PATH:
        raise UsageError(f"a preset must be named, got {quote(spec)}; write @FILE, {HINT}")
    try:
        return MethodPreset.model_validate(tomllib.loads(read_text(path, f"the preset {path}", HINT)))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"the preset {path} must be TOML: {error}; {HINT}") from None
    except ValidationError as error:
        raise UsageError(f"the preset {path}: {'; '.join(map(_describe, error.errors()))} ({HINT})") from None


def format_preset(method: str, params: Mapping[str, Any], tuned: Mapping[str, Any], comments: Sequence[str] = ()) -> str:
    """Returns the text of a preset.

    Parameters and entries without a value are left out.
    """
    head = "".join(f"# {comment}\n" for comment in comments)
    return head + tomli_w.dumps({"method": method, "params": _without_none(params), "tuned": _without_none(tuned)})


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    """Leaves out entries without a value, which TOML cannot hold."""
    given = {name: value for name, value in values.items() if value is not None}
    return {name: _without_none(value) if isinstance(value, Mapping) else value for name, value in given.items()}  # pyright: ignore[reportUnknownArgumentType]


def _describe(error: Any) -> str:
    place, given = error["loc"], error["input"]
    if error["type"] == "extra_forbidden" and isinstance(given, Mapping):
        return str(UnknownNameError("table", place[0], TABLES))
    if error["type"] == "extra_forbidden":
        return f"{place[0]} is not a key of a preset; put a parameter under [params]"
    return describe_mistake(".".join(map(str, error["loc"])) or "the file", [error])
