"""Access to the service: bearer keys, host names, and pages of other sites."""

from __future__ import annotations

import hmac
import ipaddress
import re
from hashlib import sha256
from typing import Any

from fastapi import FastAPI
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from speculative.errors import UsageError
from speculative.serve.errors import ApiError
from speculative.settings import Settings

LOCAL_NAMES = ("localhost", "*.localhost", "127.0.0.1", "[::1]")
HOST = re.compile(r"\*(?:\.[\w.-]+)?|[\w.-]+|\[[0-9a-f:.]+\]", re.ASCII | re.IGNORECASE)
ORIGIN = re.compile(r"\*|null|[a-z][a-z0-9+.-]*://[^\s/?#@,]+")
"""The origin of a page as browsers send it, in small letters."""


class RequireKey(HTTPBearer):
    """A dependency that requires one of the keys. It compares in constant time."""

    def __init__(self, keys: tuple[str, ...]) -> None:
        super().__init__(scheme_name="key", description="a key of the service", auto_error=False)
        self._digests = [sha256(key.encode()).digest() for key in keys]

    async def __call__(self, request: HTTPConnection) -> HTTPAuthorizationCredentials | None:
        """Checks the `Authorization` header. Raises `ApiError` (401)."""
        credentials = await super().__call__(request)
        given = sha256(credentials.credentials.strip().encode() if credentials else b"").digest()
        matches = [hmac.compare_digest(given, digest) for digest in self._digests]  # all of them: constant time
        if not any(matches):
            raise ApiError(401, _refusal(request, credentials), code="invalid_api_key")
        return credentials


def _refusal(request: HTTPConnection, credentials: HTTPAuthorizationCredentials | None) -> str:
    """Says why a request is not authorized, without its key."""
    if credentials and credentials.credentials.strip():
        return "the key is not valid; send a key of this service in the header `Authorization: Bearer KEY`"
    if request.headers.get("authorization", "").strip():
        return "the header `Authorization` must be `Bearer KEY`, got another form; write `Bearer`, a space and the key"
    return "the service needs a key; send one in the header `Authorization: Bearer KEY`"


class RequireAllowedHost:
    """Checks the `Host` header with the framework, and names a refused host."""

    def __init__(self, app: ASGIApp, names: list[str]) -> None:
        self._app, self._check = app, TrustedHostMiddleware(self._allow, names, www_redirect=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, or replies with 400."""
        state: dict[str, Any] = scope.setdefault("state", {})
        await self._check(scope, receive, self._drop)
        if state.pop("host_allowed", False):
            await self._app(scope, receive, send)
            return
        host = Headers(scope=scope).get("host", "")[:80]
        plain = re.fullmatch(r"([\w.-]+|\[[0-9a-fA-F:.]+\])(?::\d+)?", host, re.ASCII)
        step = f"start the service with --allowed-host {plain[1] if plain else 'NAME'}"
        error = ApiError(400, f"the Host header must be a name of this service, got {host!r}; {step}", code="host_not_allowed")
        await error.response()(scope, receive, send)

    @staticmethod
    async def _allow(scope: Scope, receive: Receive, send: Send) -> None:
        """Notes that the framework lets a request pass."""
        scope["state"]["host_allowed"] = True

    @staticmethod
    async def _drop(message: Message) -> None:
        """Drops the framework's own reply."""


def check_bind(settings: Settings) -> tuple[str, ...]:
    """Returns the keys. Raises `UsageError` if other machines need none to call."""
    keys = settings.keys()
    if not keys and not settings.no_auth and not is_loopback(settings.host):
        raise UsageError(
            f"host {settings.host!r} can be reached from other machines: set SPECULATIVE_API_KEY or --key-file, or give --no-auth"
        )
    return keys


def add_host_and_origin_checks(app: FastAPI, settings: Settings) -> None:
    """Adds the framework's checks of the `Host` header and of other sites' pages.

    Without a key, every program that reaches the port may call. On loopback that includes a browser, also for a page whose name was
    made to mean this machine (DNS rebinding). Such requests carry the page's name, so only this machine's names are allowed.

    Raises:
        UsageError: a setting is not a host, or not an origin.
    """
    if allowed := _allowed_hosts(settings):
        app.add_middleware(RequireAllowedHost, names=allowed)
    if origins := _allowed_origins(settings):  # added last, so outermost: a page can read why it is refused
        app.add_middleware(CORSMiddleware, allow_origins=origins, allow_methods=["GET", "POST"], allow_headers=["*"], expose_headers=["*"])


def is_loopback(host: str) -> bool:
    """Returns whether an address is this machine's own."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _allowed_hosts(settings: Settings) -> list[str]:
    """Lists the allowed names; empty where any name is allowed."""
    names = [_bracketed(name) for name in settings.allowed_host]
    for name in names:
        if not HOST.fullmatch(name):
            raise UsageError(f"setting allowed_host must be a name or an address without scheme and port, got {name[:80]!r}")
    if "*" in names or not (names or (is_loopback(settings.host) and not settings.keys())):
        return []
    return [*LOCAL_NAMES, _bracketed(settings.host), *names]


def _bracketed(host: str) -> str:
    """Puts an IPv6 address into brackets, as the `Host` header has it."""
    try:
        return f"[{ipaddress.IPv6Address(host)}]"
    except ValueError:
        return host


def _allowed_origins(settings: Settings) -> list[str]:
    for origin in settings.cors_origin:
        if not ORIGIN.fullmatch(origin.lower()):
            raise UsageError(f"setting cors_origin must be scheme, name and port alone, like https://page.example, got {origin[:80]!r}")
    return [origin.lower() for origin in settings.cors_origin]
