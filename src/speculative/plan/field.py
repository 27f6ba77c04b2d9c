"""Reads the file of a field: pairs, limits, tasks and methods of one large table."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from speculative.errors import MissingExtraError, UsageError, describe_mistake
from speculative.files import read_text
from speculative.plan.forecast import Scenario, forecast, needed_roles
from speculative.plan.layout import find_layout
from speculative.plan.profile import Profile
from speculative.plan.programs import PROGRAMS, Drawn

LIKE: dict[str, str] = dict.fromkeys(("entropy_switch", "stitch", "confidence_route", "trigger", "takeover"), "random_switch")
"""The drawn method whose calls are nearest to those of a method that cannot be drawn."""
NEAREST = "step_verify"
CUT_TASKS = [{"task": "stories", "limit": 2}]
CUT_TOKENS = 300


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FieldPair(_Strict):
    """A pair of models, with a name for its folder."""

    name: str = Field(pattern=r"^[\w.+-]+$")
    big: str
    small: str


class FieldTask(_Strict):
    """A task, and its number of problems for the forecast."""

    task: str
    problems: int = Field(ge=1)
    data: str | None = None
    limit: int | None = Field(default=None, ge=1)


class FieldFile(_Strict):
    """A field: every pair with every limit and every kind of token speculation.

    `tokens`: the tokens of a chain that are expected under each limit, for the forecast. `chains`: chains at once under each limit.
    """

    pairs: list[FieldPair] = Field(min_length=1)
    limits: list[int] = Field(min_length=1)
    tokens: dict[int, int]
    speculation: dict[str, str] = {"none": ""}
    tasks: list[FieldTask] = Field(min_length=1)
    methods: list[str | dict[str, Any]] = Field(min_length=1)
    epochs: int = Field(1, ge=1)
    chains: dict[int, int]
    temperature: float = 0.6
    top_p: float = 0.95
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
        return {**self._common(limit), "tasks": CUT_TASKS, "epochs": 1, "max_tokens": min(limit, CUT_TOKENS), "temperature": 0.0}

    def _common(self, limit: int) -> dict[str, Any]:
        return {
            "methods": self.methods,
            "chains": self.chains[limit],
            "temperature": self.temperature,
            "top_p": self.top_p,
            "controls": False,
        }

    def chains_of_method(self) -> int:
        """Returns the chains of one method in one cell."""
        return self.epochs * sum(min(task.problems, task.limit or task.problems) for task in self.tasks)

    def method_names(self) -> list[str]:
        """Returns the name of the method of each entry, with repetition for swept values."""
        names: list[str] = []
        for entry in self.methods:
            if isinstance(entry, str):
                names.append(entry.partition("(")[0])
            else:
                swept = [cast("list[Any]", value) for value in entry.values() if isinstance(value, list)]
                names += [str(entry.get("method"))] * prod(len(values) for values in swept)
        return names

    def hours(self, profile: Profile) -> dict[str, float]:
        """Returns the forecast of GPU hours by cell. Token speculation is not modelled."""
        found: dict[str, float] = {}
        by_limit: dict[int, float] = {}
        for limit in self.limits:
            drawn = Drawn(length=self.tokens[limit])
            own = {drawn_as(name) for name in self.method_names()}
            cost = {name: self._seconds(profile, name, drawn, self.chains[limit]) for name in own}
            by_limit[limit] = sum(cost[drawn_as(name)] for name in self.method_names()) * self.chains_of_method() / 3600
        for pair in self.pairs:
            for limit in self.limits:
                found |= {f"{pair.name}/{limit}-{name}": by_limit[limit] for name in self.speculation}
        return found

    def _seconds(self, profile: Profile, method: str, drawn: Drawn, chains: int) -> float:
        """Returns the GPU seconds of a chain of a method."""
        scenario = Scenario(method, self.layout, chains, drawn)
        needed_roles(scenario)
        return forecast(profile, scenario).gpu_s


def drawn_as(method: str) -> str:
    """Returns the drawn method that stands for a method in a forecast."""
    return method if method in PROGRAMS else LIKE.get(method, NEAREST)


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
    for key, known in (("tokens", field.tokens), ("chains", field.chains)):
        if missing := [limit for limit in field.limits if known.get(limit, 0) < 1]:
            raise UsageError(f"the field {path}: {key} must have a number above 0 for the limit {missing[0]}")
    return field
