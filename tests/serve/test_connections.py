"""Requests that come slowly, in part, or with far too much before their body."""

import contextlib
import json
import socket
import time

import pytest
from serving import ASK, THOUGHT, pair, serving

from speculative.serve import server

BODY = json.dumps(ASK).encode()
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(BODY)
HEALTH = b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n"


@pytest.fixture(scope="module")
def hasty():
    """A service that gives a request 0.3 s to arrive."""
    with serving(request_seconds=0.3) as running:
        yield running


@contextlib.contextmanager
def connected(served):
    with socket.create_connection(("127.0.0.1", served.port), timeout=20) as client:
        yield client


def rest(client) -> bytes:
    """Everything until the service hangs up."""
    got = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := client.recv(100_000):
            got += piece
    return got


def replied(data: bytes) -> tuple[int, dict]:
    head, _, body = data.partition(b"\r\n\r\n")
    assert b"connection: close" in head
    return int(head.split()[1]), json.loads(body)["error"]


def until(client, found: bytes) -> bytes:
    got = b""
    while found not in got:
        piece = client.recv(100_000)
        assert piece, got
        got += piece
    return got


@pytest.mark.parametrize("sent", [b"G", HEALTH[:20], HEALTH[:-2], HEAD[:-10]], ids=["letter", "line", "headers", "post"])
def test_a_head_that_never_ends(hasty, sent):
    with connected(hasty) as client:
        client.sendall(sent)
        status, error = replied(rest(client))
    assert (status, error["code"]) == (408, "request_timeout")
    assert "0.3 s" in error["message"]
    assert "--request-seconds" in error["message"]
    assert 'route="other",status="408"' in hasty.get("/metrics").text


@pytest.mark.parametrize("sent", [b"", b"{", BODY[:-1]], ids=["none", "one", "all but one"])
def test_a_body_that_stops(hasty, sent):
    with connected(hasty) as client:
        client.sendall(HEAD + sent)
        data = rest(client)
    status, error = replied(data)
    assert (status, error["code"]) == (408, "request_timeout")
    assert b"x-request-id: req-" in data
    assert 'route="/v1/chat/completions",status="408"' in hasty.get("/metrics").text


@pytest.mark.parametrize("head", [b"", HEAD], ids=["head", "body"])
def test_trickling_does_not_help(hasty, head):
    """The deadline is the request's, not a piece's."""
    with connected(hasty) as client:
        client.sendall(head)
        client.settimeout(0.1)
        got = b""
        for byte in HEAD * 10:
            with contextlib.suppress(TimeoutError):
                got = client.recv(1000)
                break
            client.sendall(bytes([byte]) if not head else b" ")
        else:
            pytest.fail("it was never told to stop")
    assert b" 408 " in got


def test_empty_lines_are_no_request(hasty):
    with connected(hasty) as client:
        client.sendall(b"\r\n" * 5)
        assert rest(client) == b""


def test_nothing_at_all_is_an_idle_connection(monkeypatch):
    monkeypatch.setattr(server, "KEEP_ALIVE", 0.2)
    with serving() as served, connected(served) as client:
        assert rest(client) == b""


def test_idle_connections_stay(hasty):
    with connected(hasty) as client:
        for _ in range(2):
            client.sendall(HEALTH)
            assert b" 200 " in until(client, b'"ok"}')
            client.settimeout(0.6)
            with pytest.raises(TimeoutError):
                client.recv(1)
        client.sendall(b"\r\n" + HEALTH[:7])  # and the next request's time begins with its first byte
        assert b" 408 " in rest(client)


def test_a_request_in_pieces_and_a_long_reply():
    with serving(pair(delay=0.03), request_seconds=0.5) as served, connected(served) as client:
        whole = HEAD + BODY
        for start in range(0, len(whole), 50):
            client.sendall(whole[start : start + 50])
        body = until(client, b"}}")
        assert b" 200 " in body
        assert json.dumps(THOUGHT).strip('"').encode() in body


def test_what_was_asked_before_is_answered_first():
    """The half of a second request does not end the first one's reply."""
    with serving(pair(delay=0.03), request_seconds=0.2) as served, connected(served) as client:
        client.sendall(HEAD + BODY + HEAD + BODY[:5])
        first, second = rest(client).split(b"HTTP/1.1 ")[1:]
        assert (first[:3], second[:3]) == (b"200", b"408")
    with serving(pair(delay=0.03), request_seconds=0.2) as served, connected(served) as client:
        client.sendall(HEAD + BODY + HEALTH[:9])
        first, second = rest(client).split(b"HTTP/1.1 ")[1:]
        assert (first[:3], second[:3]) == (b"200", b"408")


