"""The page at `/docs`: the service's schema as HTML that loads nothing."""

from __future__ import annotations

import re
from html import escape
from typing import Any, cast

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1b1b1b; background: #fff }
table { border-collapse: collapse; width: 100% } td, th { text-align: left; vertical-align: top; padding: .25rem .75rem .25rem 0;
border-bottom: 1px solid #ddd } code { font-family: ui-monospace, monospace } h2 { margin-top: 2.5rem }
@media (prefers-color-scheme: dark) { body { color: #e8e8e8; background: #161616 } td, th { border-color: #444 } a { color: #8ab4f8 } }
"""


def docs_page(schema: dict[str, Any]) -> str:
    """Writes the page of an OpenAPI schema."""
    models: dict[str, Any] = schema.get("components", {}).get("schemas", {})
    parts: list[str] = []
    for path, verbs in schema["paths"].items():
        for verb, operation in verbs.items():
            parts.append(f"<h2><code>{verb.upper()} {escape(path)}</code></h2>")
            parts.append(f"<p>{_text(operation.get('description') or operation.get('summary') or '')}</p>")
            parts += _fields(operation.get("requestBody", {}), models)
            parts.append(_table("Replies", [(code, reply.get("description", "")) for code, reply in operation["responses"].items()]))
    info = schema["info"]
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(info["title"])}</title><style>{STYLE}</style></head>'
        f"<body><h1>{escape(info['title'])} {escape(info['version'])}</h1><p>{_text(info.get('description', ''))}</p>"
        f'<p>The same for programs: <a href="openapi.json">openapi.json</a></p>{"".join(parts)}</body></html>'
    )


def _fields(body: dict[str, Any], models: dict[str, Any]) -> list[str]:
    schema = body.get("content", {}).get("application/json", {}).get("schema", {})
    model = models.get(schema.get("$ref", "").rpartition("/")[2])
    if not model:
        return []
    rows = [(name, f"{_type(field)}. {field.get('description', '')}") for name, field in model["properties"].items()]
    return [_table("Fields", rows)]


def _type(field: dict[str, Any]) -> str:
    """Names a field's type."""
    if kinds := cast("list[dict[str, Any]] | None", field.get("anyOf")):
        return " or ".join(dict.fromkeys(_type(kind) for kind in kinds if kind.get("type") != "null"))
    if values := field.get("enum"):
        return ", ".join(map(str, values))
    if "const" in field:
        return str(field["const"]).lower()
    if field.get("type") == "array":
        return f"list of {_type(field.get('items', {}))}"
    return str(field.get("type") or field.get("$ref", "value").rpartition("/")[2])


def _text(text: str) -> str:
    """Returns a text as HTML, with code for what stands in backticks."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", escape(text))


def _table(title: str, rows: list[tuple[str, str]]) -> str:
    cells = "".join(f"<tr><td><code>{escape(name)}</code></td><td>{_text(about)}</td></tr>" for name, about in rows)
    return f"<table><tr><th>{title}</th><th></th></tr>{cells}</table>"
