"""Calls model servers, with deadlines, and retries before the first token."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any, Protocol, TypeVar

import aiohttp
import msgspec
from msgspec import Struct
from yarl import URL

from speculative.engines.base import HAS_FALLBACK
from speculative.engines.http.busy import RETRY_STATUSES, busy_error, retry_after
from speculative.engines.http.protocols.base import context_refusal
from speculative.engines.http.replicas import Replicas, origin
from speculative.engines.http.retries import send_with_retries
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

SESSION_HEADERS = ("X-Session-ID", "X-SMG-Routing-Key")
"""Headers by which routers in front of vLLM and SGLang keep the calls of one chain on one server."""

KEEP_ALIVE_S = 3.0
"""Seconds for which an idle connection is kept. Servers drop theirs after 5: a call must not meet a connection that is just closing."""

LINGER_S = 0.2
"""Seconds in which a server may end an answer after its last event: then the connection can be used again."""

MAX_ANSWER = 1 << 26
"""Bytes of an answer that is not streamed. The log-probabilities of a whole prompt are about 72 bytes a token."""

MAX_REFUSAL = 1 << 16
"""Bytes of an error's body that are read."""

MAX_LINE = 1 << 24
"""Bytes of one line of an event stream. The longest true ones hold all ids and log-probabilities of a completion: 100 bytes a token."""

DONE, BOM = b"[DONE]", b"\xef\xbb\xbf"
T = TypeVar("T")
R = TypeVar("R")
T_co = TypeVar("T_co", covariant=True)


class Deadlines(Struct, frozen=True):
    """Deadlines of a call in seconds, from its connection to its end.

    `doubted`: for an answer of a server that was silent before, and has not answered since.
    """

    connect: float = 5.0
    first_token: float = 180.0
    between: float = 60.0
    whole: float = 3600.0
    doubted: float = 10.0


class Reader(Protocol[T_co]):
    """Reads the payloads of one streamed answer."""

    @property
    def tokens(self) -> int:
        """The number of token ids that came so far."""
        ...

    @property
    def over(self) -> bool:
        """True if all that matters has come, however the answer ends."""
        ...

    def restart(self) -> None:
        """Forgets an attempt that failed before its first token."""
        ...

    def take(self, payloads: Sequence[bytes]) -> T_co | None: ...
    def end(self) -> T_co | None:
        """Closes the answer. Raises if it should not be over."""
        ...