@pytest.mark.parametrize("path", [b"/v1/chat/completions", b"/speculative_reason"])
def test_who_hangs_up_in_the_middle_of_a_body_is_no_bug(served, path, caplog):
    with connected(served) as client:
        client.sendall(HEAD.replace(b"/v1/chat/completions", path) + BODY[:5])
    told = f'route="{path.decode()}",status="400"'
    served.wait(lambda: told in served.state.metrics.page().decode())
    assert not [record for record in caplog.records if record.getMessage() == "bug"]


def test_a_body_that_nobody_waits_for_is_not_waited_for(hasty):
    with connected(hasty) as client:
        client.sendall(HEAD.replace(b"/v1/chat", b"/v1/nothing") + BODY[:5])
        data = rest(client)
        assert b" 404 " in data
        assert b" 408 " not in data


FAR = 70_000


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /health HTTP/1.1\r\nhost: localhost\r\na: %b\r\n\r\n" % (b"x" * FAR),
        b"GET /health HTTP/1.1\r\nhost: localhost\r\n%b\r\n" % (b"a: b\r\n" * (FAR // 5)),
        b"GET /health?%b HTTP/1.1\r\nhost: localhost\r\n\r\n" % (b"x" * FAR),
        b"GET /health HTTP/1.1\r\nhost: localhost\r\na: %b" % (b"x" * 1_000_000),
        b"GET /%b" % (b"x" * 1_000_000),
        HEAD.replace(b"content-length: %d" % len(BODY), b"transfer-encoding: chunked") + b"1\r\n{\r\n0\r\na: " + b"b" * 1_000_000,
    ],
    ids=["one", "many", "path", "endless", "endless path", "trailers"],
)
@pytest.mark.parametrize("pieces", [1_000, 10_000_000], ids=["pieces", "whole"])
def test_more_head_than_anybody_needs(served, sent, pieces):
    with connected(served) as client:
        with contextlib.suppress(ConnectionError):
            for start in range(0, len(sent), pieces):
                client.sendall(sent[start : start + pieces])
        data = rest(client)
    if data:  # who still sends may lose the reply, not the connection's end
        status, error = replied(data)
        assert (status, error["code"]) == (431, "headers_too_large")
        assert "65536" in error["message"]
    assert served.get("/health").status_code == 200


def test_large_headers_are_taken(served):
    for pieces in (997, 10_000_000):
        with connected(served) as client:
            sent = HEALTH[:-2] + b"cookie: %b\r\n\r\n" % (b"x" * 60_000)
            for start in range(0, len(sent), pieces):
                client.sendall(sent[start : start + pieces])
            assert b" 200 " in until(client, b'"ok"}')


def test_a_body_that_is_no_http(hasty):
    with connected(hasty) as client:
        client.sendall(HEAD.replace(b"content-length: %d" % len(BODY), b"transfer-encoding: chunked") + b"one\r\n")
        assert replied(rest(client))[0] == 400


@pytest.mark.parametrize("sent", [b"\x16\x03\x01\x02\x00\x01", b"HELLO\r\n\r\n", b"GET / HTTP/1.1\r\nhost localhost\r\n\r\n"])
def test_what_is_no_http(served, sent):
    with connected(served) as client:
        client.sendall(sent)
        status, error = replied(rest(client))
    assert (status, error["code"]) == (400, "invalid_http")


def test_what_is_no_http_does_not_get_into_a_reply():
    stream = json.dumps({**ASK, "stream": True}).encode()
    with serving(pair(delay=0.05)) as served:
        with contextlib.closing(served.connect(stream)) as client:
            until(client, b"data: ")
            client.sendall(b"\x16\x03\x01\r\n\r\n")
            assert b"HTTP/1.1" not in rest(client)
        served.wait(lambda: not served.running)


@contextlib.contextmanager
def patient(monkeypatch):
    """A service that waits 0.5 s for a client to take something, of which the system keeps little."""

    def small(settings):
        bound = server.bind(settings)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        return bound

    monkeypatch.setattr("serving.bind", small)
    monkeypatch.setattr("speculative.serve.connection.STALLED", 0.5)
    body = json.dumps({**ASK, "stream": True, "max_tokens": 4000}).encode()
    with serving(pair("".join(f"{number} " for number in range(4000)))) as served, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(20)
        client.connect(("127.0.0.1", served.port))
        client.sendall(HEAD.replace(b"%d" % len(BODY), b"%d" % len(body)) + body)
        served.wait(lambda: served.state.queue.running)
        yield served, client


