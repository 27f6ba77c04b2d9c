"""Engine specs and options. Flags, settings and grid keys derive from them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from speculative.errors import UsageError, usage_error_from
from speculative.problem import Role
from speculative.redaction import read_secret, redact

ROLES: tuple[Role, ...] = get_args(Role)
BUNDLED = {"big": "bundled:big", "small": "bundled:small"}
SHIPPED = (*BUNDLED.values(), "bundled:tunnel-big", "bundled:tunnel-small")
"""The specs of all models that ship with the library."""

Spec = str | Sequence[str]
"""A spec of `SHIPPED`, the address of a server, the addresses of several that run the same model, a model's hub
name or folder, for which vLLM is started, or a GGUF file, for which llama.cpp's server is started."""

EngineKind = Literal["bundled", "server", "model"]

HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
ADDRESS = re.compile(r"\s*https?://", re.IGNORECASE)

SHARED = ("vllm", "keep")
"""Options that hold for all roles: a flag for each of the others carries the role's name (`--big-model`)."""

WRITING = ("model", "tokenizer", "dialect", "context", "args")
"""The options that decide what an engine writes. The others say where it runs."""


class EngineOptions(BaseModel):
    """Options of an engine besides its spec.

    The descriptions are the help of the flags.

    `key`: if it is missing, `SPECULATIVE_BIG_KEY` (and its like for the other roles) or `SPECULATIVE_KEY` of the environment or
    `.env` is used.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)

    model: str | None = Field(default=None, description="which model, if a server has several")
    key: str | None = Field(default=None, repr=False, description="the server's key; better in the environment (SPECULATIVE_{ROLE}_KEY)")
    tokenizer: str | None = Field(
        default=None, description="folder, tokenizer.json, GGUF file or hub name, where the server does not say a usable one"
    )
    dialect: str | None = Field(default=None, description="the model's family, where it cannot be told from its tokens")
    context: int | None = Field(
        default=None, ge=1, description="positions of the model, where the server does not say how long its context is"
    )
    gpus: str | None = Field(default=None, description="numbers of the GPUs for the server that is started, as 0 or 0,1")
    port: int = Field(
        default=0, ge=0, le=65535, description="its port; a server that answers there, or is being loaded, is used (0: a free one)"
    )
    args: str = Field(default="", description="more flags for the server that is started, in one string")
    vllm: str | None = Field(default=None, description="the Python that has vLLM, to start servers with")
    keep: bool = Field(
        default=False,
        description="leave the servers that were started here running: the next command uses them, and `speculative down` ends them",
    )

    @classmethod
    def of(cls, role: str, values: Mapping[str, Any]) -> EngineOptions:
        """Picks the options of one role out of flat values such as `big_model`.

        Values of None count as not given. `terminate_on_exit` is how users say the opposite of `keep`.

        Raises:
            UsageError: A value is out of range; the error names it as it was given.
        """
        names = {name: name if name in SHARED else f"{role}_{name}" for name in cls.model_fields}
        given = {name: values[flat] for name, flat in names.items() if values.get(flat) is not None}
        if values.get("terminate_on_exit") is not None:
            given["keep"] = not values["terminate_on_exit"]
        try:
            return cls(**given)
        except ValidationError as error:
            raise usage_error_from(error, names) from None

    def over(self, base: EngineOptions) -> EngineOptions:
        """Returns these options, with those of `base` where nothing was given here."""
        defaults = EngineOptions()
        return base.model_copy(update={name: value for name, value in self if value != getattr(defaults, name)})


def flat_fields(*, roles: Sequence[str] = ROLES, without: Sequence[str] = ()) -> dict[str, tuple[Any, FieldInfo]]:
    """Returns the type and the field of every option by its flat name.

    It is what `pydantic.create_model` takes, and what flags are made of.
    """
    fields = {name: field for name, field in EngineOptions.model_fields.items() if name not in without}
    by_role = {f"{role}_{name}": _of_role(field, role) for role in roles for name, field in fields.items() if name not in SHARED}
    shared = {name: field for name, field in fields.items() if name in SHARED}
    return {name: (field.annotation, field) for name, field in (by_role | shared).items()}


def _of_role(field: FieldInfo, role: str) -> FieldInfo:
    """Returns the field with the role's name in its description."""
    own = copy(field)
    own.description = (field.description or "").replace("{ROLE}", role.upper())
    return own


def engine_kind(specs: Sequence[str]) -> EngineKind:
    """Tells what fills a role. Raises `UsageError` for a spec that names no engine."""
    if len(specs) == 1 and specs[0] in SHIPPED:
        return "bundled"
    if specs and all(ADDRESS.match(one) for one in specs):
        return "server"
    if len(specs) == 1 and is_model_name(specs[0]):
        return "model"
    known = f"{', '.join(SHIPPED)}, http://HOST:PORT/v1, a model's hub name or folder (with vLLM), or a GGUF file (with llama.cpp)"
    raise UsageError(f"unknown engine {', '.join(specs)!r}; use {known}")


def is_model_name(spec: str) -> bool:
    """Returns whether a spec names a model that a server has to be started for."""
    from speculative.engines.llamacpp.models import names_gguf

    return names_gguf(spec) or bool(HUB_NAME.fullmatch(spec)) or ("/" in spec and "://" not in spec and expand(spec).is_dir())


def expand(path: str) -> Path:
    """Returns a path with `~` replaced by the user's home."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 (pathlib's raises where there is no such user)


def describe_engines(specs: Mapping[str, Spec], options: Mapping[str, EngineOptions]) -> dict[str, str]:
    """Describes the engines for a run's records, without secrets."""
    told = {role: spec if isinstance(spec, str) else " ".join(spec) for role, spec in specs.items() if spec}
    more = {f"{role}_{name}": getattr(options[role], name) for role in told if role in options for name in WRITING}
    return {name: redact(str(value)) for name, value in (told | more).items() if value}


def with_api_key(role: str, options: EngineOptions) -> EngineOptions:
    """Returns the options with a key: the given one, or that of the environment."""
    key = options.key or read_secret(f"SPECULATIVE_{role.upper()}_KEY") or read_secret("SPECULATIVE_KEY")
    return options.model_copy(update={"key": key})
