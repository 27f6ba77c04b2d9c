"""A grid: tasks, methods with parameters, and seeds in one YAML file; every combination is a cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, cast, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from speculative.errors import MissingExtraError, SpeculativeError, UnknownNameError, UsageError
from speculative.evaluate.tasks import Task, task
from speculative.files import read_text
from speculative.methods.spec import Contender, contender, spell

ENDINGS = (".yaml", ".yml")

PLAIN = str | int | float | bool


class TaskEntry(BaseModel):
    """A task with what is its own: `data` is a JSON-lines file beside the grid, `limit` so many problems."""

    model_config = ConfigDict(extra="forbid", strict=True)

    task: str
    data: Path | None = Field(default=None, strict=False)
    limit: int | None = Field(default=None, ge=1)


class Grid(BaseModel):
    """A grid file. A list where a method's parameter has one value stands for each of them in turn.

    Its other keys are settings: flags of `speculative eval`, spelled with `_`. On the command line they win.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    tasks: list[str | TaskEntry] = Field(min_length=1)
    methods: list[str | dict[str, PLAIN | list[PLAIN]]] = Field(min_length=1)
    seeds: list[int] = Field(default_factory=lambda: [0], min_length=1)
    limit: int | None = Field(default=None, ge=1)

    def settings(self) -> dict[str, Any]:
        """Returns the settings that the file has, by the name of their flag's field."""
        return {name: value for name, value in self if name not in Grid.model_fields and value is not None}

    def cells(self, folder: Path) -> list[tuple[Task, Path | None, int | None, Contender, int]]:
        """Every combination: task (with its data and its limit), method, seed; in this order."""
        _once("seeds", self.seeds)
        return [(*chosen, rival, seed) for chosen in self.chosen(folder) for rival in self.contenders() for seed in self.seeds]

    def chosen(self, folder: Path) -> list[tuple[Task, Path | None, int | None]]:
        """The tasks, each with its data and its limit, or the grid's. Raises `UnknownNameError`."""
        entries = [TaskEntry(task=entry) if isinstance(entry, str) else entry for entry in self.tasks]
        found = [(task(entry.task), folder / entry.data if entry.data else None, entry.limit or self.limit) for entry in entries]
        _once("tasks", [chosen.name for chosen, _, _ in found])  # whose samples would be counted together
        return found

    def contenders(self) -> list[Contender]:
        """The methods, lists of parameters swept. Raises `UsageError`."""
        specs = [spec for entry in self.methods for spec in ([entry] if isinstance(entry, str) else _swept(entry))]
        _once("methods", specs)
        return [contender(spec) for spec in specs]


def read(path: Path, settings: Mapping[str, Any]) -> Grid:
    """Returns the grid of a file. `settings` are the keys that it may have beside those of a grid, with their types.

    Raises `UsageError` that names the file, the key and the value.
    """
    try:
        import yaml
    except ImportError:
        raise MissingExtraError(f"the grid {path}", "PyYAML", "eval") from None
    try:
        text = read_text(path, f"the grid {path}", "name a YAML file, see examples/seed.yaml")
        values, top = yaml.safe_load(text), cast("Any", yaml).compose(text)
    except yaml.YAMLError as error:
        raise UsageError(f"the grid {path} is no YAML: {error}; see examples/seed.yaml") from None
    if not isinstance(values, dict):
        raise UsageError(f"the grid {path} has no keys; it needs `tasks` and `methods`, see examples/seed.yaml")
    keys: list[str] = [key.value for key, _ in top.value]  # which the loader would take the last of
    if twice := next((key for key in keys if keys.count(key) > 1), None):
        raise UsageError(f"the grid {path}: the key {twice!r} comes twice; join them")
    model = _with_settings(settings)
    known = list(model.model_fields)
    for key in values:  # pyright: ignore[reportUnknownVariableType]
        if key not in known:
            raise UsageError(f"the grid {path}: {UnknownNameError('key', str(key), known)}")  # pyright: ignore[reportUnknownArgumentType]
    try:
        grid = model.model_validate(values)
        grid.cells(path.parent)
    except ValidationError as error:
        raise UsageError(f"the grid {path}: {_told(error)}; see examples/seed.yaml") from None
    except SpeculativeError as error:
        raise UsageError(f"the grid {path}: {error}") from None
    return grid


def _with_settings(settings: Mapping[str, Any]) -> type[Grid]:
    """Returns the model of a grid file with these settings. A flag that may be repeated takes a list, or one value."""
    fields: dict[str, Any] = {}
    for name, kind in settings.items():
        one = get_args(kind)[0] if get_origin(kind) is tuple else None
        fields[name] = ((one | list[one] | None) if one else (str | None) if kind in (Path, Path | None) else (kind | None), None)
    return create_model("GridWithSettings", __base__=Grid, **fields)


def _once(key: str, values: Sequence[Any]) -> None:
    """Raises `UsageError` for what comes twice: its samples would be counted twice."""
    if twice := [value for value in values if values.count(value) > 1]:
        raise UsageError(f"{key}: {twice[0]!r} comes twice")


def _swept(entry: dict[str, Any]) -> list[str]:
    """`random_switch(switch_ratio=4)` for each combination of the values of an entry."""
    values = dict(entry)
    name = values.pop("method", None)
    if not isinstance(name, str):
        raise UsageError(f"methods: {entry} names no method; write `method: NAME` in it")
    wrappers = values.pop("with", [])
    around = [wrappers] if isinstance(wrappers, str) else list(wrappers)
    choices: list[list[tuple[str, Any]]] = [
        [(field, one) for one in (value if isinstance(value, list) else [value])]  # pyright: ignore[reportUnknownVariableType]
        for field, value in values.items()
    ]
    return [spell(name, dict(chosen), around) for chosen in product(*choices)]


def _told(error: ValidationError) -> str:
    """What is wrong, of several readings the one that came furthest: which key, which value, and why."""
    first = max(error.errors(), key=lambda detail: len(detail["loc"]))
    names = {"TaskEntry", "str", "int", "float", "bool"}
    place = ".".join(str(part) for part in first["loc"] if not (str(part) in names or str(part).startswith(("dict[", "list["))))
    reason = str(first["msg"])
    value = "" if first["type"] == "missing" else f"{str(first['input'])[:80]!r} is not valid: "
    return f"{place}: {value}{reason[:1].lower()}{reason[1:]}"
