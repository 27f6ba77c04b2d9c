"""Reads the file of a field: pairs, limits, tasks and methods of one large table."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Annotated, Any

from msgspec import Struct, structs
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from speculative._plugins import parse_spec, split_spec
from speculative.errors import MissingExtraError, UsageError, describe_mistake
from speculative.files import read_text
from speculative.plan.forecast import Scenario, check_scenario, forecast
from speculative.plan.layout import find_layout
from speculative.plan.profile import Profile
from speculative.plan.programs import PROGRAMS, Drawn

LIKE: dict[str, str] = dict.fromkeys(("entropy_switch", "stitch", "confidence_route", "trigger", "takeover"), "random_switch")
"""The drawn method whose calls are nearest to those of a method that cannot be drawn."""
NEAREST = "step_verify"
CUT_PROBLEMS = 2
"""Problems of each cell of a cut field; those by which a method is tuned are twice as many."""
CUT_TOKENS = 300
CUT_CANDIDATES = 2
MOST_CHAINS = 4096
"""Chains at once in one cell, at most."""
FOLDER = r"^\w[\w.+-]*$"
"""A name that is a folder's name, too."""
DRAWN_FIELDS = ("big_share", "samples")
"""Parameters of methods that drawn chains have too."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FieldPair(_Strict):
    """A pair of models, with a name for its folder."""

    name: str = Field(pattern=FOLDER)
    big: str = Field(min_length=1)
    small: str = Field(min_length=1)


class FieldTask(_Strict):
    """A task, and its number of problems for the forecast."""

    task: str
    problems: int = Field(ge=1)
    data: str | None = None
    limit: int | None = Field(default=None, ge=1)


class FieldTuning(_Strict):
    """Methods that are tuned for each pair first, on other problems.

    `problems`: tuning and held-out ones together. `candidates`: the settings that run on all tuning problems, at most.
    """

    methods: list[str] = Field(min_length=1)
    task: str
    problems: int = Field(ge=2)
    data: str | None = None
    candidates: int = Field(24, ge=1)
    target: str = "accuracy within 1 point of big_only"

    def chains(self) -> int:
        """Returns the chains of one method, at most.

        First big alone and all candidates run, then the choice beside big alone.
        """
        held_out = self.problems // 2
        return (self.candidates + 1) * (self.problems - held_out) + 2 * held_out


class FieldFile(_Strict):
    """A field: every pair with every limit and every kind of token speculation.

    `tokens`: the tokens of a chain that are expected under each limit, for the forecast. `chains`: chains at once under each limit.
    """

    pairs: list[FieldPair] = Field(min_length=1)
    limits: list[Annotated[int, Field(ge=1)]] = Field(min_length=1)
    tokens: dict[int, int]
    speculation: dict[Annotated[str, Field(pattern=FOLDER)], str] = Field({"none": ""}, min_length=1)
    tasks: list[FieldTask] = Field(min_length=1)
    methods: list[str | dict[str, Any]] = Field(min_length=1)
    tuned: FieldTuning | None = None
    epochs: int = Field(1, ge=1)
    chains: dict[int, Annotated[int, Field(ge=1, le=MOST_CHAINS)]]
    temperature: float = Field(0.6, ge=0, le=2)
    top_p: float = Field(0.95, gt=0, le=1)
    profile: str = "h200-32b-1.5b"
    layout: str = "c"

    def cells(self, *, cut: bool = False) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yields the name and the grid of each pair, limit and kind of speculation.

        `cut`: the grids take two problems of the bundled pair, and the same methods.
        """
        for pair in self.pairs:
            for limit in self.limits:
                for name, flags in self.speculation.items():
                    yield f"{pair.name}/{limit}-{name}", self._cut(limit) if cut else self._grid(pair, limit, flags)

    def beside(self, folder: Path) -> FieldFile:
        """Returns the field with whole paths of its data.

        In the file they are relative to its own folder.
        """
        tasks = [task.model_copy(update={"data": str((folder / task.data).absolute())}) if task.data else task for task in self.tasks]
        tuned = self.tuned
        if tuned and tuned.data:
            tuned = tuned.model_copy(update={"data": str((folder / tuned.data).absolute())})
        return self.model_copy(update={"tasks": tasks, "tuned": tuned})

    def data_files(self) -> Iterator[tuple[str, str]]:
        """Yields the key and the path of each file of data."""
        yield from ((f"tasks.{place}.data", task.data) for place, task in enumerate(self.tasks) if task.data)
        if self.tuned and self.tuned.data:
            yield "tuned.data", self.tuned.data

    def has_wrappers(self) -> bool:
        """Returns True if a method has a wrapper, whose chains no forecast counts."""
        return any("*" in entry if isinstance(entry, str) else "with" in entry for entry in self.methods)

    def _grid(self, pair: FieldPair, limit: int, flags: str) -> dict[str, Any]:
        tasks = [task.model_dump(exclude={"problems"}, exclude_none=True) for task in self.tasks]
        more = {"big_args": flags.replace("{small}", pair.small)} if flags else {}
        return {
            **self._common(limit),
            "tasks": tasks,
            "epochs": self.epochs,
            "max_tokens": limit,
            "big": pair.big,
            "small": pair.small,
            **more,
        }

    def _cut(self, limit: int) -> dict[str, Any]:
        tasks = [{"task": "tunnel", "limit": CUT_PROBLEMS}]
        return {**self._common(limit), "tasks": tasks, "epochs": 1, "max_tokens": min(limit, CUT_TOKENS), "temperature": 0.0}

    def _common(self, limit: int) -> dict[str, Any]:
        return {
            "methods": self.methods,
            "chains": self.chains[limit],
            "temperature": self.temperature,
            "top_p": self.top_p,
            "controls": False,
        }

    def tunings(self, *, cut: bool = False) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Yields the name of a pair, a method, and the flags of `speculative tune`.

        A pair is tuned under the first limit, without token speculation, and its settings hold for all of its cells.
        """
        limit = self.limits[0]
        for pair in self.pairs if self.tuned else ():
            assert self.tuned
            flags = {"chains": self.chains[limit], "temperature": self.temperature, "top_p": self.top_p, "target": self.tuned.target}
            if cut:
                flags |= {"limit": 2 * CUT_PROBLEMS, "candidates": CUT_CANDIDATES, "max_tokens": min(limit, CUT_TOKENS)}
            else:
                flags |= {"task": self.tuned.task, "limit": self.tuned.problems, "candidates": self.tuned.candidates, "max_tokens": limit}
                flags |= {"data": self.tuned.data} if self.tuned.data else {}
                flags |= {"big": pair.big, "small": pair.small}
            for method in self.tuned.methods:
                yield pair.name, method, flags

    def chains_of_method(self) -> int:
        """Returns the chains of one method in one cell."""
        return self.epochs * sum(min(task.problems, task.limit or task.problems) for task in self.tasks)

    def method_calls(self) -> list[tuple[str, dict[str, Any]]]:
        """Returns the method of each entry with its parameters, one for each swept value."""
        found: list[tuple[str, dict[str, Any]]] = []
        for entry in self.methods:
            if isinstance(entry, str):
                found.append(parse_spec("method", split_spec(entry, "*")[-1]))
                continue
            values = [value if isinstance(value, list) else [value] for value in entry.values()]  # pyright: ignore[reportUnknownVariableType]
            swept = [dict(zip(entry, chosen, strict=True)) for chosen in product(*values)]  # pyright: ignore[reportUnknownArgumentType]
            found += [(str(one.pop("method", None)), one) for one in swept]
        return found

    def forecast(self, profile: Profile) -> list[FieldCost]:
        """Returns the forecast of each part, without token speculation."""
        seconds: dict[tuple[str, Drawn, int], float] = {}

        def price(name: str, params: dict[str, Any], limit: int) -> float:
            found = {field: number for field in DRAWN_FIELDS if (number := _number(params.get(field))) is not None}
            drawn = structs.replace(Drawn(length=self.tokens[limit]), **found)
            key = drawn_as(name, params), drawn, self.chains[limit]
            if key not in seconds:
                seconds[key] = self._seconds(profile, *key)
            return seconds[key] / 3600

        tuned = [parse_spec("method", spec) for spec in self.tuned.methods] if self.tuned else []
        calls, count = [*self.method_calls(), *tuned], self.chains_of_method()
        by_limit = {limit: count * sum(price(*call, limit) for call in calls) for limit in self.limits}
        found: list[FieldCost] = []
        for pair in self.pairs:
            if self.tuned:
                chains = self.tuned.chains()
                hours = chains * sum(price(*call, self.limits[0]) for call in tuned)
                found.append(FieldCost(f"{pair.name}/tuned, at most", chains * len(tuned), hours))
            names = [(f"{pair.name}/{limit}-{name}", limit) for limit in self.limits for name in self.speculation]
            found += [FieldCost(name, count * len(calls), by_limit[limit]) for name, limit in names]
        return found

    def _seconds(self, profile: Profile, method: str, drawn: Drawn, chains: int) -> float:
        """Returns the GPU seconds of a chain of a method."""
        return forecast(profile, check_scenario(Scenario(method, self.layout, chains, drawn))).gpu_s


class FieldCost(Struct, frozen=True):
    """The forecast of one part of a field."""

    name: str
    chains: int
    hours: float


def drawn_as(method: str, params: Mapping[str, Any] | None = None) -> str:
    """Returns the drawn method that stands for a method in a forecast."""
    if (params or {}).get("pipeline") == "accept" and (ahead := f"{method},pipeline=accept") in PROGRAMS:
        return ahead
    return method if method in PROGRAMS else LIKE.get(method, NEAREST)


def _number(value: Any) -> float | None:
    """Returns a number that a drawn chain can have.

    Others are errors of the method, which names them.
    """
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    if isinstance(value, bool) or not 0 < number < 1e6:
        return None
    return int(number) if number.is_integer() else number


def read_field(path: Path) -> FieldFile:
    """Reads the file of a field.

    Raises:
        UsageError: The file is not one; the error names the key.
    """
    try:
        import yaml
    except ImportError:
        raise MissingExtraError(f"the field {path}", "PyYAML", "eval") from None
    text = read_text(path, f"the field {path}", "name a YAML file, see examples/field.yaml")
    try:
        field = FieldFile.model_validate(yaml.safe_load(text))
    except (yaml.YAMLError, RecursionError) as error:
        raise UsageError(f"the field {path} must be YAML: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise UsageError(f"the field {path}: {describe_mistake(place, [first])} (see examples/field.yaml)") from None
    find_layout(field.layout)
    tuned = [method.partition("(")[0] for method in field.tuned.methods] if field.tuned else []
    named: dict[str, list[Any]] = {"pairs": [pair.name for pair in field.pairs], "limits": field.limits, "tuned.methods": tuned}
    for key, names in named.items():
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise UsageError(f"the field {path}: {key} must be unique, got {twice} twice; their cells would share a folder")
    if field.tuned and field.tuned.task in {task.task for task in field.tasks}:
        raise UsageError(f"the field {path}: tuned.task must be none of the table's tasks, got {field.tuned.task!r}; name other problems")
    for key, known in (("tokens", field.tokens), ("chains", field.chains)):
        if missing := [limit for limit in field.limits if known.get(limit, 0) < 1]:
            raise UsageError(f"the field {path}: {key} must have a number above 0 for the limit {missing[0]}")
    field = field.beside(path.parent)
    for place, name in field.data_files():
        if not Path(name).is_file():
            raise UsageError(f"the field {path}: {place} must be a file, got {name}; name one beside the field")
    for name, flags in field.speculation.items():
        try:
            shlex.split(flags)
        except ValueError as error:
            raise UsageError(f"the field {path}: speculation.{name} must be flags, got {flags!r}: {str(error).lower()}") from None
    return field
