"""Turns the typed fields of a method into flags and into rows of a table."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from cyclopts import Group, Parameter
from msgspec import Struct
from pydantic.fields import FieldInfo

from speculative.methods.base import Method
from speculative.methods.registry import parameter_schema

BOUNDS = {"minimum": "at least {}", "exclusiveMinimum": "above {}", "maximum": "at most {}", "exclusiveMaximum": "below {}"}


class MethodParameter(Struct, frozen=True):
    """One field of a method, as help texts show it."""

    name: str
    type: str
    bounds: str
    default: str
    description: str
    annotation: Any
    required: bool

    @property
    def flag(self) -> str:
        flag = self.name.replace("_", "-")
        return f"--{flag}, --no-{flag}" if self.type == "bool" else f"--{flag}"

    @property
    def help(self) -> str:
        return f"{self.description} ({self.bounds})" if self.bounds else self.description


def parameters(kind: type[Method]) -> list[MethodParameter]:
    """Returns the parameters of a method: its own, then those of every method."""
    schemas = parameter_schema(kind)["properties"]
    everyone = [name for name in Method.model_fields if name in kind.model_fields]
    own = [name for name in kind.model_fields if name not in everyone and name != "inner"]
    return [_parameter(name, kind.model_fields[name], schemas[name]) for name in own + everyone]


def add_method_flags(command: Callable[..., int], kind: type[Method]) -> Callable[..., int]:
    """Replaces a command's `**params` by the method's parameters.

    The command gets those that the user gave.
    """

    def run(*args: Any, **given: Any) -> int:
        return command(*args, **{name: value for name, value in given.items() if value is not None})

    base = inspect.signature(command, eval_str=True).parameters.values()
    group = Group(f"Parameters of {kind.name()}", sort_key=2)
    flags = [_flag(parameter, group) for parameter in parameters(kind)]
    own = [parameter for parameter in base if parameter.kind is not inspect.Parameter.VAR_KEYWORD]
    run.__signature__ = inspect.Signature([*own, *flags])
    run.__doc__ = command.__doc__
    return run


def boolean_flags(kind: type[Method]) -> list[str]:
    """Returns the flags of the method that take no value."""
    return [flag for parameter in parameters(kind) if parameter.type == "bool" for flag in parameter.flag.split(", ")]


def find_method_flag(tokens: Sequence[str], default: str) -> str:
    """Returns the value of the last `--method` on a command line."""
    found = default
    for place, token in enumerate(tokens):
        if token == "--":
            break
        if token == "--method" and place + 1 < len(tokens):
            found = tokens[place + 1]
        elif token.startswith("--method="):
            found = token.partition("=")[2]
    return found


def _parameter(name: str, field: FieldInfo, schema: dict[str, Any]) -> MethodParameter:
    required = field.is_required()
    default = "" if required or field.default is None else _plain(field.get_default(call_default_factory=True, validated_data={}))
    kinds = [schema, *schema.get("anyOf", ())]
    bounds = ", ".join(words.format(_plain(kind[bound])) for kind in kinds for bound, words in BOUNDS.items() if bound in kind)
    return MethodParameter(name, _type(field.annotation), bounds, default, field.description or "", field.annotation, required)


def _flag(parameter: MethodParameter, group: Group) -> inspect.Parameter:
    shown = parameter.default
    flag = Parameter(
        help=parameter.help,
        group=group,
        show_default=(lambda _: shown) if shown else False,
        metavar=None if "|" in parameter.type else parameter.type.upper(),
    )
    kind = _read_as(parameter.annotation)
    if parameter.required:
        return inspect.Parameter(parameter.name, inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[kind, flag])
    return inspect.Parameter(parameter.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, flag])


def _read_as(annotation: Any) -> Any:
    """Returns the type of a flag: bool, a choice, or str."""
    members = _members(annotation)
    return members[0] if len(members) == 1 and (members[0] is bool or get_origin(members[0]) is Literal) else str


def _members(annotation: Any) -> list[Any]:
    """Returns the members of a union without None."""
    parts = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    return [part for part in parts if part is not NoneType]


def _type(annotation: Any) -> str:
    """Returns the name of a type, or the choices of a Literal."""

    def name_of(part: Any) -> str:
        return " | ".join(map(str, get_args(part))) if get_origin(part) is Literal else getattr(part, "__name__", str(part))

    return " | ".join(map(name_of, _members(annotation)))


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
