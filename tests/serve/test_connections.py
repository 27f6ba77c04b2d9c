"""Hostile and broken connections: the service stays up, and each client gets an answer or loses its connection."""

import contextlib
import json
import socket
import threading

import pytest
from profiles import quick_cases
from serving import ASK, pair, serving

from speculative.serve import request_log, server

BODY = json.dumps(ASK).encode()
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(BODY)
HEALTH = b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n"
PATHS = [b"/v1/chat/completions", b"/v1/responses", b"/speculative_reason"]


@pytest.fixture(scope="module")
def hasty():
    """A service that waits for a body for 0.3 s, which all bodies here would need far longer for."""
    with serving(request_seconds=0.3) as running:
        yield running


@contextlib.contextmanager
def connected(served):
    with socket.create_connection(("127.0.0.1", served.port), timeout=100) as client:
        yield client


def rest(client) -> bytes:
    """Everything until the service hangs up."""
    got = b""
    with contextlib.suppress(ConnectionError):
        while piece := client.recv(100_000):
            got += piece
    return got


def until(client, found: bytes) -> bytes:
    got = b""
    while found not in got:
        piece = client.recv(100_000)
        assert piece, got
        got += piece
    return got


@pytest.mark.parametrize("path", quick_cases(PATHS))
@pytest.mark.parametrize("sent", [b"", b"{", BODY[:-1]], ids=["none", "one", "all but one"])
def test_an_incomplete_body_gets_408(hasty, path, sent):
    with connected(hasty) as client:
        client.sendall(HEAD.replace(b"/v1/chat/completions", path) + sent)
        data = until(client, b"request-seconds")
    assert data.startswith(b"HTTP/1.1 408 ")
    assert b"x-request-id: req-" in data
    assert b"within 0.3 s" in data
    assert f'route="{path.decode()}",status="408"' in hasty.get("/metrics").text


def test_the_deadline_is_for_the_whole_body(hasty):
    """The deadline is the body's, not a piece's."""
    with connected(hasty) as client:
        client.sendall(HEAD)
        over = threading.Event()

        def trickle():
            with contextlib.suppress(OSError):
                while not over.wait(0.05):
                    client.sendall(b" ")

        thread = threading.Thread(target=trickle)
        thread.start()
        assert until(client, b"\r\n").startswith(b"HTTP/1.1 408 ")
        over.set()
        thread.join()


def test_a_request_in_pieces_is_answered(served):
    with connected(served) as client:
        whole = HEAD + BODY
        for start in range(0, len(whole), 50):
            client.sendall(whole[start : start + 50])
        assert until(client, b"}}").startswith(b"HTTP/1.1 200 ")


def test_idle_connections_are_closed_after_a_while(monkeypatch):
    monkeypatch.setattr(server, "KEEP_ALIVE_S", 0.2)
    with serving() as served, connected(served) as client:
        client.sendall(HEALTH)
        assert b" 200 " in until(client, b'"ok"}')
        assert rest(client) == b""


def test_many_idle_connections_do_no_harm(served):
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connected(served)) for _ in range(300)]
        for client in clients[::3]:
            client.sendall(HEALTH[:20])
        assert served.post().status_code == 200
        for client in clients[1::3]:
            client.sendall(HEALTH)
            assert b" 200 " in until(client, b'"ok"}')


@pytest.mark.parametrize("path", PATHS)
def test_a_disconnect_in_the_middle_of_a_body_is_not_logged_as_a_bug(path, caplog):
    with serving() as served:
        with connected(served) as client:
            client.sendall(HEAD.replace(b"/v1/chat/completions", path) + BODY[:5])
        found = f'route="{path.decode()}",status="499"'
        served.wait(lambda: found in served.state.metrics.page().decode())
    assert not [record for record in caplog.records if record.getMessage() == "bug"]


def test_an_upgrade_offer_gets_advice(served):
    """Java's client offers HTTP/2 with every request, unless it is told not to."""
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB\r\nUpgrade: h2c\r\nhost:"
    with connected(served) as client:
        client.sendall(HEAD.replace(b"host:", offer) + BODY)
        got = until(client, b"}}")
    assert got.startswith(b"HTTP/1.1 400 ")
    assert b"HTTP_1_1" in got


def test_an_unknown_path_gets_404_before_its_body_arrives(served):
    with connected(served) as client:
        client.sendall(HEAD.replace(b"/v1/chat", b"/v1/nothing") + BODY[:5])
        assert until(client, b"\r\n").startswith(b"HTTP/1.1 404 ")


FAR = 70_000


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /health HTTP/1.1\r\nhost: localhost\r\na: %b\r\n\r\n" % (b"x" * FAR),
        b"GET /health HTTP/1.1\r\nhost: localhost\r\n%b\r\n" % (b"a: b\r\n" * (FAR // 5)),
        b"GET /health?%b HTTP/1.1\r\nhost: localhost\r\n\r\n" % (b"x" * FAR),
        b"GET /health HTTP/1.1\r\nhost: localhost\r\na: %b" % (b"x" * 1_000_000),
        b"GET /%b" % (b"x" * 1_000_000),
        b"\x16\x03\x01\x02\x00\x01",
        b"HELLO\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost localhost\r\n\r\n",
        b"CONNECT page.example:80 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        HEAD.replace(b"content-length: %d" % len(BODY), b"transfer-encoding: chunked") + b"one\r\n",
        b"\r\n" * 5,
    ],
    ids=["header", "headers", "path", "endless header", "endless path", "tls", "word", "no colon", "tunnel", "bad chunk", "lines"],
)
def test_the_service_survives_broken_and_giant_requests(served, sent):
    """The service takes or refuses a request that is too large; docs/serving.md shows the proxy that bounds it."""
    with connected(served) as client:
        with contextlib.suppress(ConnectionError):
            client.sendall(sent)
            client.shutdown(socket.SHUT_WR)
        rest(client)
    assert served.get("/health").status_code == 200
    assert served.post().status_code == 200


def test_malformed_http_after_a_request_leaves_its_reply_alone():
    stream = json.dumps({**ASK, "stream": True}).encode()
    with serving(pair(delay=0.05)) as served:
        with contextlib.closing(served.connect(stream)) as client:
            until(client, b"data: ")
            client.sendall(b"\x16\x03\x01\r\n\r\n")
            assert b"HTTP/1.1 200" not in rest(client)
        served.wait(lambda: not served.running)


def test_a_client_that_reads_nothing_loses_its_place(monkeypatch):
    """Its chains are over then, and others may run."""

    def small(settings):
        bound = server.bind(settings)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        return bound

    monkeypatch.setattr("serving.bind", small)
    monkeypatch.setattr(request_log, "SEND_TIMEOUT_S", 0.5)
    body = json.dumps({**ASK, "stream": True, "max_tokens": 8000}).encode()
    with serving(pair("".join(f"{number} " for number in range(8000)))) as served, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", served.port))
        client.sendall(HEAD.replace(b"%d" % len(BODY), b"%d" % len(body)) + body)
        served.wait(lambda: served.state.queue.running)
        served.wait(lambda: not served.state.queue.running)
        assert "speculative_cancelled_requests_total 1.0" in served.get("/metrics").text


@pytest.mark.parametrize("path", PATHS)
def test_shutdown_does_not_wait_for_a_body(path, caplog):
    with serving(drain=300, request_seconds=300) as served, connected(served) as client:
        client.sendall(HEAD.replace(b"/v1/chat/completions", path) + BODY[:5])
        served.wait(lambda: served.server.server_state.tasks)
        served.server.stop()
        got = rest(client)
    assert got.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: 5" in got
    assert b"begins no more chains" in got
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
