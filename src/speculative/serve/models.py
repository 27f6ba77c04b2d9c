"""The models that the service offers: one for each method that the pair can serve, and one for each preset."""

from __future__ import annotations

from typing import Any

from speculative.errors import UnknownNameError, UnsupportedMethodError
from speculative.methods.base import Method, append_only, name_of, params_of
from speculative.methods.registry import names
from speculative.serve.door import Door
from speculative.serve.errors import Refusal
from speculative.serve.request import OWNER, bare, preset


def listed(door: Door) -> list[dict[str, Any]]:
    """As `GET /v1/models` tells them."""
    return [told for name in (*names(), *door.settings.presets) if (told := _told(door, name))]


def one(door: Door, model: str) -> dict[str, Any]:
    """As `GET /v1/models/ID` tells it. Raises `UnknownNameError`."""
    name = model.removeprefix(f"{OWNER}/")
    told = _told(door, door.settings.method if name == OWNER else name, model)
    if told is None:
        raise UnknownNameError("model", model, [model["id"] for model in listed(door)])
    return told


def _told(door: Door, name: str, shown: str | None = None) -> dict[str, Any] | None:
    method = preset(door.settings, name, shown).build()
    if not _served(door, method):
        return None
    kind = type(bare(method))
    return {
        "id": f"{OWNER}/{name}",
        "object": "model",
        "created": door.began,
        "owned_by": OWNER,
        "speculative": {
            "method": name_of(method),
            "params": params_of(method),
            "about": kind.summary(),
            "append_only": append_only(method),
            "schema": kind.model_json_schema(),
        },
    }


def _served(door: Door, method: Method) -> bool:
    """Whether the pair can do what the method needs; while it loads, nobody knows."""
    try:
        door.pair.check(method)
    except UnsupportedMethodError:
        return False
    except Refusal:
        return True
    return True
