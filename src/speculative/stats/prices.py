"""Reads prices of tokens, devices and parameters from a TOML file."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from speculative.errors import UsageError, describe_mistake
from speculative.files import read_text


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)


Currency = Annotated[str, Field(min_length=1, max_length=8)]
Amount = Annotated[float, Field(ge=0)]


class TokenPrices(_Table):
    """The price of a million tokens of a model."""

    prompt: Amount
    cached: Amount
    produced: Amount


class Api(_Table):
    """The table `[api]`: prices by model or by role.

    A model's price goes before a role's.
    """

    currency: Currency
    prices: dict[str, TokenPrices]


class Device(_Table):
    """A device and the price of an hour."""

    hardware: Annotated[str, Field(min_length=1)]
    hour: Amount


class Gpu(_Table):
    """The table `[gpu]`: the devices, and those that each model or role occupies.

    Several may share one.
    """

    currency: Currency
    devices: dict[str, Device]
    occupies: dict[str, list[str]]

    @model_validator(mode="after")
    def _check_devices(self) -> Gpu:
        for name, devices in self.occupies.items():
            for device in devices:
                if device not in self.devices:
                    known = ", ".join(self.devices) or "missing, add [gpu.devices]"
                    raise ValueError(f"occupies.{name}: unknown device {device!r}; the devices are {known}")
        return self


class Flops(_Table):
    """The table `[flops]`: the parameters that a token uses, by model or by role."""

    parameters: dict[str, Annotated[float, Field(gt=0)]]


class Prices(_Table):
    """The price views of a file; a missing view is not computed."""

    api: Api | None = None
    gpu: Gpu | None = None
    flops: Flops | None = None

    @classmethod
    def load(cls, path: Path) -> Prices:
        """Reads a file. Raises `UsageError` that names the file, the key and the value."""
        try:
            text = read_text(path, f"prices {path}", "name a TOML file, docs/statistics.md shows one")
            return cls.model_validate(tomllib.loads(text))
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            raise UsageError(f"prices {path} must be TOML: {error}") from None
        except ValidationError as error:
            raise UsageError(f"prices {path}: {'; '.join(map(_describe, error.errors()))}") from None

    def lacking(self, roles: Mapping[str, str]) -> list[str]:
        """Returns the missing entries of roles, as `api.prices.judge`."""
        tables: list[tuple[str, Iterable[str]]] = []
        tables += [("api.prices", self.api.prices)] if self.api else []
        tables += [("gpu.occupies", self.gpu.occupies)] if self.gpu else []
        tables += [("flops.parameters", self.flops.parameters)] if self.flops else []
        return [f"{name}.{role}" for name, table in tables for role, model in roles.items() if role not in table and model not in table]


@cache
def default_prices() -> Prices:
    """Returns the prices of the bundled pair.

    They name its models, so they price no others.
    """
    return Prices.model_validate(tomllib.loads(files("speculative").joinpath("bundled", "prices.toml").read_text(encoding="utf-8")))


def _describe(detail: ErrorDetails) -> str:
    """Names the key, the value and the bound of an error."""
    key = ".".join(map(str, detail["loc"]))
    reason = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "value_error":
        return f"{key}.{reason}" if key else reason
    if detail["type"] == "missing":
        return f"{key} is missing"
    if detail["type"] == "extra_forbidden":
        return f"{key} is an unknown key"
    return describe_mistake(key, [detail])
