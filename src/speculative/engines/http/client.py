"""The way to model servers: deadlines for everything, retries before the first token only."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any, TypeVar

import aiohttp
import msgspec
import stamina
from msgspec import Struct
from yarl import URL

from speculative.engines.base import HAS_FALLBACK
from speculative.engines.http import pool
from speculative.engines.http.busy import RETRY_STATUSES, busy_error, retry_after
from speculative.engines.http.payloads import DONE, LongLineError, Payloads, Reader
from speculative.engines.http.protocols.base import context_refusal
from speculative.engines.http.replicas import Replicas, origin
from speculative.errors import (
    EngineBusyError,
    EngineError,
    EngineRefusedError,
    EngineServerError,
    EngineTimeoutError,
    EngineUnreachableError,
    UsageError,
)
from speculative.redaction import without_login

ATTEMPTS = 4
RETRY_FOR_S = 30.0
"""Seconds in which a call that nobody answered may be tried again."""

SESSION_HEADERS = ("X-Session-ID", "X-SMG-Routing-Key")
"""What routers in front of vLLM and SGLang read to keep the calls of one chain on one server."""


logging.getLogger("stamina").addHandler(logging.NullHandler())
"""It tells of each retry; a program that sets up no logging should not find that on its terminal."""


class Deadlines(Struct, frozen=True):
    """Seconds: to connect, to the first token, between two tokens, and for a call in all.

    `doubted`: for an answer of a server that was silent before, and has not answered since.
    """

    connect: float = 5.0
    first_token: float = 180.0
    between: float = 60.0
    whole: float = 3600.0
    doubted: float = 10.0


LINGER_S = 0.2
"""Seconds in which a server may end an answer after its last event: then the connection can be used again."""

MAX_ANSWER = 1 << 26
"""Bytes of an answer that is not streamed. The log-probabilities of a whole prompt are about 72 bytes a token."""

MAX_REFUSAL = 1 << 16
"""Bytes of an error's body that are read."""

T = TypeVar("T")
R = TypeVar("R")


class _Stream:
    """A streamed answer, event by event. `over`: no more events come. `done`: the server said so."""

    def __init__(self, response: aiohttp.ClientResponse, base: str) -> None:
        self.response, self.base = response, base
        self.over = self.done = False
        self._events = Payloads()

    async def read(self) -> list[bytes]:
        """Returns the payloads of the next read."""
        data = await self.response.content.readany()
        try:
            payloads = self._events.feed(data) if data else self._events.end()
        except LongLineError as error:
            raise EngineServerError(f"{self.response.url}: {error}; see whether a model server listens there") from None
        self.done = DONE in payloads
        if self.done:
            del payloads[payloads.index(DONE) :]
        self.over = self.done or not data
        return payloads

    async def linger(self) -> None:
        """Waits a moment for the end of an answer that is over, so that its connection can be used again."""
        with suppress(aiohttp.ClientError, OSError):  # (a timeout is one): all that was to come is here
            async with asyncio.timeout(LINGER_S):
                await self.response.content.readany()


