"""Chooses one of several servers with the same model for each chain."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from hashlib import blake2b
from urllib.parse import urlsplit, urlunsplit

from yarl import URL

from speculative.errors import UsageError, quote
from speculative.redaction import without_login

FAILED_COOLDOWN_S = 15.0
"""Seconds for which a server that did not answer is passed over, while there are others."""

SUSPECT_FOR_S = 1800.0
"""Seconds after which a server that was silent, and has not answered since, is given the time of any other again: it may have been slow."""


class Replicas:
    """The servers of one engine.

    Which one a chain is on is a function of its key and of which servers live.
    """

    def __init__(self, urls: Sequence[str]) -> None:
        if not urls:
            raise UsageError("an engine needs an address; give one like http://127.0.0.1:8000/v1")
        self.urls = [address(url) for url in urls]
        self._fell: dict[str, float] = {}
        self._silent: dict[str, float] = {}

    @property
    def name(self) -> str:
        """The first address, and how many more."""
        first = without_login(self.urls[0])
        return first if len(self.urls) == 1 else f"{first} (and {len(self.urls) - 1} more)"

    def pick(self, key: str) -> str:
        """Returns the living server with the highest hash of key and address."""
        return max(self._living() or self.urls, key=lambda url: blake2b(f"{key} {url}".encode(), digest_size=8).digest())

    def mark_failed(self, url: str, *, silent: bool = False) -> None:
        """Records that a server did not answer.

        `silent`: it held the connection, and let all of its time pass.
        """
        self._fell[url] = time.monotonic()
        if silent:
            self._silent[url] = time.monotonic()

    def mark_alive(self, url: str) -> None:
        """Records that a server answered a call."""
        self._fell.pop(url, None)
        self._silent.pop(url, None)

    def is_suspect(self, url: str) -> bool:
        """Returns whether a server was silent, and has not answered a call since."""
        return url in self._silent and time.monotonic() - self._silent[url] < SUSPECT_FOR_S

    def others(self, url: str) -> bool:
        """Returns whether another server that lives could do its work."""
        return any(one != url for one in self._living())

    @property
    def has_another(self) -> bool:
        """True if there are several servers, and one of them lives."""
        return len(self.urls) > 1 and bool(self._living())

    def _living(self) -> list[str]:
        now = time.monotonic()
        return [url for url in self.urls if now - self._fell.get(url, -FAILED_COOLDOWN_S) >= FAILED_COOLDOWN_S]


ENDPOINTS = re.compile(r"/((chat/)?completions?|generate|models|responses|embeddings|messages)$")
"""The ends of addresses of single calls."""


def address(url: str) -> str:
    """Returns the base of a server's OpenAI endpoints, spelled in one way."""
    try:
        parts = urlsplit(url.strip())
        known = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and not re.search(r"\s", parts.netloc)
        (URL(url.strip()).raw_host or "").encode("idna")
    except ValueError:  # half an IPv6 address, a port that is no number or too large, a part of a host that is empty or too long
        parts, known = urlsplit(""), False
    if not known:
        raise UsageError(f"{quote(without_login(url))} is not the address of a server; give one like http://127.0.0.1:8000/v1")
    path = re.sub("/{2,}", "/", parts.path).rstrip("/")
    if ENDPOINTS.search(path):
        base = urlunsplit((parts.scheme, parts.netloc, f"{ENDPOINTS.sub('', path).removesuffix('/v1')}/v1", "", ""))
        raise UsageError(f"{without_login(url.strip())} is the address of a single call; give the address up to /v1: {without_login(base)}")
    return urlunsplit((parts.scheme, parts.netloc, path if path.endswith("/v1") else f"{path}/v1", "", ""))


def origin(base: str, path: str) -> str:
    """Returns an address under `/v1`, or beside it when the path begins with `/`."""
    return base.removesuffix("/v1") + path if path.startswith("/") else f"{base}/{path}"
