"""Keys, addresses, browsers, and what the log and the errors do not say."""

import io
import json
import logging

import pytest
from serving import ASK, pair, serving

from speculative.errors import EngineUnreachable, UsageError
from speculative.serve import logs, work
from speculative.serve.auth import loopback
from speculative.serve.server import make
from speculative.settings import Settings

KEY = "sk-one-secret-key"


def test_keys(tmp_path):
    file = tmp_path / "keys"
    file.write_text(f"# of the team\nsk-from-the-file\n\n{KEY}\n")
    with serving(api_key="sk-first, sk-second", key_file=file) as served:
        for key in ("sk-first", "sk-second", "sk-from-the-file", KEY):
            assert served.post(headers={"authorization": f"Bearer {key}"}).status_code == 200
            assert served.post(headers={"authorization": f"bearer {key}"}).status_code == 200
        for header in (None, "", "Bearer", "Bearer sk-wrong", f"Basic {KEY}", KEY, "Bearer sk-first, sk-second", "Bearer kéy"):
            headers = {} if header is None else {"authorization": header.encode("latin-1")}
            reply = served.post(headers=headers)
            assert reply.status_code == 401
            assert reply.headers["www-authenticate"] == "Bearer"
            assert reply.json()["error"]["code"] == "invalid_api_key"
        for path in ("/v1/models", "/metrics", "/openapi.json", "/docs", "/v1/nothing"):
            assert served.get(path).status_code == 401
        for path in ("/health", "/ready", "/ping"):
            assert served.get(path).status_code == 200


def test_other_machines_need_a_key(tmp_path):
    for host in ("0.0.0.0", "::", "192.168.0.5", "example.org"):
        with pytest.raises(UsageError, match="--no-auth"):
            make(Settings(host=host))
        make(Settings(host=host, no_auth=True))
        make(Settings(host=host, api_key=KEY))
    (tmp_path / "empty").write_text("\n# nothing\n")
    for file, told in (("empty", "holds no key"), ("missing", "No such file")):
        with pytest.raises(UsageError, match=told):
            make(Settings(key_file=tmp_path / file))
    assert [loopback(host) for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost", "0.0.0.0", "x")] == [
        True,
        True,
        True,
        True,
        False,
        False,
    ]


def test_cors_is_off_unless_given():
    asked = {"origin": "https://page.example", "access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    with serving() as served:
        assert "access-control-allow-origin" not in served.post(headers={"origin": "https://page.example"}).headers
    with serving(cors_origin=["https://page.example"], api_key=KEY) as served:
        import httpx2

        allowed = httpx2.request("OPTIONS", f"{served.url}/v1/chat/completions", headers=asked)
        assert allowed.headers["access-control-allow-origin"] == "https://page.example"
        other = httpx2.request("OPTIONS", f"{served.url}/v1/chat/completions", headers={**asked, "origin": "https://other.example"})
        assert "access-control-allow-origin" not in other.headers
        assert served.post(headers={"origin": "https://page.example"}).status_code == 401


def logged(level="debug", keys=()):
    stream = io.StringIO()
    handler = logs.set_up(level, logs.Scrubber(keys), stream)
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


def test_request_ids_are_made_where_a_given_one_is_none(served):
    for given in ("", "two words", "x" * 200, "ü"):
        made = served.get("/health", headers={"x-request-id": given.encode()}).headers["x-request-id"]
        assert made.startswith("req-")
    assert served.get("/v1/nothing", headers={"x-request-id": "abc"}).headers["x-request-id"] == "abc"


class Broken:
    """An engine whose server is away, and whose error says too much."""

    def __init__(self, inner, error):
        self._inner, self._error = inner, error

    def __getattr__(self, name):
        return getattr(self._inner, name)

    async def complete(self, *_, **__):
        raise self._error

    async def stream(self, *_, **__):
        raise self._error
        yield


@pytest.mark.parametrize("stream", [False, True])
def test_errors_of_engines_are_typed_and_keep_secrets(monkeypatch, stream):
    monkeypatch.setenv("HF_TOKEN", "hf_very_secret")
    secret = f"http://user:pass@host/v1 refused {KEY} with hf_very_secret, Bearer abc.def"
    stream_out, handler = logged()
    try:
        engines = pair()
        engines._engines["big"] = Broken(engines["big"], EngineUnreachable(secret))
        with serving(engines, api_key=KEY) as served:
            headers = {"authorization": f"Bearer {KEY}"}
            reply = served.post(json={**ASK, "model": "speculative/big_only", "stream": stream}, headers=headers)
            assert (reply.status_code, reply.json()["error"]["code"]) == (502, "EngineUnreachable")
            ready = served.get("/ready")
            assert ready.status_code == 503
            metrics = served.get("/metrics", headers=headers).text
            assert 'speculative_engine_errors_total{kind="EngineUnreachable"} 1.0' in metrics
            assert 'speculative_tokens_total{fate="discarded",role="big"}' in metrics
    finally:
        logs.take_down(handler)
    for told in (reply.text, ready.text, stream_out.getvalue()):
        assert "refused" in told
        for hidden in (KEY, "hf_very_secret", "user:pass", "abc.def"):
            assert hidden not in told


@pytest.mark.parametrize("stream", [False, True])
def test_a_bug_is_an_error_500_that_says_nothing(stream, monkeypatch):
    async def broken(*_, **__):
        raise ValueError("the hidden question")

    monkeypatch.setattr(work, "run", broken)
    stream_out, handler = logged()
    try:
        with serving() as served:
            reply = served.post(json={**ASK, "stream": stream})
            assert reply.status_code == 500
    finally:
        logs.take_down(handler)
    assert "hidden" not in reply.text + stream_out.getvalue()
    assert "ValueError" in stream_out.getvalue()


def test_an_unforeseen_error_of_an_engine_is_told_to_the_client_alone():
    engines = pair()
    engines._engines["big"] = Broken(engines["big"], ValueError("the hidden question"))
    stream_out, handler = logged()
    try:
        with serving(engines) as served:
            assert served.post(json={**ASK, "model": "speculative/big_only"}).status_code == 502
    finally:
        logs.take_down(handler)
    assert "hidden" not in stream_out.getvalue()


class Late(Broken):
    """An engine that writes something, and then fails."""

    async def stream(self, prefix, decoding, *, key, tally):
        async for delta in self._inner.stream(prefix, decoding, key=key, tally=tally):
            yield delta
            if tally.produced_tokens > 4:
                raise self._error


def test_an_error_in_the_middle_of_a_stream_is_told_in_it():
    engines = pair()
    engines._engines["big"] = Late(engines["big"], EngineUnreachable("it went away"))
    with serving(engines) as served:
        reply = served.post(json={**ASK, "model": "speculative/big_only", "stream": True})
        assert reply.status_code == 200
        assert "[DONE]" not in reply.text
        assert json.loads(reply.text.strip().split("\n\n")[-1][6:])["error"]["message"] == "it went away"


def test_loggers_are_left_as_they_were():
    _, handler = logged()
    logs.take_down(handler)
    for name in logs.LOGGERS:
        logger = logging.getLogger(name)
        assert (handler in logger.handlers, logger.level, logger.propagate) == (False, logging.NOTSET, True)
