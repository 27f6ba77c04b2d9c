"""The way to model servers: deadlines for everything, retries before the first token only."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any, TypeVar

import aiohttp
import msgspec
import stamina
from msgspec import Struct
from yarl import URL

from speculative.engines.base import SPARED
from speculative.engines.http import pool
from speculative.engines.http.payloads import DONE, Payloads, Reader
from speculative.engines.http.replicas import Replicas, origin
from speculative.engines.http.silence import NEVER, Silence
from speculative.errors import EngineBusy, EngineError, EngineFault, EngineRefused, EngineTimeout, EngineUnreachable, UsageError
from speculative.hiding import bare

ATTEMPTS = 4
PATIENCE = 30.0
"""Seconds in which a call that nobody answered may be tried again."""

SESSION_HEADERS = ("X-Session-ID", "X-SMG-Routing-Key")
"""What routers in front of vLLM and SGLang read to keep the calls of one chain on one server."""

PASSING = frozenset({502, 503, 504})


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


LINGER = 0.2
"""Seconds in which a server may end an answer after its last event: then the connection can be used again."""

T = TypeVar("T")


class _Watch(Silence):
    """Closes an answer in which no token comes for too long, or which takes too long in all. `over`: which of the two."""

    def __init__(self, response: aiohttp.ClientResponse, deadlines: Deadlines, ends: float) -> None:
        super().__init__(
            deadlines.between, lambda: self._end(f"no further token for {deadlines.between:g} s; see whether the server is stuck", True)
        )
        self.since = NEVER  # until somebody waits for more
        self.over, self.silent = "", False
        self._response = response
        late = f"the call took longer than {deadlines.whole:g} s"
        self._whole = asyncio.get_running_loop().call_later(max(0.0, ends - time.monotonic()), lambda: self._end(late))

    def stop(self) -> None:
        super().stop()
        self._whole.cancel()

    def _end(self, reason: str, silent: bool = False) -> None:
        self.over, self.silent = self.over or reason, silent and not self.over
        self._response.close()


class Link:
    """The connection of one engine to the servers that run its model. A call stays on one server; `key` names the chain."""

    def __init__(self, urls: Sequence[str], *, secret: str | None = None, deadlines: Deadlines | None = None) -> None:
        self.replicas = Replicas(urls)
        if secret:
            _check(secret, self.replicas.urls)
        self.deadlines = deadlines or Deadlines()
        self.secret = secret
        self.keeps = True

    @property
    def name(self) -> str:
        return self.replicas.name

    # ---- calls ------------------------------------------------------------------------------------------------------

    async def get(self, path: str) -> bytes:
        """One page. Raises `EngineUnreachable` at once: nothing is tried again."""
        return (await self._once("GET", self.replicas.pick(""), path, None, ""))[1]

    async def post(self, path: str, body: dict[str, Any], key: str) -> bytes:
        """The whole answer to a call that writes nothing (its deadline is that of a first token)."""
        return (await self._begin(path, body, key, whole=True))[1]

    async def stream(self, path: str, body: dict[str, Any], key: str, reader: Reader[T]) -> AsyncGenerator[T]:
        """What the reader makes of a streamed answer: something for a read, nothing, or its end.

        Leaving the loop early closes the connection. There is one generator between the socket and who listens: each more
        would be resumed for every token.
        """
        ends = time.monotonic() + self.deadlines.whole
        response, data, base = await self._begin(path, body, key, whole=False)
        arriving, watch, content, done = Payloads(), _Watch(response, self.deadlines, ends), response.content, False
        try:
            while data:
                payloads = arriving.feed(data)
                if payloads and payloads[-1] == DONE:
                    done = True
                    del payloads[-1]
                if payloads and (made := reader.take(payloads)) is not None:
                    yield made
                if done:
                    break
                watch.since = watch.clock()
                data = await content.readany()
                watch.since = NEVER
            else:
                if (made := reader.take(arriving.feed(b"\n"))) is not None:
                    yield made
            if done:
                with suppress(aiohttp.ClientError, OSError):  # (a timeout is one): all that was to come is here
                    async with asyncio.timeout(LINGER):
                        await content.readany()
        except (aiohttp.ClientError, OSError) as error:
            cut = f"the answer was cut off ({type(error).__name__}); see whether the server died"
            if watch.silent:
                self.replicas.fell(base, silent=True)
            if not reader.over:
                raise EngineTimeout(f"{response.url}: {watch.over}") if watch.over else EngineFault(f"{response.url}: {cut}") from None
        finally:
            watch.stop()
            response.close()
        if (made := reader.end()) is not None:
            yield made

    async def _begin(self, path: str, body: dict[str, Any], key: str, *, whole: bool) -> tuple[aiohttp.ClientResponse, bytes, str]:
        """The answer and the first of its bytes (all of them if `whole`): what fails until then and can pass is tried again."""
        content = msgspec.json.encode(body)

        def passing(error: Exception) -> bool | float:
            return self.replicas.passing(error, PATIENCE)

        try:
            return await self._once("POST", self.replicas.pick(key), path, content, key, whole=whole)
        except EngineError as error:
            if passing(error) is False:
                raise
            failed = error
        timeout = PATIENCE + self.deadlines.first_token  # a server that is stuck takes that long to be left for another one
        async for attempt in stamina.retry_context(passing, attempts=ATTEMPTS, timeout=timeout, wait_jitter=0.5, wait_max=4.0):
            with attempt:
                if attempt.num == 1:  # it was made above: what nearly always goes well is not watched
                    raise failed
                return await self._once("POST", self.replicas.pick(key), path, content, key, whole=whole)
        raise AssertionError("a retry loop ends by returning or raising")

    async def _once(
        self, verb: str, base: str, path: str, content: bytes | None, key: str, *, whole: bool = True
    ) -> tuple[aiohttp.ClientResponse, bytes, str]:
        address, url = _address(base, path)
        patience = await self._patience(base, verb)
        try:
            async with asyncio.timeout(patience):
                limits = _limits(self.deadlines.connect)
                settings: dict[str, Any] = {"data": content, "headers": self._headers(key), "timeout": limits, "allow_redirects": False}
                response = await pool.session(self).request(verb, address, **settings)
                try:
                    if response.status != 200:
                        if response.status in PASSING:
                            self.replicas.fell(base)
                        raise await self._refusal(response, url)
                    data = await response.read() if whole else await response.content.readany()
                    if not whole and not data:
                        raise EngineFault(f"{url}: an empty answer; look into the server's log")
                    if verb == "POST":
                        self.replicas.lives(base)
                    return response, data, base
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
            raise EngineRefused(f"{url}: not an address; give one like http://127.0.0.1:8000/v1") from None
        except (aiohttp.ClientError, OSError) as error:
            raise self._lost(base, url, f"the connection was closed ({type(error).__name__})") from None

    async def _patience(self, base: str, verb: str) -> float:
        """Seconds for the beginning of an answer. A server in doubt has few of them where another one, or the other model, can go
        on; where nothing can, it has all of them as long as it says what it runs: it may have a long queue."""
        if not self.replicas.doubts(base):
            return self.deadlines.first_token
        if verb == "POST" and not SPARED.get() and not self.replicas.others(base):
            with suppress(EngineRefused, EngineFault, EngineBusy):  # which are answers
                await self._once("GET", base, "models", None, "")
            return self.deadlines.first_token
        return min(self.deadlines.doubted, self.deadlines.first_token)

    def _silent(self, base: str, url: str, patience: float, what: str) -> EngineTimeout:
        """The error for a server that let its time pass."""
        whole = patience >= self.deadlines.first_token
        self.replicas.fell(base, silent=whole)
        before = "" if whole else " of a server that was silent before"
        return EngineTimeout(f"{url}: {what} within {patience:g} s{before}; see whether the server is stuck")

    def _lost(self, base: str, url: str, reason: str) -> EngineUnreachable:
        self.replicas.fell(base)
        return EngineUnreachable(f"{url}: {reason}; start a server there or give another address")

    async def _refusal(self, response: aiohttp.ClientResponse, url: str) -> EngineError:
        """The error that a status other than 200 stands for."""
        said = told(await response.read())
        status = response.status
        if status == 429 or status in PASSING:
            after = _seconds(response.headers.get("Retry-After"))
            error = EngineBusy(f"{url}: {status} {said}; the server turned the call away, ask it less or later", after)
            error.add_note("passing" if after is not None or status in PASSING else "lasting")
            error.lost = status in PASSING
            return error
        if status in (401, 403):
            return EngineRefused(f"{url}: {status} {said}; give the server's key (--big-key, --small-key)")
        if status >= 500:
            return EngineFault(f"{url}: {status} {said}; look into the server's log")
        return EngineRefused(f"{url}: {status} {said}")

    def _headers(self, key: str) -> dict[str, str]:
        headers = {"Content-Type": "application/json"}
        if not self.keeps:  # a call that met a connection which the server has closed would wait to be tried again
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
        if bare(url) != url:
            raise UsageError(
                f"{bare(url)}: a login in its address and a key (--big-key, --small-key, or the environment); give one of them"
            )


@lru_cache(256)
def _address(base: str, path: str) -> tuple[URL, str]:
    """Where a call goes, and how that is told: without a password."""
    address = origin(base, path)
    return URL(address), bare(address)


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


def _seconds(header: str | None) -> float | None:
    """Retry-After in seconds; a date (or nonsense) counts as not given."""
    try:
        return max(0.0, float(header)) if header else None
    except ValueError:
        return None
