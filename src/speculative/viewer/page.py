"""Builds a page in one file that needs no network.

Its scripts are built from `web/` at the top of the repository. Model text is not trusted. It stands in blocks of base64, the scripts
put it into text nodes only, and the content security policy allows only the page's own scripts and style, without requests.
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from importlib.resources import files

STYLE = "style.css"
POLICY = "default-src 'none'; script-src {scripts}; style-src '{style}'; img-src data:; base-uri 'none'; form-action 'none'"
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
SCRIPT = '<script type="module">{script}</script>\n'


def head(script: str, *more: str) -> bytes:
    """Returns the beginning of a page that a script draws.

    Blocks follow, and then `tail` with the same scripts.
    """
    style = _asset(STYLE)
    policy = POLICY.format(scripts=" ".join(f"'{_policy_hash(_asset(name))}'" for name in (script, *more)), style=_policy_hash(style))
    return HEAD.format(policy=policy, style=style).encode()


def block(name: str, packed: bytes) -> bytes:
    """Returns one block of data, as the scripts find it."""
    return BLOCK.format(name=name).encode() + packed + b"</script>\n"


def tail(script: str, *more: str) -> bytes:
    """Returns the end of a page. The scripts in `more` run first."""
    scripts = "".join(SCRIPT.format(script=_asset(name)) for name in (*more, script))
    return f"{scripts}</body>\n</html>\n".encode()


def page(script: str, blocks: Mapping[str, bytes], *more: str) -> bytes:
    """Returns a whole page with a few blocks."""
    return head(script, *more) + b"".join(block(name, packed) for name, packed in blocks.items()) + tail(script, *more)


@cache
def _asset(name: str) -> str:
    return files("speculative").joinpath("viewer", name).read_text(encoding="utf-8")


def _policy_hash(text: str) -> str:
    """Returns the name of an inline script or style in a content security policy."""
    return "sha256-" + binascii.b2a_base64(sha256(text.encode()).digest(), newline=False).decode()