class ServerClient:
    """Connects one engine to the servers that run its model.

    A call stays on one server; `key` names the chain.
    """

    def __init__(self, urls: Sequence[str], *, secret: str | None = None, deadlines: Deadlines | None = None) -> None:
        self.replicas = Replicas(urls)
        if secret:
            _check_key(secret, self.replicas.urls)
        self.deadlines = deadlines or Deadlines()
        self.secret = secret
        self.reuse_connection = True
        self.hint = ""
        """The next step that an error about the context names, if not to shorten the problem."""
        self._sessions: dict[asyncio.AbstractEventLoop, aiohttp.ClientSession] = {}

    @property
    def name(self) -> str:
        return self.replicas.name

    async def get(self, path: str) -> bytes:
        """Returns one page.

        Raises `EngineUnreachableError` at once: nothing is tried again.
        """
        return await self._send("GET", self.replicas.pick(""), path, None, "", _read_page)

    async def get_all(self, path: str) -> list[bytes]:
        """Returns one page of each replica, without those that do not answer."""
        found = [self._send("GET", base, path, None, "", _read_page) for base in self.replicas.urls]
        return [page for page in await asyncio.gather(*found, return_exceptions=True) if isinstance(page, bytes)]

    async def post(self, path: str, body: dict[str, Any], key: str) -> bytes:
        """Returns the whole answer to a call that writes nothing.

        It has the deadline of a first token.
        """
        return await self._send_with_retries(path, body, key, _read_page)

    async def stream(self, path: str, body: dict[str, Any], key: str, reader: Reader[T]) -> AsyncGenerator[T]:
        """Yields the results of `reader.take` for a streamed answer, then of `reader.end`.

        Only tokens renew the deadline between two. Leaving the loop early closes the connection. There is one generator
        between the socket and the listener: each more would be resumed for every token.
        """

        async def begin(response: aiohttp.ClientResponse, base: str) -> tuple[_EventStream, T | None]:
            reader.restart()
            stream, made, events = _EventStream(response, base), None, 0
            while not (reader.tokens or reader.over or stream.over):
                if payloads := await stream.read():
                    events += len(payloads)
                    made = reader.take(payloads)
            if stream.over and not (events or stream.done):
                raise EngineServerError(f"{without_login(str(response.url))}: an empty answer; look into the server's log")
            return stream, made

        clock = asyncio.get_running_loop().time
        ends = clock() + self.deadlines.whole
        stream, made = await self._send_with_retries(path, body, key, begin)
        url = without_login(str(stream.response.url))
        deadline = _TokenDeadline(stream.response, self.deadlines.between, ends)
        try:
            while True:
                if made is not None:
                    yield made
                    made = None
                if stream.over:
                    break
                came = reader.tokens
                deadline.begin()
                while reader.tokens == came and not stream.over:
                    if payloads := await stream.read():
                        made = reader.take(payloads)
                deadline.pause()
            if stream.done:
                await stream.linger()
        except (aiohttp.ClientError, OSError) as error:
            late = clock() >= ends
            if deadline.passed and not late:
                self.replicas.mark_failed(stream.base, silent=True)
            if not reader.over and deadline.passed:
                why = f"the call took longer than {self.deadlines.whole:g} s"
                stuck = f"no further token for {self.deadlines.between:g} s; see whether the server is stuck"
                raise EngineTimeoutError(f"{url}: {why if late else stuck}") from None
            if not reader.over:
                raise EngineServerError(f"{url}: the answer was cut off ({type(error).__name__}); see whether the server died") from None
        finally:
            deadline.close()
            stream.response.close()
        if (made := reader.end()) is not None:
            yield made

    async def aclose(self) -> None:
        """Closes the connections that were opened in the running loop."""
        if session := self._sessions.pop(asyncio.get_running_loop(), None):
            await session.close()

    # ---- one attempt after another ----------------------------------------------------------------------------------

    async def _send_with_retries(
        self, path: str, body: dict[str, Any], key: str, read: Callable[[aiohttp.ClientResponse, str], Awaitable[R]]
    ) -> R:
        """Makes a call and reads its answer.

        A failure that can pass is tried again, on another replica if there is one.
        """
        content = msgspec.json.encode(body)

        def send() -> Awaitable[R]:
            return self._send("POST", self.replicas.pick(key), path, content, key, read)

        return await send_with_retries(send, self.replicas, self.deadlines.first_token)

    async def _send(
        self,
        verb: str,
        base: str,
        path: str,
        content: bytes | None,
        key: str,
        read: Callable[[aiohttp.ClientResponse, str], Awaitable[R]],
    ) -> R:
        """Makes one attempt on one server. Raises the `EngineError` that fits its failure."""
        address, url = _address(base, path)
        patience = await self._first_token_timeout(base, verb)
        limits = _limits(self.deadlines.connect)
        settings: dict[str, Any] = {"data": content, "headers": self._headers(key), "timeout": limits, "allow_redirects": False}
        try:
            async with asyncio.timeout(patience):
                response = await self._session().request(verb, address, **settings)
                try:
                    if response.status != 200:
                        if response.status in RETRY_STATUSES:
                            self.replicas.mark_failed(base)
                        raise await self._refusal(response, url)
                    result = await read(response, base)
                    if verb == "POST":
                        self.replicas.mark_alive(base)
                    return result
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

    def _session(self) -> aiohttp.ClientSession:
        """Returns the session of the running loop.

        Loops that were closed without `aclose` are forgotten.
        """
        loop = asyncio.get_running_loop()
        if loop not in self._sessions:
            self._sessions = {other: session for other, session in self._sessions.items() if not other.is_closed()}
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_S)
            self._sessions[loop] = aiohttp.ClientSession(connector=connector, read_bufsize=1 << 18)
        return self._sessions[loop]

    def _headers(self, key: str) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if not self.reuse_connection:  # a call on a connection that the server has closed would wait to be tried again
            headers["Connection"] = "close"
        if self.secret:
            headers["Authorization"] = f"Bearer {self.secret}"
        if key:
            headers.update(dict.fromkeys(SESSION_HEADERS, key))
        return headers

    async def _first_token_timeout(self, base: str, verb: str) -> float:
        """Returns the seconds for the beginning of an answer.

        A server that was silent before has few of them where a replica or the other model can take over. Where none can, it has
        all of them as long as it says what it runs: it may have a long queue.
        """
        if not self.replicas.is_suspect(base):
            return self.deadlines.first_token
        if verb == "POST" and not HAS_FALLBACK.get() and not self.replicas.others(base):
            with suppress(EngineRefusedError, EngineServerError, EngineBusyError):  # which are answers
                await self._send("GET", base, "models", None, "", _read_page)
            return self.deadlines.first_token
        return min(self.deadlines.doubted, self.deadlines.first_token)

    # ---- what went wrong --------------------------------------------------------------------------------------------

    def _silent(self, base: str, url: str, patience: float, what: str) -> EngineTimeoutError:
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
        said, status = error_message(body), response.status
        if status == 429 or status in RETRY_STATUSES:
            after = retry_after(response.headers)
            return busy_error(f"{url}: {status} {said}", after, status)
        if status >= 500:
            return EngineServerError(f"{url}: {status} {said}; look into the server's log")
        if status not in (401, 403) and (too_long := context_refusal(url, body, said, self.hint)):
            return too_long
        step = "; give the server's key (--big-key, --small-key)" if status in (401, 403) else ""
        refused = EngineRefusedError(f"{url}: {status} {said}{step}")
        refused.status = status
        return refused


