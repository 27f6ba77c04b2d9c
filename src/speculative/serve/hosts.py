"""By which names the service may be called, and from which pages."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from speculative.errors import UsageError
from speculative.serve.errors import Refusal
from speculative.serve.security import loopback
from speculative.settings import Settings

HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^\s\[\]:/@]+?)\.?)(?::\d*)?", re.ASCII)
"""Address in brackets or name, perhaps with a port; in small letters."""
ORIGIN = re.compile(r"\*|null|[a-z][a-z0-9+.-]*://[^\s/?#@,]+")
"""Where a browser says that a page is from; in small letters."""
SHOWN = 80


class Hosts:
    """The `Host` headers that are taken: this machine's own names where no key is needed, and those that were allowed.

    Without a key, who can reach the port may call; on loopback a browser can, for any page whose name has been made to
    mean this machine (DNS rebinding). Such a page's requests still carry its own name.
    """

    def __init__(self, settings: Settings) -> None:
        """Raises `UsageError` for what is no name."""
        self._allowed = frozenset(map(_name_of, settings.allowed_host)) | {settings.host}
        checked = settings.allowed_host or (loopback(settings.host) and not settings.keys())
        self._any = not checked or "*" in self._allowed
        self._taken = lru_cache(256)(self._own)  # clients have one name for it each

    def check(self, headers: Sequence[bytes]) -> None:
        """Raises `Refusal`: 400 for several names, whatever they are, 403 for a foreign one. No header is no browser's."""
        if len(headers) > 1:
            raise Refusal(400, "host: the request names its host more than once; send one Host header", code="several_hosts")
        header = headers[0] if headers else b""
        if self._any or not header or self._taken(header):
            return
        value = header.decode("latin-1")[:SHOWN]
        raise Refusal(
            403,
            f"host: {value!r} is no name that the service is called by; use 127.0.0.1, "
            f"or start it with --allowed-host {_name(value) or 'NAME'} if that name is yours",
            code="host_not_allowed",
        )

    def _own(self, header: bytes) -> bool:
        name = _name(header.decode("latin-1"))
        return bool(name) and (loopback(name) or name.endswith(".localhost") or name in self._allowed)


def origins(settings: Settings) -> list[str]:
    """The origins whose pages may call, as browsers send them. Raises `UsageError` for what no browser would."""
    for given in settings.cors_origin:
        if not ORIGIN.fullmatch(given.lower()):
            raise UsageError(
                f"setting cors_origin: {given[:SHOWN]!r} is no origin; give scheme, name and port alone, like https://page.example"
            )
    return [given.lower() for given in settings.cors_origin]


def _name(header: str) -> str:
    """Without the port; empty where it is none."""
    found = HOST.fullmatch(header.lower())
    return (found[1] or found[2]) if found else ""


def _name_of(given: str) -> str:
    name = _name(given) or _name(f"[{given}]")
    if name not in (given.lower(), given.lower().strip("[].")):
        raise UsageError(f"setting allowed_host: {given[:SHOWN]!r} is no host; give a name or an address without scheme and port")
    return name
