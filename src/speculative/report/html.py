"""A page that needs nothing from anywhere else: the modules of `web/` in one file, with the data that they show.

Model text is hostile. It is in blocks of base64 only, the modules put it into text nodes only, and the page's own policy lets
nothing run but the script that was written here, and nothing be fetched at all.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator, Mapping
from hashlib import sha256
from importlib.resources import files

IMPORT = re.compile(r'^import (\{[^}]*\}) from "\./(\w+)\.js";$', re.MULTILINE)
EXPORT = re.compile(r"^export (?=(?:async )?(?:function|class|const) (\w+))", re.MULTILINE)

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
<noscript><p>This page is drawn by JavaScript, which is switched off.</p></noscript>
</main>
"""
BLOCK = '<script type="text/plain" id="{name}">'
END = '<script type="module">{script}</script>\n</body>\n</html>\n'


def head(module: str) -> bytes:
    """How the page begins that `module` draws. Blocks follow, then `tail`."""
    script, style = bundled(module), _asset("look.css")
    policy = POLICY.format(script=_hash(script), style=_hash(style))
    return HEAD.format(policy=policy, style=style).encode()


def block(name: str, packed: bytes) -> bytes:
    """One block of data, as the modules find it."""
    return BLOCK.format(name=name).encode() + packed + b"</script>\n"


def tail(module: str) -> bytes:
    """How the page ends."""
    return END.format(script=bundled(module)).encode()


def page(module: str, blocks: Mapping[str, bytes]) -> bytes:
    """A whole page with a few blocks."""
    return head(module) + b"".join(block(name, packed) for name, packed in blocks.items()) + tail(module)


def bundled(module: str) -> str:
    """A module and all that it imports as one script: those that are imported first, each in a scope of its own."""
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
    return files("speculative").joinpath("web", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """How a content security policy names an inline script or style."""
    return "sha256-" + binascii.b2a_base64(sha256(text.encode()).digest(), newline=False).decode()
