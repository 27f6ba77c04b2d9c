"""`speculative methods`: lists methods and wrappers, and describes one."""

from __future__ import annotations

import inspect
from shlex import quote
from typing import Annotated, Any

from cyclopts import Parameter
from msgspec import to_builtins
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from speculative.cli._advice import Need, describe_advice, show_advice
from speculative.cli._errors import note
from speculative.cli._hardware import DEFAULT_HARDWARE, HardwareFlags, show_forecasts
from speculative.cli._method_flags import parameters
from speculative.cli._output import join_lines, open_console, write_json
from speculative.errors import UnknownNameError, UsageError
from speculative.methods.base import Method
from speculative.methods.registry import find, names, parameter_schema, registered
from speculative.methods.wrapper import Wrapper

FOR = "list the methods that suit a need, the best first, by their traits and the measured table; may be repeated"


def methods(
    name: Annotated[str | None, Parameter(help="a method or wrapper, or FILE.py:CLASS")] = None,
    /,
    *,
    for_: Annotated[tuple[Need, ...], Parameter(name="--for", help=FOR, negative=(), show_default=False)] = (),
    hardware: HardwareFlags = DEFAULT_HARDWARE,
    json: Annotated[bool, Parameter(help="print JSON, with a JSON schema of the parameters", negative=(), show_default=False)] = False,
) -> int:
    """List the methods and wrappers, describe one, or advise on one for a need."""
    if name is not None and for_:
        raise UsageError(f"--for cannot be combined with a method, got {name!r}; leave out one of the two")
    if name is not None:
        kind = _find(name)
        write_json(described(kind)) if json else _describe(open_console(), kind, name)
        return 0
    if hardware.profile and not for_:
        raise UsageError(f"--profile must come with --for, got {hardware.profile!r}; `speculative plan all` forecasts all methods")
    kinds = [registered()[label] for wrappers in (False, True) for label in names(wrappers)]
    if for_:
        _advise(kinds, for_, hardware, json=json)
        return 0
    write_json([described(kind) for kind in kinds]) if json else _list(open_console(), kinds)
    return 0


def _advise(kinds: list[type[Method]], needs: tuple[Need, ...], hardware: HardwareFlags, *, json: bool) -> None:
    """Advises on methods, with forecasts for those whose chains can be drawn."""
    drawn = hardware.draw() if hardware.profile else []
    rows = describe_advice(kinds, needs)
    wanted = {"big_only", *(row["name"] for row in rows)}
    found = [one for one in drawn if one.method.partition(",")[0] in wanted]
    if json:
        named = [(row, [to_builtins(one) for one in found if one.method.partition(",")[0] == row["name"]]) for row in rows]
        write_json([row | ({"on_hardware": forecasts} if forecasts else {}) for row, forecasts in named])
        return
    show_advice(open_console(), kinds, needs)
    if found:
        note(
            f"predicted on the hardware of profile {hardware.profile}, layout {hardware.layout}, for drawn chains of 1,000 tokens with "
            "80 % of steps kept; other methods cannot be drawn: `compare --profile` prices their own chains"
        )
        show_forecasts(found)


def described(kind: type[Method]) -> dict[str, Any]:
    """Returns the description of a method as plain values."""
    return {
        "name": kind.name(),
        "wrapper": issubclass(kind, Wrapper),
        "family": kind.family,
        "summary": kind.summary(),
        "description": inspect.cleandoc(kind.__doc__ or ""),
        "aliases": list(kind.aliases),
        "append_only": kind.append_only,
        "parallel": kind.parallel,
        "training": kind.training,
        "needs": {role: sorted(needs) for role, needs in kind.needs.items()},
        "schema": _schema(kind),
    }


def _schema(kind: type[Method]) -> dict[str, Any]:
    """Returns the JSON schema of the parameters, without the method inside a wrapper."""
    schema = dict(parameter_schema(kind))
    schema["properties"] = {name: field for name, field in schema["properties"].items() if name != "inner"}
    required = [name for name in schema.pop("required", []) if name != "inner"]
    schema.pop("$defs", None)
    return schema | ({"required": required} if required else {})


def _find(name: str) -> type[Method]:
    """Finds the method or wrapper of a name or path."""
    for wrapper in (False, True):
        try:
            return find(name, wrapper=wrapper)
        except UnknownNameError as error:
            if error.kind not in ("method", "wrapper"):
                raise
        except UsageError:
            if wrapper:
                raise
    raise UnknownNameError("method or wrapper", name, names() + names(wrappers=True))


def _list(console: Console, kinds: list[type[Method]]) -> None:
    for wrappers, title in ((False, "methods (--method)"), (True, "wrappers (--with)")):
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        table.add_column(title, no_wrap=True, style="bold", min_width=20)
        table.add_column("description", ratio=1)
        table.add_column("traits")
        for kind in kinds:
            if issubclass(kind, Wrapper) == wrappers:
                table.add_row(kind.name(), kind.summary(), ", ".join(_traits(kind)))
        console.print(table)
    console.print("`speculative methods NAME` shows the parameters of one. append-only: it takes no text back.")


def _describe(console: Console, kind: type[Method], name: str) -> None:
    role = "wrapper (--with)" if issubclass(kind, Wrapper) else "method (--method)"
    console.print(Text.assemble((kind.name(), "bold"), f"  {role}"))
    console.print(Text(f"\n{join_lines(kind)}\n"))
    aliases = [f"also called {', '.join(kind.aliases)}"] if kind.aliases else []
    console.print(Text(" · ".join([*aliases, *_traits(kind)])))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("parameter", "type", "bounds", "default", "description"):
        table.add_column(heading, no_wrap=heading == "parameter")
    for parameter in parameters(kind):
        default = "required" if parameter.required else parameter.default
        table.add_row(parameter.name, parameter.type, parameter.bounds, default, parameter.description)
    console.print(table)
    console.print(Text(f"On the command line: {_example(kind, name if '.py' in name else kind.name())}"))


def _example(kind: type[Method], name: str) -> str:
    """Returns an example of its flags, with a parameter."""
    first = parameters(kind)[0]
    if issubclass(kind, Wrapper):
        return f"--with {quote(f'{name}({first.name}=…)')}"
    return f"--method {quote(name)} {first.flag.partition(',')[0]}{'' if first.type == 'bool' else ' …'}"


def _traits(kind: type[Method]) -> list[str]:
    """Returns the traits of a method."""
    flags = {"append-only": kind.append_only, "parallel": kind.parallel, "needs trained models": kind.training}
    needs = [f"needs {', '.join(sorted(abilities))} of {role}" for role, abilities in kind.needs.items()]
    return [name for name, holds in flags.items() if holds] + needs
