"""Keys, addresses, browsers, and what the log and the errors do not say."""

import io
import json
import logging
import socket

import pytest
from serving import ASK, Broken, Late, pair, serving

from speculative.errors import EngineUnreachableError, UsageError
from speculative.redaction import Redactor
from speculative.serve import chains, logs
from speculative.serve.security import is_loopback
from speculative.serve.server import make_server
from speculative.settings import Settings

KEY = "sk-one-secret-key"


def test_keys(tmp_path):
    file = tmp_path / "keys"
    file.write_bytes(f"\ufeffsk-from-the-file\r\n  # of the team\r\n\r\n  {KEY} \r\n".encode())  # as an editor on Windows leaves it
    with serving(api_key="sk-first, sk-second", key_file=file) as served:
        for key in ("sk-first", "sk-second", "sk-from-the-file", KEY):
            assert served.post(headers={"authorization": f"Bearer {key}"}).status_code == 200
            assert served.post(headers={"authorization": f"bearer {key}"}).status_code == 200
        for header in (
            None,
            "",
            "Bearer",
            "Bearer sk-wrong",
            f"Basic {KEY}",
            KEY,
            "Bearer # of the team",
            "Bearer sk-first, sk-second",
            "Bearer kéy",
        ):
            headers = {} if header is None else {"authorization": header.encode("latin-1")}
            reply = served.post(headers=headers)
            assert reply.status_code == 401
            assert reply.headers["www-authenticate"] == "Bearer"
            assert reply.json()["error"]["code"] == "invalid_api_key"
        for path in ("/v1/models", "/models", "/metrics", "/openapi.json", "/docs"):
            assert served.get(path).status_code == 401
        for path in ("/health", "/ready", "/ping"):
            assert served.get(path).status_code == 200


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        ({}, "the service needs a key; send one in the header `Authorization: Bearer KEY`"),
        ({"x-api-key": "sk-first"}, "the service needs a key; send one in the header `Authorization: Bearer KEY`"),
        (
            {"authorization": "sk-first"},
            "the header `Authorization` must be `Bearer KEY`, got another form; write `Bearer`, a space and the key",
        ),
        (
            {"authorization": "Basic sk-first"},
            "the header `Authorization` must be `Bearer KEY`, got another form; write `Bearer`, a space and the key",
        ),
        (
            {"authorization": "Bearer sk-wrong"},
            "the key is not valid; send a key of this service in the header `Authorization: Bearer KEY`",
        ),
    ],
)
def test_a_refusal_says_how_to_send_a_key(headers, told):
    with serving(api_key="sk-first") as served:
        message = served.post(headers=headers).json()["error"]["message"]
    assert message.startswith(told)
    assert "***" not in message


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("send `Authorization: Bearer KEY`", "send `Authorization: Bearer KEY`"),
        ("Authorization: Bearer KEYS5x", "Authorization: Bearer ***"),
        ("Authorization: Bearer secret", "Authorization: Bearer ***"),
        ("unknown model 'bearer bonds'", "unknown model 'bearer bonds'"),
        ("header: bearer abc.def, refused", "header: bearer ***, refused"),
        ("header: bearer k1", "header: bearer ***"),
        (f"header: bearer {'a' * 24}", "header: bearer ***"),
    ],
)
def test_bearer_keys_are_redacted_and_words_are_not(text, shown):
    assert Redactor()(text) == shown


@pytest.mark.parametrize(
    ("method", "path", "status", "code", "told"),
    [
        ("POST", "/v1/embeddings", 404, "not_found", "POST /v1/embeddings: the service has no such route; GET /openapi.json lists"),
        ("GET", "/v1/completions", 405, "method_not_allowed", "must be called with POST, got GET"),
    ],
)
def test_an_unknown_route_gets_a_plain_code_and_the_next_step(served, method, path, status, code, told):
    reply = served.post(path, {}) if method == "POST" else served.get(path)
    error = reply.json()["error"]
    assert (reply.status_code, error["code"]) == (status, code)
    assert told in error["message"]


