"""Prices: the user's small TOML file with what tokens, devices and parameters count for (docs/statistics.md)."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from speculative.errors import UsageError


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)


Currency = Annotated[str, Field(min_length=1, max_length=8)]
Amount = Annotated[float, Field(ge=0)]


class TokenPrices(_Table):
    """What a million tokens of a model cost."""

    prompt: Amount
    cached: Amount
    produced: Amount


class Api(_Table):
    """`[api]`: prices by role, or by the model that has the role, which goes first."""

    currency: Currency
    prices: dict[str, TokenPrices]


class Device(_Table):
    """A device, and what an hour of it costs."""

    hardware: Annotated[str, Field(min_length=1)]
    hour: Amount


class Gpu(_Table):
    """`[gpu]`: the devices, and which of them each role or model occupies. Several may share one."""

    currency: Currency
    devices: dict[str, Device]
    occupies: dict[str, list[str]]

    @model_validator(mode="after")
    def _known(self) -> Gpu:
        for name, devices in self.occupies.items():
            for device in devices:
                if device not in self.devices:
                    raise ValueError(f"occupies.{name}: {device!r} is none of the devices ({', '.join(self.devices) or 'there are none'})")
        return self


class Flops(_Table):
    """`[flops]`: the parameters that take part in computing a token, by role or by model."""

    parameters: dict[str, Annotated[float, Field(gt=0)]]


class Prices(_Table):
    """The price views of a file. One that the file leaves out is not computed."""

    api: Api | None = None
    gpu: Gpu | None = None
    flops: Flops | None = None

    @classmethod
    def load(cls, path: Path) -> Prices:
        """Reads a file. Raises `UsageError` with the file, the key and the value."""
        try:
            return cls.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
        except OSError as error:
            raise UsageError(f"prices {path}: {error.strerror}; name a TOML file, docs/statistics.md shows one") from None
        except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise UsageError(f"prices {path} is no TOML: {error}") from None
        except ValidationError as error:
            raise UsageError(f"prices {path}: {'; '.join(map(_told, error.errors()))}") from None

    def lacking(self, roles: Mapping[str, str]) -> list[str]:
        """What no view can be computed for want of, as `api.prices.judge`. `roles`: which model has each."""
        tables: list[tuple[str, Iterable[str]]] = []
        tables += [("api.prices", self.api.prices)] if self.api else []
        tables += [("gpu.occupies", self.gpu.occupies)] if self.gpu else []
        tables += [("flops.parameters", self.flops.parameters)] if self.flops else []
        return [f"{name}.{role}" for name, table in tables for role, model in roles.items() if role not in table and model not in table]


@cache
def default_prices() -> Prices:
    """Those of the bundled pair, by model: they price nothing else."""
    return Prices.model_validate(tomllib.loads(files("speculative").joinpath("bundled", "prices.toml").read_text(encoding="utf-8")))


def _told(detail: ErrorDetails) -> str:
    """Which key, which value, which bound."""
    key = ".".join(map(str, detail["loc"]))
    reason = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "value_error":
        return f"{key}.{reason}" if key else reason
    if detail["type"] == "missing":
        return f"{key} is missing"
    if detail["type"] == "extra_forbidden":
        return f"{key} is no key that is known here"
    return f"{key}: {detail['input']!r} is not valid: {reason[:1].lower()}{reason[1:]}"
