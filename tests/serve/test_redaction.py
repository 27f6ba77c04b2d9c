"""Clients learn the role of a failed engine and the kind of failure; its address is for the log alone."""

import io
import json

import pytest
from serving import ASK, TEXT, Broken, Late, serving
from strategies import Mortal

from speculative import errors
from speculative.pair import Pair
from speculative.redaction import Redactor, without_address
from speculative.serve import logs
from speculative.testing import ScriptedEngine

HOST = "10.9.8.7"
URL = f"http://{HOST}:8000/v1"
WORDS = f"{URL}/completions: no connection (Connect call failed ('{HOST}', 8000)); start a server there or give another address"
RAW = {"model": "speculative/big_only", "prompt": "Once"}
BIG = {**ASK, "model": "speculative/big_only"}


def engines(kind=None, error=None, **settings):
    big, small = (ScriptedEngine(TEXT, name=f"{name} at {URL} (and 2 more)", width=2, **settings) for name in "BS")
    return Pair(kind(big, error) if kind else big, small)


def asked(served, body, path="/v1/chat/completions"):
    """All that a client gets to see, and the reply."""
    reply = served.post(path, body)
    whole = reply.text + str(reply.headers)
    assert HOST not in whole
    assert ":8000" not in whole
    return reply


@pytest.fixture
def log():
    stream = io.StringIO()
    handler = logs.set_up("debug", Redactor(), stream)
    yield stream
    logs.take_down(handler)


FAILURES = [
    (errors.EngineUnreachableError(WORDS), "cannot be reached", "engine_unreachable"),
    (errors.EngineTimeoutError(WORDS), "in time", "engine_timeout"),
    (errors.EngineBusyError(WORDS), "turned the call away", "engine_busy"),
    (errors.EngineRefusedError(WORDS), "refused", "engine_refused"),
    (errors.EngineServerError(WORDS), "broke", "engine_server_error"),
    (errors.EngineError(WORDS), "failed", "engine_error"),
    (errors.UnknownSpecialTokenError(WORDS), "failed", "engine_error"),
    (OSError(WORDS), "failed", "engine_error"),
    (errors.EngineClosedError(WORDS), "closed", "engine_closed"),
]


@pytest.fixture(scope="module")
def failing():
    with serving(engines(Broken)) as running:
        yield running


@pytest.mark.parametrize(("error", "kind", "code"), FAILURES, ids=[type(error).__name__ for error, _, _ in FAILURES])
def test_a_failure_names_the_role_its_kind_and_the_request(log, failing, error, kind, code):
    failing.engines["big"].error = error
    replies = [asked(failing, BIG), asked(failing, {**BIG, "stream": True}), asked(failing, RAW, "/v1/completions")]
    seed = asked(failing, {"question": "2 + 2?", "placeholder_mode": True}, "/speculative_reason")
    for reply in (*replies, seed):
        assert reply.status_code == (503 if isinstance(error, errors.EngineClosedError | errors.EngineBusyError) else 502)
        told = reply.json()["error"] if reply is seed else reply.json()["error"]["message"]
        assert told.startswith("the big model")
        assert kind in told
        assert reply is seed or reply.json()["error"]["code"] == code
        assert reply.headers["x-request-id"] in told
    failed = [line for line in map(json.loads, log.getvalue().splitlines()) if line["event"] == "failed"]
    assert [line["request"] for line in failed] == [reply.headers["x-request-id"] for reply in (*replies, seed)]
    if isinstance(error, errors.EngineError) and type(error) is not errors.EngineError:  # what else there is may quote the prompt
        assert all(line["reason"] == WORDS for line in failed)


def test_an_exceeded_context_gets_400(failing):
    error = errors.ContextExceededError("B", 5000, 4096)
    error.role = "big"
    failing.engines["big"].error = error
    for body in (BIG, {**BIG, "stream": True}):
        reply = asked(failing, body)
        assert (reply.status_code, reply.json()["error"]["code"]) == (400, "context_length_exceeded")