class ServerClient:
    """The connection of one engine to the servers that run its model. A call stays on one server; `key` names the chain."""

    def __init__(self, urls: Sequence[str], *, secret: str | None = None, deadlines: Deadlines | None = None) -> None:
        self.replicas = Replicas(urls)
        if secret:
            _check(secret, self.replicas.urls)
        self.deadlines = deadlines or Deadlines()
        self.secret = secret
        self.reuse_connection = True
        self.hint = ""
        """What an error about the context tells to do, if not to shorten the problem."""

    @property
    def name(self) -> str:
        return self.replicas.name

    # ---- calls ------------------------------------------------------------------------------------------------------

    async def get(self, path: str) -> bytes:
        """Returns one page. Raises `EngineUnreachableError` at once: nothing is tried again."""
        return await self._send("GET", self.replicas.pick(""), path, None, "", _page)

    async def post(self, path: str, body: dict[str, Any], key: str) -> bytes:
        """Returns the whole answer to a call that writes nothing (its deadline is that of a first token)."""
        return await self._send_with_retries(path, body, key, _page)

    async def stream(self, path: str, body: dict[str, Any], key: str, reader: Reader[T]) -> AsyncGenerator[T]:
        """Yields what the reader makes of a streamed answer: something for a read, nothing, or its end.

        Only tokens renew the deadline between two. Leaving the loop early closes the connection. There is one generator
        between the socket and the listener: each more would be resumed for every token.
        """

        async def begun(response: aiohttp.ClientResponse, base: str) -> tuple[_Stream, T | None]:
            reader.restart()
            stream, made, events = _Stream(response, base), None, 0
            while not (reader.tokens or reader.over or stream.over):
                if payloads := await stream.read():
                    events += len(payloads)
                    made = reader.take(payloads)
            if stream.over and not (events or stream.done):
                raise EngineServerError(f"{without_login(str(response.url))}: an empty answer; look into the server's log")
            return stream, made

        clock = asyncio.get_running_loop().time
        ends = clock() + self.deadlines.whole
        stream, made = await self._send_with_retries(path, body, key, begun)
        try:
            while True:
                if made is not None:
                    yield made
                    made = None
                if stream.over:
                    break
                came = reader.tokens
                async with asyncio.timeout_at(min(clock() + self.deadlines.between, ends)):
                    while reader.tokens == came and not stream.over:
                        if payloads := await stream.read():
                            made = reader.take(payloads)
            if stream.done:
                await stream.linger()
        except TimeoutError:
            late = clock() >= ends
            if not late:
                self.replicas.mark_failed(stream.base, silent=True)
            if not reader.over:
                raise self._late(stream.response, late) from None
        except (aiohttp.ClientError, OSError) as error:
            if not reader.over:
                url, name = without_login(str(stream.response.url)), type(error).__name__
                raise EngineServerError(f"{url}: the answer was cut off ({name}); see whether the server died") from None
        finally:
            stream.response.close()
        if (made := reader.end()) is not None:
            yield made

    def _late(self, response: aiohttp.ClientResponse, whole: bool) -> EngineTimeoutError:
        url = without_login(str(response.url))
        if whole:
            return EngineTimeoutError(f"{url}: the call took longer than {self.deadlines.whole:g} s")
        return EngineTimeoutError(f"{url}: no further token for {self.deadlines.between:g} s; see whether the server is stuck")

    async def _send_with_retries(
        self, path: str, body: dict[str, Any], key: str, read: Callable[[aiohttp.ClientResponse, str], Awaitable[R]]
    ) -> R:
        """Makes a call and reads its answer. A failure that can pass is tried again, on another replica if there is one."""
        content = msgspec.json.encode(body)

        def passing(error: Exception) -> bool | float:
            return self.replicas.retry_delay(error, RETRY_FOR_S)

        try:
            return await self._send("POST", self.replicas.pick(key), path, content, key, read)
        except EngineError as error:
            if passing(error) is False:
                raise
            failed = error
        timeout = RETRY_FOR_S + self.deadlines.first_token  # a server that is stuck takes that long to be left for another one
        async for attempt in stamina.retry_context(passing, attempts=ATTEMPTS, timeout=timeout, wait_jitter=0.5, wait_max=4.0):
            with attempt:
                if attempt.num == 1:  # it was made above: what nearly always goes well is not watched
                    raise failed
                return await self._send("POST", self.replicas.pick(key), path, content, key, read)
        raise AssertionError("a retry loop ends by returning or raising")

    async def _send(
        self,
        verb: str,
        base: str,
        path: str,
        content: bytes | None,
        key: str,
        read: Callable[[aiohttp.ClientResponse, str], Awaitable[R]],
    ) -> R:
        address, url = _address(base, path)
        patience = await self._first_token_timeout(base, verb)
        try:
            async with asyncio.timeout(patience):
                limits = _limits(self.deadlines.connect)
                settings: dict[str, Any] = {"data": content, "headers": self._headers(key), "timeout": limits, "allow_redirects": False}
                response = await pool.session(self).request(verb, address, **settings)
                try:
                    if response.status != 200:
                        if response.status in RETRY_STATUSES:
                            self.replicas.mark_failed(base)
                        raise await self._refusal(response, url)
                    found = await read(response, base)
                    if verb == "POST":
                        self.replicas.mark_alive(base)
                    return found
                except BaseException:
                    response.close()
                    raise
        except aiohttp.ServerTimeoutError:
            raise self._lost(base, url, f"no connection within {self.deadlines.connect:g} s") from None
        except TimeoutError:
            raise self._silent(base, url, patience, "no first token" if verb == "POST" else "no answer") from None
        except aiohttp.ClientConnectorError as error:
            refused = isinstance(error.os_error, ConnectionRefusedError)
            raise self._lost(base, url, "nothing listens there" if refused else f"no connection ({error.os_error})") from None
        except aiohttp.InvalidURL:
            raise EngineRefusedError(f"{url}: not an address; give one like http://127.0.0.1:8000/v1") from None
        except (aiohttp.ClientError, OSError) as error:
            raise self._lost(base, url, f"the connection was closed ({type(error).__name__})") from None

    async def _first_token_timeout(self, base: str, verb: str) -> float:
        """Seconds for the beginning of an answer. A server in doubt has few of them where another one, or the other model, can go
        on; where nothing can, it has all of them as long as it says what it runs: it may have a long queue."""
        if not self.replicas.is_suspect(base):
            return self.deadlines.first_token
        if verb == "POST" and not HAS_FALLBACK.get() and not self.replicas.others(base):
            with suppress(EngineRefusedError, EngineServerError, EngineBusyError):  # which are answers
                await self._send("GET", base, "models", None, "", _page)
            return self.deadlines.first_token
        return min(self.deadlines.doubted, self.deadlines.first_token)

    def _silent(self, base: str, url: str, patience: float, what: str) -> EngineTimeoutError:
        """The error for a server that let its time pass."""
        whole = patience >= self.deadlines.first_token
        self.replicas.mark_failed(base, silent=whole)
        before = "" if whole else " of a server that was silent before"
        return EngineTimeoutError(f"{url}: {what} within {patience:g} s{before}; see whether the server is stuck")

    def _lost(self, base: str, url: str, reason: str) -> EngineUnreachableError:
        self.replicas.mark_failed(base)
        return EngineUnreachableError(f"{url}: {reason}; start a server there or give another address")

    async def _refusal(self, response: aiohttp.ClientResponse, url: str) -> EngineError:
        """Makes the error that a status other than 200 stands for."""
        body, _ = await _read(response, MAX_REFUSAL)
        said, status = told(body), response.status
        if status == 429 or status in RETRY_STATUSES:
            after = retry_after(response.headers)
            return busy_error(f"{url}: {status} {said}", after, status)
        if status in (401, 403):
            return EngineRefusedError(f"{url}: {status} {said}; give the server's key (--big-key, --small-key)")
        if status >= 500:
            return EngineServerError(f"{url}: {status} {said}; look into the server's log")
        return context_refusal(url, body, said, self.hint) or EngineRefusedError(f"{url}: {status} {said}")

    def _headers(self, key: str) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if not self.reuse_connection:  # a call that met a connection which the server has closed would wait to be tried again
            headers["Connection"] = "close"
        if self.secret:
            headers["Authorization"] = f"Bearer {self.secret}"
        if key:
            headers.update(dict.fromkeys(SESSION_HEADERS, key))
        return headers

    async def aclose(self) -> None:
        """Leaves the pool of the running loop; the last one out closes it."""
        await pool.leave(self)