class LineTooLongError(Exception):
    """A line of an event stream is longer than `MAX_LINE`."""


class EventParser:
    """Cuts server-sent events into their payloads.

    Comments, empty events and other fields give nothing.
    """

    def __init__(self) -> None:
        self._rest = bytearray()
        self._begun = False

    def feed(self, data: bytes) -> list[bytes]:
        """Returns the payloads that are whole now. Raises `LineTooLongError`."""
        if not self._rest and data[:6] == b"data: " and data.find(b"\n") == len(data) - 2 and data[-1:] == b"\n":
            self._begun = True
            return [payload] if (payload := data[6:-2].strip()) else []  # one event, as it nearly always is while a text is written
        end = data.rfind(b"\n") + 1
        lines = self._rest + data[:end] if end else bytearray()
        if end:
            self._rest.clear()
        self._rest += data[end:]
        if len(self._rest) > MAX_LINE:
            raise LineTooLongError(f"a line of more than {MAX_LINE} bytes")
        if lines and not self._begun:
            self._begun, lines = True, lines.removeprefix(BOM)
        return _payloads(bytes(lines))

    def end(self) -> list[bytes]:
        """Returns the payloads that the end of the stream makes whole."""
        return self.feed(b"\n")


def _payloads(lines: bytes) -> list[bytes]:
    """Returns the payloads in whole lines.

    Lines that hold none are skipped without being cut out.
    """
    payloads: list[bytes] = []
    place = 0 if lines.startswith(b"data:") else lines.find(b"\ndata:") + 1 or -1
    while place >= 0:
        end = lines.index(b"\n", place)
        if payload := lines[place + 5 : end].strip():
            payloads.append(payload)
        place = lines.find(b"\ndata:", end) + 1 or -1
    return payloads


