"""Opens the tower that a spec names."""

from __future__ import annotations

from msgspec import Struct

from speculative.engines.options import ROLES, EngineOptions, Spec, flat_fields, tower_parts
from speculative.errors import UsageError, quote
from speculative.methods.base import Method
from speculative.methods.registry import build, names
from speculative.problem import Degrade

PASSED_ON = ("key", "vllm", "keep")
"""Options of a tower's role that hold for the engines of its pair, too."""

DEGRADE: dict[str, Degrade] = {"fail": "fail", "big": "big", "small": "small"}


class TowerPlan(Struct, frozen=True):
    """The method of a tower, and the specs and options of its engines."""

    method: Method
    engines: dict[str, Spec]
    options: dict[str, EngineOptions]
    degrade: Degrade


def tower_plan(spec: str, options: EngineOptions) -> TowerPlan:
    """Reads the spec of a tower: `METHOD(SMALL,BIG)`, with fields behind the engines.

    A field is a parameter of the method (`big_share=0.3`), an option of one of the engines (`big_model=NAME`), or `degrade`.

    Raises:
        UsageError: A part is missing or has a wrong value, or an option belongs to one engine and not to the tower.
    """
    parts = tower_parts(spec)
    flat = flat_fields(roles=ROLES)
    own = {name: value for name, value in parts.fields.items() if name in flat}
    degrade = parts.fields.get("degrade", "fail")
    if degrade not in DEGRADE:
        raise UsageError(f"tower {quote(spec)}: degrade must be one of {', '.join(DEGRADE)}, got {quote(degrade)}")
    params = {name: value for name, value in parts.fields.items() if name not in own and name != "degrade"}
    defaults = EngineOptions()
    for name, value in options:
        if value != getattr(defaults, name) and name not in PASSED_ON:
            raise UsageError(f"{name} must be given for an engine of the tower, got it for the whole; write big_{name}={value} in its spec")
    shared = EngineOptions(**{name: getattr(options, name) for name in PASSED_ON})
    *wrappers, name = parts.method.split("*")
    if name.replace("-", "_") in names(wrappers=True):
        single = build("random_switch", {}, [name]).chains_at_once == 1
        advice = f"write it as {name}*METHOD(SMALL,BIG,field=value,…)" if single else "name a method that writes one chain"
        raise UsageError(f"tower {quote(spec)} must run a method, got the wrapper {name}; {advice}")
    method = build(name, params, wrappers[::-1])
    return TowerPlan(method, parts.engines, {role: EngineOptions.of(role, own).over(shared) for role in ROLES}, DEGRADE[degrade])
