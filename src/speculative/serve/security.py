"""Who may call: bearer keys, compared in constant time; and where the service may listen."""

from __future__ import annotations

import hmac
import ipaddress
from hashlib import sha256

from speculative.errors import UsageError
from speculative.serve.errors import Refusal
from speculative.settings import Settings

OPEN = frozenset(("/health", "/ready", "/ping"))
"""What a load balancer asks, and what tells nothing of anybody's requests."""


class Keys:
    """The keys, as digests: of equal length, and no key lies in memory for longer than it takes to read it."""

    def __init__(self, keys: tuple[str, ...]) -> None:
        self._digests = [sha256(key.encode()).digest() for key in keys]

    def __bool__(self) -> bool:
        return bool(self._digests)

    def check(self, path: str, header: bytes) -> None:
        """Raises `Refusal` (401) unless the `Authorization` header holds one of the keys."""
        if not self._digests or path in OPEN:
            return
        scheme, _, key = header.partition(b" ")
        given = sha256(key.strip()).digest()
        right = [hmac.compare_digest(given, digest) for digest in self._digests]  # all of them, so that time tells nothing
        if scheme.lower() != b"bearer" or not any(right):
            raise Refusal(
                401, "a key is needed: send the header `Authorization: Bearer KEY`", kind="authentication_error", code="invalid_api_key"
            )


def check_bind(settings: Settings) -> Keys:
    """The keys. Raises `UsageError` where others than this machine could call without one."""
    keys = Keys(settings.keys())
    if not keys and not settings.no_auth and not loopback(settings.host):
        raise UsageError(
            f"host {settings.host!r} can be reached from other machines: set SPECULATIVE_API_KEY or --key-file, or say --no-auth"
        )
    return keys


def loopback(host: str) -> bool:
    """Whether an address is this machine's own."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