def test_a_client_that_takes_nothing_holds_no_place(monkeypatch):
    """It is hung up on: its chains are over, and others may want to come in."""
    with patient(monkeypatch) as (served, _):
        served.wait(lambda: not served.state.queue.running)
        assert "speculative_cancelled_requests_total 1.0" in served.get("/metrics").text


def test_a_client_that_takes_little_gets_all(monkeypatch):
    with patient(monkeypatch) as (served, client):
        got = b""
        while b"[DONE]" not in got[-100:] and (piece := client.recv(4096)):
            got += piece
            time.sleep(0.03)
        assert got.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
        assert "speculative_cancelled_requests_total 0.0" in served.get("/metrics").text


GET = b"GET %b HTTP/1.1\r\n%b\r\n"
MODELS = b"/v1/models"


@pytest.fixture(scope="module")
def named():
    """A service that is called by any name."""
    with serving(allowed_host=["*"]) as running:
        yield running


@pytest.mark.parametrize(
    ("target", "hosts"),
    [
        (MODELS, [b"localhost", b"page.example"]),
        (MODELS, [b"page.example", b"localhost"]),
        (MODELS, [b"localhost", b"localhost"]),
        (MODELS, [b"localhost", b""]),
        (b"http://page.example/v1/models", [b"localhost"]),
        (b"http://page.example/?x=//localhost/", [b"localhost"]),
        (b"HTTP://page.example:80/v1/models", [b"localhost"]),
        (b"http://me@localhost/v1/models", [b"localhost"]),
        (b"http://localhost/v1/models", [b"localhost", b"localhost"]),
    ],
)
def test_two_hosts_in_one_request(served, named, target, hosts):
    """Whoever stands between may have gone by the other one."""
    for service in (served, named):
        with connected(service) as client:
            client.sendall(GET % (target, b"".join(b"Host: %b\r\n" % host for host in hosts)))
            got = until(client, b"}}")
        assert b" 400 " in got.partition(b"\r\n")[0]
        error = json.loads(got.partition(b"\r\n\r\n")[2])["error"]
        assert (error["code"], "one Host" in error["message"]) == ("several_hosts", True)


@pytest.mark.parametrize(
    ("target", "hosts", "status"),
    [
        (b"http://localhost:80/v1/models?x=http://page.example", [b"LocalHost:80"], b"200"),
        (b"http://[::1]/v1/models", [b"[::1]"], b"200"),
        (b"http://page.example/v1/models", [b"page.example"], b"403"),
        (b"http://page.example/v1/models", [], b"403"),
        (b"http://localhost/v1/models", [], b"200"),
        (b"/v1/models?x=http://page.example/", [b"localhost"], b"200"),
    ],
)
def test_a_target_that_names_its_host(served, target, hosts, status):
    with connected(served) as client:
        client.sendall(GET % (target, b"".join(b"Host: %b\r\n" % host for host in hosts)))
        assert until(client, b"\r\n").split()[1] == status


def test_a_tunnel_is_refused(served):
    with connected(served) as client:
        client.sendall(b"CONNECT page.example:80 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        status, error = replied(rest(client))
    assert (status, error["code"]) == (400, "invalid_http")


@pytest.mark.parametrize("framed", [b"content-length: %d" % len(BODY), b"transfer-encoding: chunked"])
@pytest.mark.parametrize("protocol", [b"Upgrade: h2c", b"upgrade:TLS/1.2, h2c ", b"Upgrade: h2c\r\nUpgrade: websocket"])
def test_who_offers_another_protocol_is_answered_in_http_1(served, framed, protocol):
    """Java's client offers HTTP/2 with every request, unless it is told not to; the parser would take the body for that protocol's."""
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB\r\n" + protocol + b"\r\n"
    body = BODY if b"length" in framed else b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
    head = HEAD.replace(b"content-length: %d" % len(BODY), framed)
    with connected(served) as client:
        for _ in range(2):
            client.sendall(head.replace(b"host:", offer + b"host:") + body)
            got = until(client, b"\r\n\r\n")
            assert got.startswith(b"HTTP/1.1 200 ")
            until(client, b"}}") if b"}}" not in got else None


@pytest.mark.parametrize("path", [b"/v1/chat/completions", b"/speculative_reason"])
def test_a_body_that_is_on_its_way_when_the_service_stops_is_not_waited_for(path, caplog):
    with serving(drain=30) as served, connected(served) as client:
        client.sendall(HEAD.replace(b"/v1/chat/completions", path) + BODY[:5])
        served.wait(lambda: served.server.server_state.tasks)
        served.server.stop()
        got = rest(client)
    assert got.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: 5" in got
    assert b"begins no more chains" in got
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