class _EventStream:
    """A streamed answer, event by event.

    `over`: no more events come. `done`: the server said so.
    """

    def __init__(self, response: aiohttp.ClientResponse, base: str) -> None:
        self.response, self.base = response, base
        self.over = self.done = False
        self._events = EventParser()

    async def read(self) -> list[bytes]:
        """Returns the payloads of the next read."""
        data = await self.response.content.readany()
        try:
            payloads = self._events.feed(data) if data else self._events.end()
        except LineTooLongError as error:
            raise EngineServerError(f"{self.response.url}: {error}; see whether a model server listens there") from None
        self.done = DONE in payloads
        if self.done:
            del payloads[payloads.index(DONE) :]
        self.over = self.done or not data
        return payloads

    async def linger(self) -> None:
        """Waits a moment for the end of a complete answer, to reuse its connection."""
        with suppress(aiohttp.ClientError, OSError):  # (a timeout is one): all that was to come is here
            async with asyncio.timeout(LINGER_S):
                await self.response.content.readany()


class _TokenDeadline:
    """Closes an answer whose next token takes too long, or that as a whole does.

    One timer serves the whole answer: a timer for each token would cost as much as reading it. Only time in which a read waits counts.
    `passed`: the answer was closed, so that its read fails.
    """

    def __init__(self, response: aiohttp.ClientResponse, between: float, ends: float) -> None:
        self.passed = False
        self._response, self._between, self._ends = response, between, ends
        self._loop, self._reading, self._due = asyncio.get_running_loop(), False, ends
        self._timer = self._loop.call_at(min(self._loop.time() + between, ends), self._check)

    def begin(self) -> None:
        """Begins the wait for the next token."""
        now = self._loop.time()
        self._due, self._reading = min(now + self._between, self._ends), True
        if now >= self._ends:
            self._pass()

    def pause(self) -> None:
        """Ends the wait."""
        self._reading = False

    def close(self) -> None:
        """Ends the timer."""
        self._timer.cancel()

    def _check(self) -> None:
        now = self._loop.time()
        if self._reading and now >= self._due:
            self._pass()
        elif self._reading:
            self._timer = self._loop.call_at(self._due, self._check)
        elif now < self._ends:  # later than that the next wait closes the answer when it begins
            self._timer = self._loop.call_at(min(now + self._between, self._ends), self._check)

    def _pass(self) -> None:
        self.passed = True
        self._response.close()


def _check_key(secret: str, urls: Sequence[str]) -> None:
    """Raises `UsageError` for a key that no call could carry."""
    if not secret.isprintable():
        raise UsageError("the server's key holds a line's end or another control character; give it without (--big-key, --small-key)")
    for url in urls:
        if (plain := without_login(url)) != url:
            raise UsageError(f"{plain}: a login in its address and a key (--big-key, --small-key, or the environment); give one of them")


@lru_cache(256)
def _address(base: str, path: str) -> tuple[URL, str]:
    """Returns the address of a call, and the same without a password for messages."""
    address = origin(base, path)
    return URL(address), without_login(address)


@lru_cache(8)
def _limits(connect: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, sock_connect=connect)


def error_message(body: bytes) -> str:
    """Returns the message in an error's body as one short line."""
    try:
        said: Any = msgspec.json.decode(body)
    except msgspec.DecodeError:
        said = body.decode("utf-8", "replace")
    for field in ("error", "message", "detail"):
        if isinstance(said, dict) and field in said:
            said = said[field]  # pyright: ignore[reportUnknownVariableType]
    line = " ".join(str(said).split())  # pyright: ignore[reportUnknownArgumentType]
    return line if len(line) <= 300 else f"{line[:300]}…"


async def _read_page(response: aiohttp.ClientResponse, base: str) -> bytes:
    """Reads a whole answer. Raises `EngineServerError` for one that does not end."""
    body, whole = await _read(response, MAX_ANSWER)
    if not whole:
        url = without_login(str(response.url))
        raise EngineServerError(f"{url}: an answer of more than {MAX_ANSWER} bytes; see whether a model server listens there")
    return body


async def _read(response: aiohttp.ClientResponse, limit: int) -> tuple[bytes, bool]:
    """Reads a body up to `limit` bytes, and returns whether that was all of it."""
    body = bytearray()
    while data := await response.content.readany():
        body += data
        if len(body) > limit:
            return bytes(body[:limit]), False
    return bytes(body), True
