"""Reads a grid: tasks, methods with parameters, and seeds in one YAML file.

Every combination is a cell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, cast, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from speculative.errors import MissingExtraError, SpeculativeError, UnknownNameError, UsageError, describe_mistake
from speculative.evaluate.tasks import Task, task
from speculative.files import read_text
from speculative.methods.spec import MethodSpec, format_method, parse_method

ENDINGS = (".yaml", ".yml")

PLAIN = str | int | float | bool


class TaskEntry(BaseModel):
    """A task with its own data file and number of problems."""

    model_config = ConfigDict(extra="forbid", strict=True)

    task: str
    data: Path | None = Field(default=None, strict=False)
    limit: int | None = Field(default=None, ge=1)


class Grid(BaseModel):
    """A grid file.

    A list as the value of a method's parameter stands for each of its items.

    The other keys are flags of `speculative eval`, spelled with `_`. Flags on the command line override them.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    tasks: list[str | TaskEntry] = Field(min_length=1)
    methods: list[str | dict[str, PLAIN | list[PLAIN]]] = Field(min_length=1)
    seeds: list[int] = Field(default_factory=lambda: [0], min_length=1)
    limit: int | None = Field(default=None, ge=1)

    def settings(self) -> dict[str, Any]:
        """Returns the settings of the file by the name of their flag's field."""
        return {name: value for name, value in self if name not in Grid.model_fields and value is not None}

    def cells(self, folder: Path) -> list[tuple[Task, Path | None, int | None, MethodSpec, int]]:
        """Returns every combination of task, method and seed."""
        _check_unique("seeds", self.seeds)
        return [(*chosen, rival, seed) for chosen in self.chosen(folder) for rival in self.specs() for seed in self.seeds]

    def chosen(self, folder: Path) -> list[tuple[Task, Path | None, int | None]]:
        """Returns the tasks, each with its data and its limit. Raises `UnknownNameError`."""
        entries = [TaskEntry(task=entry) if isinstance(entry, str) else entry for entry in self.tasks]
        found = [(task(entry.task), folder / entry.data if entry.data else None, entry.limit or self.limit) for entry in entries]
        _check_unique("tasks", [chosen.name for chosen, _, _ in found])  # samples of equal tasks would be mixed
        return found

    def specs(self) -> list[MethodSpec]:
        """Returns the methods, one for each value of a list. Raises `UsageError`."""
        specs = [spec for entry in self.methods for spec in ([entry] if isinstance(entry, str) else _swept(entry))]
        made = [parse_method(spec) for spec in specs]
        _check_unique("methods", [one.label for one in made])  # a preset may be the same method as another entry
        return made


def read(path: Path, settings: Mapping[str, Any]) -> Grid:
    """Reads a grid file. `settings` are the names and types of its further keys.

    Raises:
        UsageError: The file is not a grid; the error names the key and the value.
    """
    try:
        import yaml
    except ImportError:
        raise MissingExtraError(f"the grid {path}", "PyYAML", "eval") from None
    try:
        text = read_text(path, f"the grid {path}", "name a YAML file, see examples/seed.yaml")
        values, top = yaml.safe_load(text), cast("Any", yaml).compose(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise UsageError(f"the grid {path} must be YAML: {error}; see examples/seed.yaml") from None
    if not isinstance(values, dict):
        raise UsageError(f"the grid {path} must have the keys `tasks` and `methods`; see examples/seed.yaml")
    keys: list[str] = [key.value for key, _ in top.value]  # the loader would keep the last of equal keys
    if twice := next((key for key in keys if keys.count(key) > 1), None):
        raise UsageError(f"the grid {path}: the key {twice!r} must be unique; join the two")
    model = _with_settings(settings)
    known = list(model.model_fields)
    for key in values:  # pyright: ignore[reportUnknownVariableType]
        if key not in known:
            raise UsageError(f"the grid {path}: {UnknownNameError('key', str(key), known)}")  # pyright: ignore[reportUnknownArgumentType]
    return _validate(model, cast("dict[str, Any]", values), f"the grid {path}", path.parent, "examples/seed.yaml")


def check_cells(values: Mapping[str, Any], settings: Mapping[str, Any], where: str, folder: Path, example: str) -> None:
    """Checks the tasks, methods and settings of a grid that another file describes.

    Raises `UsageError` with `where` in front.
    """
    _validate(_with_settings(settings), values, where, folder, example)


def _validate(model: type[Grid], values: Mapping[str, Any], where: str, folder: Path, example: str) -> Grid:
    """Makes a grid of its values, and all of its cells."""
    try:
        grid = model.model_validate(values)
        grid.cells(folder)
    except ValidationError as error:
        raise UsageError(f"{where}: {_describe(error)} (see {example})") from None
    except SpeculativeError as error:
        raise UsageError(f"{where}: {error}") from None
    return grid


def _with_settings(settings: Mapping[str, Any]) -> type[Grid]:
    """Returns the schema of a grid file with these settings.

    A repeatable flag takes one value or a list.
    """
    fields: dict[str, Any] = {}
    for name, kind in settings.items():
        one = get_args(kind)[0] if get_origin(kind) is tuple else None
        fields[name] = ((one | list[one] | None) if one else (str | None) if kind in (Path, Path | None) else (kind | None), None)
    return create_model("GridWithSettings", __base__=Grid, **fields)


def _check_unique(key: str, values: Sequence[Any]) -> None:
    """Raises `UsageError` for equal values, whose samples would be counted twice."""
    if twice := [value for value in values if values.count(value) > 1]:
        raise UsageError(f"{key} must be unique, got {twice[0]!r} twice")


def _swept(entry: dict[str, Any]) -> list[str]:
    """Returns a method spec for each combination of the values of an entry."""
    values = dict(entry)
    name = values.pop("method", None)
    if not isinstance(name, str):
        raise UsageError(f"methods: an entry must name its method, got {entry}; write `method: NAME` in it")
    wrappers = values.pop("with", [])
    around = [wrappers] if isinstance(wrappers, str) else list(wrappers)
    choices: list[list[tuple[str, Any]]] = [
        [(field, one) for one in (value if isinstance(value, list) else [value])]  # pyright: ignore[reportUnknownVariableType]
        for field, value in values.items()
    ]
    if empty := next((field for field, value in values.items() if value == []), None):
        raise UsageError(f"methods: {empty} of {name} must have a value, got []; leave it out for the default")
    return [format_method(name, dict(chosen), around) for chosen in product(*choices)]


def _describe(error: ValidationError) -> str:
    """Names the key, the value and the reason of the most deeply nested error."""
    first = max(error.errors(), key=lambda detail: len(detail["loc"]))
    names = {"TaskEntry", "str", "int", "float", "bool"}
    place = ".".join(str(part) for part in first["loc"] if not (str(part) in names or str(part).startswith(("dict[", "list["))))
    return describe_mistake(place or "its content", [first])
