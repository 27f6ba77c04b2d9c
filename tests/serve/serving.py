"""A real service on a free port, in a thread, on scripted engines."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2

from speculative.pair import Pair
from speculative.serve.app import opened as opened_pair
from speculative.serve.server import bind, make_server
from speculative.settings import Settings
from speculative.splitreason.service import SplitReasonService
from speculative.testing import ScriptedEngine

THOUGHT = "Two and two are four.\n\nI check: 4 - 2 = 2. Good.\n"
ANSWER = "The answer is \\boxed{4}. Well — done."
TEXT = f"{THOUGHT}</think>\n\n{ANSWER}<|im_end|>"
ASK = {"model": "speculative/random_switch", "messages": [{"role": "user", "content": "2 + 2?"}]}


def pair(text=TEXT, *, delay=0.0, width=2, small_width=2, **rest):
    return Pair(
        ScriptedEngine(text, name="B", delay=delay, width=width, **rest),
        ScriptedEngine(text, name="S", delay=delay, width=small_width, **rest),
    )


class Served:
    """A running service. `running`: calls that the engines are working on."""

    def __init__(self, engines: Pair, server, port: int) -> None:
        self.engines, self.server, self.state = engines, server, server.state
        self.url = f"http://127.0.0.1:{port}"
        self.port = port

    @property
    def running(self) -> int:
        return sum(engine.running for engine in set(self.engines.values()))

    def wait(self, condition, seconds=60.0) -> None:
        """Waits for a condition."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "the condition was never met"
            time.sleep(0.005)

    # `verify=False`: there is no TLS, and to load the certificates takes more time than the request.

    def post(self, path="/v1/chat/completions", json=None, **rest) -> httpx2.Response:
        with httpx2.Client(base_url=self.url, timeout=100, verify=False) as client:
            return client.post(path, json=ASK if json is None else json, **rest)

    def get(self, path, **rest) -> httpx2.Response:
        with httpx2.Client(base_url=self.url, timeout=100, verify=False) as client:
            return client.get(path, **rest)

    def connect(self, body: bytes, path="/v1/chat/completions") -> socket.socket:
        """A client that can hang up at any moment: a bare socket that has sent its request."""
        client = socket.create_connection(("127.0.0.1", self.port), timeout=100)
        head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        client.sendall(head.encode() + body)
        return client


@contextmanager
def serving(engines: Pair | None = None, *, opener=None, splitreason=None, **settings) -> Iterator[Served]:
    engines = engines or pair()
    settings = Settings(port=0, **{"log_level": "error", **settings})
    server = make_server(settings, opener or opened_pair(engines), extensions=[(splitreason or SplitReasonService()).mount])
    bound = bind(settings)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    try:
        served = Served(engines, server, bound.getsockname()[1])
        served.wait(lambda: server.started and (opener or served.state.loaded))
        yield served
    finally:
        server.stop()
        thread.join(timeout=100)
        bound.close()
        assert not thread.is_alive()


class Broken:
    """An engine whose server is away, and whose error says too much."""

    def __init__(self, inner, error):
        self._inner, self.error = inner, error

    def __getattr__(self, name):
        return getattr(self._inner, name)

    async def complete(self, *_, **__):
        raise self.error

    async def stream(self, *_, **__):
        raise self.error
        yield


class Late(Broken):
    """An engine that writes something, and then fails."""

    async def stream(self, prefix, decoding, *, key, stats):
        async for delta in self._inner.stream(prefix, decoding, key=key, stats=stats):
            yield delta
            if stats.produced_tokens > 4:
                raise self.error