def _check(secret: str, urls: Sequence[str]) -> None:
    """Raises `UsageError` for a key that no call could bear."""
    if not secret.isprintable():
        raise UsageError("the server's key holds a line's end or another control character; give it without (--big-key, --small-key)")
    for url in urls:
        if without_login(url) != url:
            raise UsageError(
                f"{without_login(url)}: a login in its address and a key (--big-key, --small-key, or the environment); give one of them"
            )


@lru_cache(256)
def _address(base: str, path: str) -> tuple[URL, str]:
    """Where a call goes, and how that is told: without a password."""
    address = origin(base, path)
    return URL(address), without_login(address)


@lru_cache(8)
def _limits(connect: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, sock_connect=connect)


def told(body: bytes) -> str:
    """What a server says in an error's body, in one short line."""
    try:
        said: Any = msgspec.json.decode(body)
    except msgspec.DecodeError:
        said = body.decode("utf-8", "replace")
    for field in ("error", "message", "detail"):
        if isinstance(said, dict) and field in said:
            said = said[field]  # pyright: ignore[reportUnknownVariableType]
    line = " ".join(str(said).split())  # pyright: ignore[reportUnknownArgumentType]
    return line if len(line) <= 300 else f"{line[:300]}…"


async def _page(response: aiohttp.ClientResponse, base: str) -> bytes:
    """Reads a whole answer. Raises `EngineServerError` for one that does not end."""
    body, whole = await _read(response, MAX_ANSWER)
    if not whole:
        raise EngineServerError(
            f"{without_login(str(response.url))}: an answer of more than {MAX_ANSWER} bytes; see whether a model server listens there"
        )
    return body


async def _read(response: aiohttp.ClientResponse, limit: int) -> tuple[bytes, bool]:
    """Reads a body up to so many bytes; says whether that was all of it."""
    body = bytearray()
    while data := await response.content.readany():
        body += data
        if len(body) > limit:
            return bytes(body[:limit]), False
    return bytes(body), True
