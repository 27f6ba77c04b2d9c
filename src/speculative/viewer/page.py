"""Builds a page in one file that needs no network.

Model text is not trusted. It stands in blocks of base64, the modules put it into text nodes only, and the content security policy
allows only the page's own script and style, without requests.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator, Mapping
from hashlib import sha256
from importlib.resources import files

IMPORT = re.compile(r'^import (\{[^}]*\}) from "\./(\w+)\.js";$', re.MULTILINE)
EXPORT = re.compile(r"^export (?=(?:async )?(?:function|class|const) (\w+))", re.MULTILINE)

STYLE = "style.css"
POLICY = "default-src 'none'; script-src '{script}'; style-src '{style}'; img-src data:; base-uri 'none'; form-action 'none'"
HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="Speculative Reasoning">
<title>Speculative Reasoning</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
<main id="page">
<p id="wait" role="status">Unpacking …</p>
<noscript><p>This page needs JavaScript, which is switched off.</p></noscript>
</main>
"""
BLOCK = '<script type="text/plain" id="{name}">'
END = '<script type="module">{script}</script>\n</body>\n</html>\n'


def head(module: str) -> bytes:
    """Returns the beginning of a page that `module` draws; blocks follow, then `tail`."""
    script, style = bundle(module), _asset(STYLE)
    policy = POLICY.format(script=_policy_hash(script), style=_policy_hash(style))
    return HEAD.format(policy=policy, style=style).encode()


def block(name: str, packed: bytes) -> bytes:
    """Returns one block of data, as the modules find it."""
    return BLOCK.format(name=name).encode() + packed + b"</script>\n"


def tail(module: str) -> bytes:
    """Returns the end of a page."""
    return END.format(script=bundle(module)).encode()


def page(module: str, blocks: Mapping[str, bytes]) -> bytes:
    """Returns a whole page with a few blocks."""
    return head(module) + b"".join(block(name, packed) for name, packed in blocks.items()) + tail(module)


def bundle(module: str) -> str:
    """Joins a module and its imports into one script."""
    return "\n".join(_modules(module.removesuffix(".js"), set()))


def _modules(name: str, seen: set[str]) -> Iterator[str]:
    if name in seen:
        return
    seen.add(name)
    source = _asset(f"{name}.js")
    for _, needed in IMPORT.findall(source):
        yield from _modules(needed, seen)
    exported = ", ".join(EXPORT.findall(source))
    inner = EXPORT.sub("", IMPORT.sub(r"const \1 = \2Module;", source))
    yield f"const {name}Module = (() => {{\n{inner}\nreturn {{ {exported} }};\n}})();" if exported else inner


def _asset(name: str) -> str:
    return files("speculative").joinpath("viewer", name).read_text(encoding="utf-8")


def _policy_hash(text: str) -> str:
    """Returns the name of an inline script or style in a content security policy."""
    return "sha256-" + binascii.b2a_base64(sha256(text.encode()).digest(), newline=False).decode()