def test_other_machines_need_a_key(tmp_path):
    for host in ("0.0.0.0", "::", "192.168.0.5", "example.org"):
        with pytest.raises(UsageError, match="--no-auth"):
            make_server(Settings(host=host))
        make_server(Settings(host=host, no_auth=True))
        make_server(Settings(host=host, api_key=KEY))
    (tmp_path / "empty").write_text("\n# nothing\n  # indented\n")
    (tmp_path / "beside").write_text("sk-one # of the team\n")
    for file, told in (("empty", "must hold a key"), ("missing", "No such file"), ("beside", "line 1.*white space")):
        with pytest.raises(UsageError, match=told):
            make_server(Settings(key_file=tmp_path / file))
    with pytest.raises(UsageError, match="SPECULATIVE_API_KEY must hold a key"):
        make_server(Settings(api_key=" , "))
    with pytest.raises(UsageError, match=r"SPECULATIVE_API_KEY.*white space") as raised:
        make_server(Settings(api_key="sk-one sk-two"))
    assert "sk-one" not in str(raised.value)
    assert [is_loopback(host) for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost", "0.0.0.0", "x")] == [
        True,
        True,
        True,
        True,
        False,
        False,
    ]


OWN = ("127.0.0.1", "127.0.0.1:80", "localhost", "LocalHost:8080", "app.localhost:3", "[::1]", "[::1]:65535")
FOREIGN = ("page.example", "page.example:8080", "127.0.0.1.page.example", "localhost.example", "xlocalhost", "192.168.0.5:80", "[::2]:80")
FOREIGN += ("0.0.0.0", "me@localhost", "localhost@page.example", "[::1", "::1]", "a:b:c", "localhost:x", "localhost/", "\xe9", ".")


def named(served, host, path="/v1/models", **headers):
    return served.get(path, headers={"host": host.encode("latin-1"), **headers})


def test_without_a_key_only_local_host_names_are_allowed(served):
    """A page whose name was made to mean this machine would be at home here, for its reader's browser."""
    for host in OWN:
        assert named(served, host).status_code == 200, host
    for host in FOREIGN:
        reply = named(served, host)
        assert reply.status_code == 400, host
        error = reply.json()["error"]
        assert error["code"] == "host_not_allowed"
        assert f"got {host!r}; start the service with --allowed-host " in error["message"]
        assert reply.headers["x-request-id"]
    message = named(served, "page.example:8080").json()["error"]["message"]
    assert message.endswith("got 'page.example:8080'; start the service with --allowed-host page.example")
    for path in ("/health", "/ready", "/ping", "/docs", "/metrics", "/nothing"):
        assert named(served, "page.example", path).status_code == 400
    assert served.post("/speculative_reason", {"question": "2 + 2?"}, headers={"host": "page.example"}).status_code == 400
    assert len(named(served, "x" * 60_000).text) < 1000


def test_allowed_hosts():
    with serving(allowed_host=["Box.example", "192.168.0.5", "fd00::5"]) as served:
        for host in (*OWN, "box.example:443", "BOX.EXAMPLE", "192.168.0.5:1", "[fd00::5]:80"):
            assert named(served, host).status_code == 200, host
        for host in ("page.example", "x.box.example", "192.168.0.6"):
            assert named(served, host).status_code == 400, host
    with serving(allowed_host=["*"]) as served:
        assert named(served, "page.example").status_code == 200


def test_with_keys_or_no_auth_any_host_name_is_allowed():
    with serving(api_key=KEY) as served:
        assert named(served, "page.example").status_code == 401
        assert named(served, "page.example", authorization=f"Bearer {KEY}").status_code == 200
    with serving(host="0.0.0.0", no_auth=True) as served:
        assert named(served, "page.example").status_code == 200
    with serving(host="0.0.0.0", no_auth=True, allowed_host=["box.example"]) as served:
        assert named(served, "page.example").status_code == 400
        assert named(served, "box.example").status_code == 200


