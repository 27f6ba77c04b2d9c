"""A server may send anything: lines, events and error bodies without end cost a bounded amount of memory, and end in a typed error."""

import asyncio
import contextlib
import json
import tracemalloc
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from profiles import quick_cases

from speculative.engines.base import CallStats, Decoding
from speculative.engines.http import client as http
from speculative.engines.http import retries
from speculative.engines.http.busy import retry_after
from speculative.engines.http.client import Deadlines, EventParser, LineTooLongError
from speculative.engines.http.engine import OpenAIEngine
from speculative.engines.http.replicas import Replicas
from speculative.errors import ContextExceededError, EngineBusyError, EngineRefusedError, EngineServerError, EngineTimeoutError
from speculative.testing import ScriptedEngine, ScriptedTokenizer
from speculative.testing.fake_server import FakeServer, Fault

EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"


@contextlib.asynccontextmanager
async def endless(head, piece):
    """An engine whose server answers with `head`, and then with `piece` again and again until the client leaves."""
    sent = 0

    async def answer(reader, writer):
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        with contextlib.suppress(OSError):
            writer.write(head)
            while True:
                writer.write(piece)
                sent += len(piece)
                await writer.drain()
                await asyncio.sleep(0)
        writer.close()

    async with FakeServer(ScriptedEngine("x")) as known, await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        engine = await OpenAIEngine.connect(known.url, tokenizer=ScriptedTokenizer(), dialect="chatml")
        engine.client.replicas = Replicas([f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"])
        try:
            yield engine, lambda: sent
        finally:
            await engine.aclose()


async def write(engine):
    return await engine.complete([[97]], Decoding(4), key="", stats=CallStats())


@pytest.mark.parametrize("begin", [b"data: ", b": ", b"x", b'data: {"choices": [{"index": 0, "token_ids": [97]}]}\n\ndata: '])
async def test_a_line_without_end(monkeypatch, begin):
    monkeypatch.setattr(http, "MAX_LINE", 1 << 20)
    async with endless(EVENTS + begin, b"x" * 65536) as (engine, sent):
        with pytest.raises(EngineServerError, match=r"127\.0\.0\.1.*a line of more than 1048576 bytes"):
            await write(engine)
        assert sent() < 1 << 24


FLOODS = [b"\n", b": ping\n\n", b"data: {}\n", b"data:\n\n", b'data: {"choices": []}\n']


@pytest.mark.parametrize("piece", quick_cases(flood * (65536 // len(flood)) for flood in FLOODS), ids=map(str, range(len(FLOODS))))
@pytest.mark.parametrize("begin", [b"", b'data: {"choices": [{"index": 0, "token_ids": [97]}]}\n\n'])
async def test_events_without_end_end_at_the_deadline(piece, begin):
    async with endless(EVENTS + begin, piece) as (engine, _):
        engine.client.deadlines = Deadlines(first_token=0.3, between=0.3)
        with pytest.raises(EngineTimeoutError, match="token"):
            await write(engine)


@pytest.mark.parametrize(
    ("status", "error"), [("400 Bad Request", EngineRefusedError), ("500 Oops", EngineServerError), ("429 Later", EngineBusyError)]
)
async def test_an_error_body_without_end(status, error):
    async with endless(f"HTTP/1.1 {status}\r\n\r\n".encode(), b"no " * 20000) as (engine, sent):
        with pytest.raises(error, match=status[:3]) as raised:
            await write(engine)
        assert len(str(raised.value)) < 600
        assert sent() < 1 << 24


async def test_an_answer_without_end(monkeypatch):
    monkeypatch.setattr(http, "MAX_ANSWER", 1 << 20)
    async with endless(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65536) as (engine, sent):
        with pytest.raises(EngineServerError, match="an answer of more than 1048576 bytes"):
            await engine.score([[97]], [[98]], key="", stats=CallStats())
        with pytest.raises(EngineServerError, match="an answer of more than 1048576 bytes"):
            await engine.client.get("/metrics")
        assert sent() < 1 << 25


def test_empty_lines_and_comments_are_not_cut_into_pieces():
    events, flood = EventParser(), b"\n" * (1 << 20)
    tracemalloc.start()
    try:
        assert events.feed(b": " + flood) == []
        assert tracemalloc.get_traced_memory()[1] < 5 << 20  # a list of a million lines would be 40 MB
    finally:
        tracemalloc.stop()
    assert events.feed(b": a\r\n: b\r\ndata: 1\n: c\n\ndata:2\n") == [b"1", b"2"]


def test_a_line_that_comes_in_pieces_is_bounded_as_one_that_comes_at_once(monkeypatch):
    monkeypatch.setattr(http, "MAX_LINE", 100)
    assert EventParser().feed(b"data: " + b"x" * 90 + b"\n") == [b"x" * 90]
    for pieces in ([b"data: " + b"x" * 100], [b"data: ", *[b"x"] * 100], [b"data: 1\n\ndata: " + b"x" * 100]):
        events = EventParser()
        with pytest.raises(LineTooLongError):
            _ = [events.feed(piece) for piece in pieces]


@pytest.mark.parametrize("size", [1, 2, 1000])
def test_a_byte_order_mark_before_the_events_is_not_part_of_them(size):
    data, events, found = b"\xef\xbb\xbfdata: 1\n\ndata: 2\n\n", EventParser(), []
    for place in range(0, len(data), size):
        found += events.feed(data[place : place + size])
    assert found == [b"1", b"2"]


# ---- busy -----------------------------------------------------------------------------------------------------------

NOW = datetime(2026, 11, 30, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("0", 0.0),
        ("7", 7.0),
        (" 7 ", 7.0),
        ("0.25", 0.25),
        (format_datetime(NOW + timedelta(seconds=30), usegmt=True), 30.0),
        ("Monday, 30-Nov-26 12:00:09 GMT", 9.0),
        (format_datetime(NOW - timedelta(seconds=30), usegmt=True), None),
        ("-1", None),
        ("-0.5", None),
        ("soon", None),
        ("", None),
        ("nan", None),
        ("inf", None),
        ("1e3", None),
        ("9" * 400, None),
        ("1,5", None),
        ("\N{ARABIC-INDIC DIGIT SEVEN}", None),
        ("Fri, 99 Foo 2026 99:99:99 GMT", None),
        ("Mon, 30 Nov 99999 12:00:00 GMT", None),
    ],
)
def test_retry_after(said, seconds):
    assert retry_after({"Retry-After": said, "Date": format_datetime(NOW, usegmt=True)}) == seconds


def test_retry_after_by_a_date_without_the_servers_clock():
    soon = retry_after({"Retry-After": format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)})
    assert soon is not None
    assert 3000 < soon <= 3600
    assert retry_after({}) is None


@pytest.mark.parametrize("said", ["-5", "soon", "nan"])
async def test_nonsense_in_retry_after_is_as_none(said):
    async with FakeServer(ScriptedEngine("x" * 9)) as server:
        engine = await OpenAIEngine.connect(server.url, tokenizer=ScriptedTokenizer(), dialect="chatml")
        server.requests.clear()
        server.faults.append(Fault("status", status=429, retry_after=said))
        with pytest.raises(EngineBusyError) as raised:
            await write(engine)
        assert (raised.value.retry_after, raised.value.status, len(server.requests)) == (None, 429, 1)
        await engine.aclose()


# ---- a refused context ----------------------------------------------------------------------------------------------

REFUSALS = [
    ("This model's maximum context length is 4096 tokens. However, you requested 5000 tokens (4900 in the messages).", 4096),
    ("The decoder prompt (length 5001) is longer than the maximum model length of 4096. Make sure that it is no longer.", 4096),
    ("You passed 5001 input tokens. However, the model's context length is only 4096 tokens.", 4096),
    ("The input (5000 tokens) is longer than the model's context length (4096 tokens).", 4096),
    ("the request (5000 tokens) exceeds the available context size (4096 tokens), try increasing it", 4096),
    ("the request exceeds the available context size, try increasing it", None),
    ("Input validation error: `inputs` tokens + `max_new_tokens` must be <= max_total_tokens", None),
]


@pytest.mark.parametrize(("said", "context"), REFUSALS)
@pytest.mark.parametrize("fault", ["status", "error"])
async def test_a_refused_context_is_that_error(said, context, fault):
    """As a status, or as an event in an answer that has begun."""
    async with FakeServer(ScriptedEngine("x" * 9)) as server:
        engine = await OpenAIEngine.connect(server.url, tokenizer=ScriptedTokenizer(), dialect="chatml")
        server.requests.clear()
        server.faults.append(Fault(fault, status=400, said=said))
        with pytest.raises(ContextExceededError, match="does not fit into its context") as raised:
            await write(engine)
        assert raised.value.context == context
        assert said[:40] in str(raised.value)
        assert "shorten the problem" in str(raised.value)
        assert not raised.value.lost
        assert len(server.requests) == 1
        await engine.aclose()


async def test_another_refusal_is_none_of_the_context():
    async with FakeServer(ScriptedEngine("x" * 9)) as server:
        engine = await OpenAIEngine.connect(server.url, tokenizer=ScriptedTokenizer(), dialect="chatml")
        server.faults.extend([Fault("status", status=400, said="unknown field: seed"), Fault("error", said="out of memory")])
        with pytest.raises(EngineRefusedError, match="unknown field"):
            await write(engine)
        with pytest.raises(EngineServerError, match="out of memory"):
            await write(engine)
        await engine.aclose()


@pytest.mark.parametrize("later", [False, True], ids=["first", "later"])
@pytest.mark.parametrize(
    ("error", "status", "seconds"),
    [
        ({"code": 429, "type": "RateLimit", "message": "too many"}, 429, None),
        ({"code": 429, "message": "too many", "retry_after": 7}, 429, 7.0),
        ({"code": "rate_limit_exceeded", "type": "requests", "message": "too many", "retry_after": "60"}, 429, 60.0),
        ({"code": 503, "type": "unavailable_error", "message": "loading", "retry_after": -1}, 503, None),
        ({"code": "too_many_chains", "type": "rate_limit_error", "message": "all places are taken"}, 429, None),
        ({"code": None, "type": "overloaded_error", "message": "later", "retry_after": 40}, 503, 40.0),
    ],
)
async def test_an_error_event_of_a_busy_server_is_busy(monkeypatch, error, status, seconds, later):
    """A server that has begun a stream can send no other status."""
    monkeypatch.setattr(retries, "ATTEMPTS", 1)
    token = b'data: {"choices": [{"index": 0, "token_ids": [97]}]}\n\n' if later else b""
    event = b"data: " + json.dumps({"error": error}).encode() + b"\n\n"
    async with endless(EVENTS + token, event) as (engine, _):
        with pytest.raises(EngineBusyError, match="turned the call away") as raised:
            await write(engine)
    assert (raised.value.status, raised.value.retry_after, raised.value.lost) == (status, seconds, status == 503)


@pytest.mark.parametrize("error", [{"code": 500}, {"type": ["rate_limit_error"]}, {"code": True}, {"code": {"a": 1}}, "429", 429, ["503"]])
async def test_another_error_event_is_a_fault(error):
    async with endless(EVENTS, b"data: " + json.dumps({"error": error}).encode() + b"\n\n") as (engine, _):
        with pytest.raises(EngineServerError):
            await write(engine)
