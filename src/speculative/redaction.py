"""Reads secrets, and redacts them from text that is shown or stored."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from speculative.errors import UsageError

HIDDEN = "…"
ENDS = ("_KEY", "_TOKEN")
"""Endings of the names of secrets in the environment."""
MIN_SECRET = 8
"""Characters of a secret at least: a shorter one could be a word."""

_NAME = r"[\w-]*(?:key|token|password|secret)"
_SECRET_NAME = re.compile(_NAME, re.IGNORECASE)
_SETTING = re.compile(rf"(?<![\w-])({_NAME}=|--{_NAME}\s+)(?:'[^']*'|\"[^\"]*\"|[^\s,]+)", re.IGNORECASE)
_LOGIN = re.compile(r"(?<=//)[^/?#\s]*@")
_PART = r"[^\s,'\"`;:()]"
_BEARER = rf"(?<=Bearer )(?!KEY(?!{_PART})){_PART}+|(?<=bearer )(?![A-Za-z]{{1,19}}(?!{_PART})){_PART}+"
"""The key of an `Authorization` header. Spared are the placeholder KEY, and a short word of letters after a small `bearer`."""
_IN_LOG = re.compile(rf"(?<=://)[^/\s@]+@|{_BEARER}")
_ADDRESS = re.compile(r" at \w+://\S+(?: \(and \d+ more\))?")


def read_secret(name: str) -> str | None:
    """Reads a secret (`HF_TOKEN`) from the environment or `.env`, or raises an error."""
    return os.environ.get(name) or _env_file().get(name) or None


def without_login(text: str, replacement: str = "") -> str:
    """Removes the user and password from addresses."""
    return _LOGIN.sub(replacement, text)


def without_address(text: str) -> str:
    """Removes the address of a server that follows the name of an engine."""
    return _ADDRESS.sub("", text)


def redact(text: str) -> str:
    """Redacts keys in options (`--big-args "--api-key …"`), and logins in addresses."""
    return without_login(_SETTING.sub(rf"\1{HIDDEN}", text), f"{HIDDEN}@")


def redact_command(argv: Sequence[str]) -> str:
    """Returns a command line as a shell takes it, without secrets."""
    shown: list[str] = []
    hide = False
    for token in argv:
        name, equals, _ = token.partition("=")
        if hide:
            token, hide = HIDDEN, False
        elif _SECRET_NAME.fullmatch(name):
            token, hide = (f"{name}={HIDDEN}", False) if equals else (token, name.startswith("--"))
        shown.append(redact(token))
    program = Path(shown[0]) if shown else None
    if program and program.name == "__main__.py":  # of `python -m PACKAGE`
        return shlex.join(["python", "-m", program.parent.name, *shown[1:]])
    return shlex.join([*([program.name] if program else []), *shown[1:]])


class Redactor:
    """Redacts known secrets, logins and bearer keys, for the log and for clients."""

    def __init__(self, keys: Iterable[str] = ()) -> None:
        """Knows `keys` and the secrets of the environment. Raises `UsageError`."""
        named = (*_env_file().items(), *os.environ.items())
        known = {*keys, *(value for name, value in named if value and name.endswith(ENDS))}
        self._secrets = sorted((key for key in known if len(key) >= MIN_SECRET), key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """Redacts a text."""
        for key in self._secrets:
            text = text.replace(key, "***")
        return _IN_LOG.sub("***", text)


def _env_file() -> dict[str, str | None]:
    from dotenv import dotenv_values

    try:
        return dotenv_values(".env")
    except (OSError, ValueError) as error:
        raise UsageError(f".env cannot be read: {error}") from None
