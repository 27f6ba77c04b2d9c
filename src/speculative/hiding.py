"""Secrets are left out of what is kept and shown."""

from __future__ import annotations

import re

_SECRET = r"[\w-]*(?:key|token|password|secret)"
SECRET = re.compile(_SECRET, re.IGNORECASE)
"""What a secret is called."""

HIDDEN = "…"

_WITHIN = re.compile(rf"(?<![\w-])({_SECRET}=|--{_SECRET}\s+)(?:'[^']*'|\"[^\"]*\"|[^\s,]+)", re.IGNORECASE)
_LOGIN = re.compile(r"(?<=//)[^/?#\s]*@")


def bare(text: str, instead: str = "") -> str:
    """Addresses without the user and password that they may hold, as they are told and kept."""
    return _LOGIN.sub(instead, text)


def hidden(text: str) -> str:
    """A value without the keys that it may hold (`--big-args "--api-key …"`), and without the logins in addresses."""
    return bare(_WITHIN.sub(rf"\1{HIDDEN}", text), f"{HIDDEN}@")
