"""Engine specs and options. Flags, settings and grid keys derive from them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from copy import copy
from itertools import accumulate
from typing import Any, Literal, get_args

from msgspec import Struct
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from speculative._plugins import split_spec
from speculative.errors import UsageError, quote, usage_error_from
from speculative.files import is_folder
from speculative.problem import Role
from speculative.redaction import read_secret, redact

ROLES: tuple[Role, ...] = get_args(Role)
BUNDLED = {"big": "bundled:big", "small": "bundled:small"}
ASKING, REWARD = "bundled:asking", "bundled:reward"
"""The small model that was trained to ask for big, and the reward model."""
SHIPPED = (*BUNDLED.values(), ASKING, REWARD)
"""The specs of all models that ship with the library."""

Spec = str | Sequence[str]
"""A spec of `SHIPPED`, the address of a server, the addresses of several that run the same model, a model's hub name or folder,
for which vLLM is started, a GGUF file, for which llama.cpp's server is started, or a tower: `METHOD(SMALL,BIG,…)`."""

EngineKind = Literal["bundled", "server", "model", "tower"]

FIELD = re.compile(r"[A-Za-z][\w-]*")
HUB_NAME = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}")
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
    if len(specs) == 1 and is_tower(specs[0]):
        return "tower"
    if len(specs) == 1 and is_model_name(specs[0]):
        return "model"
    if len(specs) == 1 and "(" in specs[0] and not ADDRESS.match(specs[0]):
        tower_parts(specs[0])  # an open bracket: its error names the tower
    if several := [one for one in specs if not ADDRESS.match(one)] if len(specs) > 1 else []:
        raise UsageError(f"the replicas of an engine must be addresses of servers, got {several[0]!r}; name it once")
    known = (
        f"{', '.join(SHIPPED)}, http://HOST:PORT/v1, a model's hub name or folder (with vLLM), a GGUF file (with llama.cpp), "
        "or METHOD(SMALL,BIG)"
    )
    raise UsageError(f"unknown engine {quote(', '.join(specs))}; use {known}")


def is_model_name(spec: str) -> bool:
    """Returns whether a spec names a model that a server has to be started for."""
    from speculative.engines.llamacpp.models import names_gguf

    return names_gguf(spec) or bool(HUB_NAME.fullmatch(spec)) or ("/" in spec and "://" not in spec and is_folder(spec))


def is_tower(spec: str) -> bool:
    """Returns whether a spec has the form of a tower."""
    return "(" in spec and spec.strip().endswith(")") and not ADDRESS.match(spec) and not is_folder(spec)


class TowerParts(Struct, frozen=True):
    """The parts of a tower's spec.

    `method` is the method with its wrappers but without parameters, `engines` the specs of its engines by role, and `fields` all else.
    """

    method: str
    engines: dict[str, Spec]
    fields: dict[str, str]


DEEPEST = 16
"""Brackets of a tower's spec that are open at once, at most."""


def tower_parts(spec: str) -> TowerParts:
    """Splits the spec of a tower.

    An example is `random_switch(bundled:small,bundled:big,big_share=0.3)`.

    The small model's engine comes first. `small=`, `big=` and `judge=` name a role. Spaces separate the replicas of an engine.

    Raises:
        UsageError: An engine is missing, or the spec is not one of a tower.
    """
    form = "write it as METHOD(SMALL,BIG,field=value,…)"
    if not _is_balanced(spec):
        raise UsageError(
            f"tower {quote(spec)} must close each of its brackets, got {spec.count('(')} of ( and {spec.count(')')} of ); {form}"
        )
    if (depth := _depth(spec)) > DEEPEST:
        raise UsageError(f"a tower must have at most {DEEPEST} brackets in each other, got {depth}; make it flatter")
    *wrappers, inner = split_spec(spec.strip(), "*") or [""]
    name, bracket, inside = inner.partition("(")
    if not bracket or not inside.endswith(")"):
        raise UsageError(f"tower {quote(spec)} must end with its bracket; {form}")
    if not name.strip():
        raise UsageError(f"tower {quote(spec)} must begin with the name of a method; {form}")
    engines, fields = dict[str, Spec](), dict[str, str]()
    for part in split_spec(inside[:-1], ","):
        field, equals, value = part.partition("=")
        named = bool(equals) and FIELD.fullmatch(field.strip()) is not None
        role = field.strip() if named else next((role for role in ("small", "big") if role not in engines), "")
        if not role:
            raise UsageError(f"tower {quote(spec)} must have two engines, got {quote(part)} as another; name a judge as judge={part}")
        target: dict[str, Any] = engines if role in ROLES else fields
        role = role.replace("-", "_")
        if role in target:
            raise UsageError(f"tower {quote(spec)} gives {role} twice")
        target[role] = _replicas(value if named else part) if role in ROLES else value.strip()
    if missing := [role for role in ("small", "big") if role not in engines]:
        raise UsageError(f"tower {quote(spec)} must have an engine for {' and '.join(missing)}; {form}")
    return TowerParts("*".join([*wrappers, name.strip()]), engines, fields)


def _depth(text: str) -> int:
    """Returns the largest number of brackets that are open at once."""
    return max(accumulate((character == "(") - (character == ")") for character in text))


def _is_balanced(text: str) -> bool:
    """Returns whether each bracket of a text has its partner."""
    depth = 0
    for character in text:
        depth += (character == "(") - (character == ")")
        if depth < 0:
            return False
    return depth == 0


def _replicas(text: str) -> Spec:
    """Returns the one spec of a text, or several addresses between spaces."""
    text = text.strip()
    return tuple(text.split()) if ADDRESS.match(text) and len(text.split()) > 1 else text


def single_models(specs: Mapping[str, Spec]) -> dict[str, str]:
    """Returns the spec of every single model by role, in a tower as `small/big`."""
    found: dict[str, str] = {}
    for role, spec in specs.items():
        name = spec if isinstance(spec, str) else " ".join(spec)
        if is_tower(name):
            found |= {f"{role}/{inner}": model for inner, model in single_models(tower_parts(name).engines).items()}
        elif name:
            found[role] = name
    return found


def describe_engines(specs: Mapping[str, Spec], options: Mapping[str, EngineOptions]) -> dict[str, str]:
    """Describes the engines for a run's records, without secrets."""
    told = {role: spec if isinstance(spec, str) else " ".join(spec) for role, spec in specs.items() if spec}
    told |= single_models(specs)
    more = {f"{role}_{name}": getattr(options[role], name) for role in told if role in options for name in WRITING}
    return {name: redact(str(value)) for name, value in (told | more).items() if value}


def with_api_key(role: str, options: EngineOptions) -> EngineOptions:
    """Returns the options with a key: the given one, or that of the environment."""
    key = options.key or read_secret(f"SPECULATIVE_{role.upper()}_KEY") or read_secret("SPECULATIVE_KEY")
    return options.model_copy(update={"key": key})