@pytest.mark.parametrize(
    ("after", "status", "reply", "retry"),
    [
        (2.3, 429, 429, "3"),
        (1e9, 429, 429, "3600"),
        (0.0, 503, 503, "1"),
        (None, 429, 429, "5"),
        (None, 503, 503, "5"),
        (30.0, 502, 502, None),
        (None, 504, 502, None),
    ],
)
def test_a_busy_model_server_gets_its_own_status_and_retry_after(failing, after, status, reply, retry):
    failing.engines["big"].error = errors.EngineBusyError(WORDS, after, status)
    for body in (BIG, {**BIG, "stream": True}):
        refused = asked(failing, body)
        assert (refused.status_code, refused.headers.get("retry-after")) == (reply, retry)
        assert "turned the call away" in refused.json()["error"]["message"]


@pytest.mark.parametrize("context", [4096, None])
def test_a_context_refused_by_a_model_server_gets_400(failing, context):
    failing.engines["big"].error = errors.ContextExceededError(WORDS, None, context, "maximum context length is 4096")
    refused = asked(failing, BIG)
    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == "context_length_exceeded"
    assert refused.json()["error"]["message"].startswith("the big model: the prefix does not fit into its context")


def test_a_failure_in_the_middle_of_a_stream(log):
    with serving(engines(Late, errors.EngineServerError(WORDS))) as served:
        reply = asked(served, {**BIG, "stream": True, "events": True})
    last = json.loads(reply.text.strip().split("\n\n")[-1][6:])["error"]
    assert last["code"] == "engine_server_error"
    assert "the big model's server broke" in last["message"]
    assert reply.headers["x-request-id"] in last["message"]
    assert HOST in log.getvalue()


class Gone(Mortal):
    """Its server dies with words that name it."""

    async def _pace(self, tokens, stats):
        try:
            await super()._pace(tokens, stats)
        except errors.EngineUnreachableError:
            raise errors.EngineUnreachableError(WORDS) from None


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("wrappers", [[], ["vote(ballots=2)"]])
def test_events_show_no_address(log, stream, wrappers):
    pair = Pair(ScriptedEngine(TEXT, name=f"B at {URL}"), Gone(TEXT, name=f"S at {URL}", lives=9))
    body = {**ASK, "model": "speculative/small_only", "degrade": "big", "events": True, "with": wrappers, "stream": stream}
    with serving(pair) as served:
        reply = asked(served, body)
        assert reply.status_code == 200
        for told in ('"started"', '"B"', '"S"', '"degraded"', '"cancelled"', "the small model's server was lost"):
            assert told in reply.text
        seed = asked(served, {"question": "2 + 2?", "spec_rewrite": True}, "/speculative_reason")
        assert seed.status_code == 502
        for path in ("/health", "/ready", "/ping", "/v1/models", "/metrics", "/openapi.json"):
            assert HOST not in served.get(path).text
    (line,) = [line for line in map(json.loads, log.getvalue().splitlines()) if line["event"] == "chain"]
    assert (line["request"], line["degraded"], line["reason"]) == (reply.headers["x-request-id"], "small", WORDS)


def test_usage_records_show_no_address():
    with serving(engines()) as served:
        records = asked(served, {"question": "2 + 2?", "random_switch": True}, "/speculative_reason").json()["usage_records"]
    assert {record["Model"] for record in records} <= {"B", "S"}


def test_a_request_beyond_an_engines_abilities_gets_400():
    with serving(engines(abilities=frozenset({"continue", "ids", "stream"}))) as served:
        reply = asked(served, {**ASK, "model": "speculative/logprob_subselect"})
        assert (reply.status_code, "of the big model, which B lacks" in reply.json()["error"]["message"]) == (400, True)
    with serving(engines(context=40)) as served:
        for body in (ASK, {**ASK, "stream": True}):
            reply = asked(served, {**body, "messages": [{"role": "user", "content": "two and two " * 20}]})
            assert (reply.status_code, reply.json()["error"]["code"]) == (400, "context_length_exceeded")
            assert reply.json()["error"]["message"].startswith("the big model: a prefix of ")
            assert "does not fit into its context of 40; shorten the problem" in reply.json()["error"]["message"]


@pytest.mark.parametrize("name", ["bundled:big", "a model at home", "org/model at 7b"])
def test_a_name_without_an_address_stays(name):
    assert without_address(name) == name