@pytest.mark.parametrize("host", ["http://box.example", "box.example:80", "a b", "[::1"])
def test_allowed_host_must_be_a_name_or_an_address(host):
    with pytest.raises(UsageError, match=r"allowed_host.*without scheme and port"):
        make_server(Settings(allowed_host=[host]))


def test_the_service_on_the_other_loopback_address():
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no ::1")
    with serving(host="::1") as served:
        served.url = f"http://[::1]:{served.port}"
        assert served.get("/v1/models").status_code == 200
        assert named(served, "page.example").status_code == 400


def test_cors_is_off_unless_given():
    asked = {"origin": "https://page.example", "access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    with serving() as served:
        assert "access-control-allow-origin" not in served.post(headers={"origin": "https://page.example"}).headers
    with serving(cors_origin=["https://page.example"], api_key=KEY) as served:
        import httpx2

        allowed = httpx2.request("OPTIONS", f"{served.url}/v1/chat/completions", verify=False, headers=asked)
        assert allowed.headers["access-control-allow-origin"] == "https://page.example"
        other = httpx2.request(
            "OPTIONS", f"{served.url}/v1/chat/completions", verify=False, headers={**asked, "origin": "https://other.example"}
        )
        assert "access-control-allow-origin" not in other.headers
        assert served.post(headers={"origin": "https://page.example"}).status_code == 401


@pytest.mark.parametrize(
    "origin", ["page.example", "https://page.example/", "https://page.example/chat", "", "https://a.example, https://b.example"]
)
def test_cors_origin_must_be_an_origin_as_browsers_send_it(origin):
    with pytest.raises(UsageError, match=r"cors_origin.*like https://page\.example"):
        make_server(Settings(cors_origin=[origin]))


@pytest.mark.parametrize("given", ["https://Page.example", "http://localhost:3000", "http://[::1]:3000", "null", "*"])
def test_origins_are_compared_in_lower_case(given):
    sent = "https://page.example" if given == "*" else given.lower()
    with serving(cors_origin=[given]) as served:
        assert served.get("/health", headers={"origin": sent}).headers["access-control-allow-origin"] in (sent, "*")


def test_errors_have_cors_headers_too():
    """Without the header that allows it, a browser shows a page nothing of a reply."""
    page = {"origin": "https://page.example"}
    key = {"authorization": f"Bearer {KEY}"}
    with serving(cors_origin=["https://page.example"], api_key=KEY, max_body=1024) as served:
        replies = {
            401: served.post(headers=page),
            413: served.post(headers=page | key, content=b"x" * 2000),
            400: served.post(headers=page | key, json={}),
            404: served.get("/nothing", headers=page | key),
            200: served.post(headers=page | key),
        }
        for status, reply in replies.items():
            assert reply.status_code == status
            assert reply.headers["access-control-allow-origin"] == "https://page.example"
            assert reply.headers["access-control-expose-headers"] == "*"
            assert reply.headers["x-request-id"]
        assert "access-control-allow-origin" not in served.post(headers={"origin": "https://other.example"}).headers


def logged(level="debug", keys=()):
    stream = io.StringIO()
    handler = logs.set_up(level, Redactor(keys), stream)
    return stream, handler


@pytest.mark.parametrize("text", [False, True])
def test_the_log_has_lines_and_prompts_only_when_asked(text):
    stream, handler = logged()
    try:
        with serving(log_text=text, log_level="debug") as served:
            reply = served.post(
                json={**ASK, "user": "u-17", "messages": [{"role": "user", "content": "the hidden question"}]},
                headers={"x-request-id": "my-id.7"},
            )
            served.post(json={**ASK, "temperature": "the hidden question"})
        assert reply.headers["x-request-id"] == "my-id.7"
    finally:
        logs.take_down(handler)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    chain = next(line for line in lines if line["event"] == "chain")
    assert (chain["request"], chain["user"], chain["finish"]) == ("my-id.7", "u-17", ["stop"])
    assert ("the hidden question" in stream.getvalue()) == text
    assert any(line["event"] == "request" and line["status"] == 400 for line in lines)


def test_a_bad_request_id_is_replaced(served):
    for given in ("", "two words", "x" * 200, "ü"):
        made = served.get("/health", headers={"x-request-id": given.encode()}).headers["x-request-id"]
        assert made.startswith("req-")
    assert served.get("/v1/nothing", headers={"x-request-id": "abc"}).headers["x-request-id"] == "abc"


@pytest.mark.parametrize("stream", [False, True])
def test_errors_of_engines_are_typed_and_keep_secrets(monkeypatch, stream):
    monkeypatch.setenv("HF_TOKEN", "hf_very_secret")
    secret = f"http://user:pass@host/v1 refused {KEY} with hf_very_secret, Bearer abc.def"
    stream_out, handler = logged()
    try:
        engines = pair()
        engines._engines["big"] = Broken(engines["big"], EngineUnreachableError(secret))
        with serving(engines, api_key=KEY) as served:
            headers = {"authorization": f"Bearer {KEY}"}
            reply = served.post(json={**ASK, "model": "speculative/big_only", "stream": stream}, headers=headers)
            assert (reply.status_code, reply.json()["error"]["code"]) == (502, "engine_unreachable")
            ready = served.get("/ready")
            assert ready.status_code == 503
            metrics = served.get("/metrics", headers=headers).text
            assert 'speculative_engine_errors_total{kind="engine_unreachable"} 1.0' in metrics
            assert 'speculative_tokens_total{fate="discarded",role="big"}' in metrics
    finally:
        logs.take_down(handler)
    assert "refused" in stream_out.getvalue()
    for told in (reply.text, ready.text):
        assert "refused" not in told
    for told in (reply.text, ready.text, stream_out.getvalue()):
        for hidden in (KEY, "hf_very_secret", "user:pass", "abc.def"):
            assert hidden not in told


@pytest.mark.parametrize("stream", [False, True])
def test_a_bug_gets_500_without_details(stream, monkeypatch):
    async def broken(*_, **__):
        raise ValueError("the hidden question")

    monkeypatch.setattr(chains, "run", broken)
    stream_out, handler = logged()
    try:
        with serving() as served:
            reply = served.post(json={**ASK, "stream": stream})
            assert reply.status_code == 500
    finally:
        logs.take_down(handler)
    assert "hidden" not in reply.text + stream_out.getvalue()
    assert "ValueError" in stream_out.getvalue()


def test_the_message_of_an_unexpected_engine_error_is_not_shown():
    engines = pair()
    engines._engines["big"] = Broken(engines["big"], ValueError("the hidden question"))
    stream_out, handler = logged()
    try:
        with serving(engines) as served:
            reply = served.post(json={**ASK, "model": "speculative/big_only"})
            assert reply.status_code == 502
    finally:
        logs.take_down(handler)
    assert "hidden" not in reply.text + stream_out.getvalue()
    assert "ValueError" in stream_out.getvalue()


def test_an_error_in_the_middle_of_a_stream_is_an_event():
    engines = pair()
    engines._engines["big"] = Late(engines["big"], EngineUnreachableError("it went away"))
    with serving(engines) as served:
        reply = served.post(json={**ASK, "model": "speculative/big_only", "stream": True})
        assert reply.status_code == 200
        assert "[DONE]" not in reply.text
        assert json.loads(reply.text.strip().split("\n\n")[-1][6:])["error"]["code"] == "engine_unreachable"


def test_loggers_are_restored():
    _, handler = logged()
    logs.take_down(handler)
    for name in logs.LOGGERS:
        logger = logging.getLogger(name)
        assert (handler in logger.handlers, logger.level, logger.propagate) == (False, logging.NOTSET, True)
