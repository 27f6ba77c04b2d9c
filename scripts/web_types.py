"""Writes the TypeScript types of events, results and the service's lists from the types of the library.

The shapes of events stand there as values, too: the page checks traces with them.

python scripts/web_types.py [FILE]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from msgspec.json import schema_components

from speculative.report.chain_page import ChainPage, PackedChain
from speculative.report.run_report import Contents
from speculative.result import SavedResult
from speculative.serve.method_list import MethodList
from speculative.serve.replies import ChainReport, ErrorReply
from speculative.trace.events import AnyEvent

FILE = Path(__file__).parents[1] / "web" / "src" / "data" / "types.ts"
HEAD = "// Written by `python scripts/web_types.py` from the types of the library; a test holds them together.\n"
SHAPE = """/** The shape of a value in JSON. `event` is an event of any kind; a field that is not in `needs` may be missing. */
export type Shape =
  | "text" | "number" | "whole" | "truth" | "null" | "any" | "event"
  | { name: string } | { one: unknown[] } | { list: Shape } | { row: Shape[] } | { values: Shape } | { either: Shape[] }
  | { fields: Record<string, Shape>; needs: string[] };
"""
ROOTS = (AnyEvent, SavedResult, MethodList, ChainReport, ErrorReply, PackedChain, ChainPage, Contents)


def types() -> str:
    """Returns the module."""
    (events, *_), known = schema_components(ROOTS, ref_template="{name}")
    lines = [HEAD, f"export type AnyEvent = {spell(events)};\n"]
    lines += [declaration(name, known[name]) for name in sorted(known)]
    _, parts = schema_components((AnyEvent,), ref_template="{name}")
    lines += [SHAPE, "export const SHAPES: Record<string, Shape> = {"]
    lines += [f"  {name}: {json.dumps(shape(parts[name]))}," for name in sorted(parts)]
    return "\n".join([*lines, "};", ""])


def shape(schema: dict[str, Any]) -> Any:
    """Returns a JSON schema in the few words that the page's check reads."""
    match schema:
        case {"discriminator": _}:
            return "event"
        case {"$ref": name}:
            return {"name": name}
        case {"anyOf": options}:
            return {"either": [shape(option) for option in options]}
        case {"enum": values}:
            return {"one": values}
        case {"type": "array", "prefixItems": items}:
            return {"row": [shape(item) for item in items]}
        case {"type": "array"}:
            return {"list": shape(schema.get("items") or {})}
        case {"type": "object", "properties": fields}:
            needs: list[str] = schema.get("required", [])
            return {"fields": {name: shape(field) for name, field in fields.items()}, "needs": needs}
        case {"type": "object"}:
            inner = schema.get("additionalProperties")
            return {"values": shape(inner) if isinstance(inner, dict) else "any"}  # pyright: ignore[reportUnknownArgumentType]
        case {"type": kind}:
            return {"integer": "whole", "number": "number", "string": "text", "boolean": "truth", "null": "null"}[kind]
        case _:
            return "any"


def declaration(name: str, schema: dict[str, Any]) -> str:
    if schema.get("type") != "object":
        return f"export type {name} = {spell(schema)};\n"
    return f"export interface {name} {members(schema)}\n"


def members(schema: dict[str, Any]) -> str:
    required = schema.get("required", [])
    fields = [
        f"  {name}{'' if name in required or 'default' in field else '?'}: {spell(field)};" for name, field in schema["properties"].items()
    ]
    return "\n".join(["{", *fields, "}"])


def spell(schema: dict[str, Any]) -> str:
    """Returns the TypeScript spelling of a JSON schema."""
    match schema:
        case {"$ref": name}:
            return name
        case {"anyOf": options}:
            return " | ".join(spell(option) for option in options)
        case {"enum": values}:
            return " | ".join(f'"{value}"' if isinstance(value, str) else str(value).lower() for value in values)
        case {"type": "array", "prefixItems": items}:
            return f"[{', '.join(map(spell, items))}]"
        case {"type": "array"}:
            inner = spell(schema.get("items") or {})
            return f"({inner})[]" if "|" in inner else f"{inner}[]"
        case {"type": "object", "properties": _}:
            return members(schema)
        case {"type": "object"}:
            inner = schema.get("additionalProperties")
            return f"Record<string, {spell(inner) if isinstance(inner, dict) else 'unknown'}>"
        case {"type": kind}:
            return {"integer": "number", "number": "number", "string": "string", "boolean": "boolean", "null": "null"}[kind]
        case _:
            return "unknown"


if __name__ == "__main__":
    Path(sys.argv[1] if len(sys.argv) > 1 else FILE).write_text(types(), encoding="utf-8")
