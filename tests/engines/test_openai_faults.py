"""What goes wrong on the way to a server: typed errors that name the address, deadlines, retries, cancelling. Nothing hangs."""

import asyncio
import contextlib
import socket

import pytest
from waiting import until

import speculative
from speculative.cli._flags import EngineFlags
from speculative.engines.base import CallStats, Decoding
from speculative.engines.http import retries
from speculative.engines.http.client import Deadlines, EventParser, error_message
from speculative.engines.http.engine import OpenAIEngine
from speculative.engines.http.replicas import Replicas, address
from speculative.errors import (
    EngineBusyError,
    EngineError,
    EngineRefusedError,
    EngineServerError,
    EngineTimeoutError,
    EngineUnreachableError,
    UsageError,
)
from speculative.pair import Pair
from speculative.testing import ScriptedEngine, ScriptedTokenizer
from speculative.testing.fake_server import FakeServer, Fault

FIRST, BETWEEN = Deadlines(first_token=0.3), Deadlines(between=0.3)
"""Each is short where a server is silent: only the one that has to fire."""
TEXT = "abcdefghijklmnopqrstuvwxyz" * 8
PROMPT = [97, 98]


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """Pauses between attempts are real, but short."""
    real = retries.stamina.retry_context

    def quick(on, **settings):
        return real(on, attempts=settings["attempts"], timeout=settings["timeout"], wait_initial=0.01, wait_max=0.02, wait_jitter=0.01)

    monkeypatch.setattr(retries.stamina, "retry_context", quick)


@contextlib.asynccontextmanager
async def rig(*faults, deadlines=None, script=TEXT, **settings):
    """An engine on a server that breaks as told. Deadlines are short only where one has to fire: a busy machine is slow."""
    async with FakeServer(ScriptedEngine(script), **settings) as server:
        engine = await OpenAIEngine.connect(server.url, tokenizer=ScriptedTokenizer(), dialect="chatml")
        engine.client.deadlines = deadlines or Deadlines()
        server.requests.clear()
        server.faults.extend(faults)
        try:
            yield server, engine
        finally:
            await engine.aclose()


async def write(engine, tokens=20, stats=None, **settings):
    ((completion,),) = await engine.complete(
        [PROMPT], Decoding(tokens, **settings), key="chain", stats=stats if stats is not None else CallStats()
    )
    return completion


async def read(engine, tokens=20, stats=None):
    return [d async for d in engine.stream(PROMPT, Decoding(tokens), key="chain", stats=stats if stats is not None else CallStats())]


def dead_port():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault("status", status=500), EngineServerError),
        (Fault("status", status=400), EngineRefusedError),
        (Fault("status", status=401), EngineRefusedError),
        (Fault("status", status=429), EngineBusyError),
        (Fault("status", status=429, retry_after="3600"), EngineBusyError),
        (Fault("garbage"), EngineServerError),
        (Fault("garbage", after=4), EngineServerError),
        (Fault("half"), EngineServerError),
        (Fault("half", after=4), EngineServerError),
        (Fault("error", after=4), EngineServerError),
        (Fault("close", after=4), EngineServerError),
        (Fault("stall"), EngineTimeoutError),
        (Fault("stall", after=4), EngineTimeoutError),
    ],
)
@pytest.mark.parametrize("call", [write, read])
async def test_a_broken_answer_is_a_typed_error_that_names_the_server(fault, error, call):
    async with rig(fault, deadlines=(BETWEEN if fault.after else FIRST) if fault.kind == "stall" else None) as (server, engine):
        with pytest.raises(error, match=f"127.0.0.1:{server.port}") as raised:
            await call(engine)
        assert type(raised.value) is error
        assert len(server.requests) == 1
        engine.client.deadlines = Deadlines()
        assert (await write(engine)).finish == "length"


@pytest.mark.parametrize("status", [502, 503, 504])
async def test_what_can_pass_is_tried_again(status):
    async with rig(Fault("status", status=status), Fault("close"), Fault("status", status=429, retry_after="0")) as (server, engine):
        stats = CallStats()
        assert len((await write(engine, stats=stats)).ids) == 20
        assert len(server.requests) == 4
        assert stats.requests == 1
        assert stats.produced_tokens == 20


async def test_attempts_end():
    async with rig(*[Fault("status", status=503)] * 4) as (server, engine):
        with pytest.raises(EngineBusyError, match="503"):
            await write(engine)
        assert len(server.requests) == 4


async def test_retry_after_is_waited_for(monkeypatch):
    pauses, real = [], retries.stamina.retry_context

    def noted(on, **settings):
        def passing(error):
            pauses.append(on(error))
            return pauses[-1] is not False

        return real(passing, **settings)

    monkeypatch.setattr(retries.stamina, "retry_context", noted)
    async with rig(Fault("status", status=429, retry_after="0.15")) as (_, engine):
        await write(engine)
    assert pauses == [0.15]


async def test_a_broken_score_is_typed_too():
    async with rig(Fault("garbage"), Fault("status", status=503), None, Fault("stall")) as (_, engine):
        with pytest.raises(EngineServerError, match="scoring failed"):
            await engine.score([PROMPT], [[99]], key="", stats=CallStats())
        assert len((await engine.score([PROMPT], [[99]], key="", stats=CallStats()))[0]) == 1
        engine.client.deadlines = FIRST
        with pytest.raises(EngineTimeoutError):
            await engine.score([PROMPT], [[99]], key="", stats=CallStats())


async def test_the_whole_call_has_a_deadline():
    async with rig(pace=0.05, deadlines=Deadlines(whole=0.4)) as (_, engine):
        with pytest.raises(EngineTimeoutError, match=r"longer than 0\.4 s"):
            await read(engine, 100)


async def test_a_dead_address_names_itself_and_the_next_step():
    url = f"http://127.0.0.1:{dead_port()}/v1"
    with pytest.raises(EngineUnreachableError, match=rf"{url}.*start a server there"):
        await OpenAIEngine.connect(url)
    with pytest.raises(EngineUnreachableError, match=url):
        await asyncio.to_thread(OpenAIEngine.open, url)


async def test_a_server_that_listens_and_says_nothing_is_a_timeout():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        with pytest.raises(EngineTimeoutError, match=r"no answer within 0\.3 s"):
            await OpenAIEngine.connect(f"http://127.0.0.1:{held.getsockname()[1]}", deadlines=FIRST)


async def test_something_that_is_no_model_server_is_named():
    async with FakeServer(ScriptedEngine("x")) as server:
        server._pages = dict
        with pytest.raises(EngineRefusedError, match="404"):
            await OpenAIEngine.connect(server.url)
        server._pages = lambda: {"/v1/models": ["hello"]}
        with pytest.raises(EngineServerError, match="which no model server says"):
            await OpenAIEngine.connect(server.url)


async def test_a_wrong_key_is_said_without_saying_the_key():
    async with FakeServer(ScriptedEngine("x"), key="right") as server:
        with pytest.raises(EngineRefusedError, match="--big-key") as raised:
            await OpenAIEngine.connect(server.url, secret="wrong-secret")
        assert "wrong-secret" not in str(raised.value)


async def test_a_password_in_an_address_is_in_no_error_and_is_not_kept_with_results():
    async with FakeServer(ScriptedEngine("x" * 99)) as server, FakeServer(ScriptedEngine("x", context=9)) as other:
        secret, unlike = (one.url.replace("http://", "http://me:hunter22@") for one in (server, other))
        with pytest.raises(UsageError, match="replicas have to be alike") as unalike:
            await OpenAIEngine.connect([secret, unlike])
        engine = await OpenAIEngine.connect(secret, tokenizer=ScriptedTokenizer(), dialect="chatml")
        told = [str(unalike.value)]
        for fault in (Fault("status"), Fault("stall"), Fault("garbage"), Fault("close", after=1)):
            server.faults.append(fault)
            engine.client.deadlines = Deadlines(first_token=0.3) if fault.kind == "stall" else Deadlines()
            with pytest.raises(EngineError) as raised:
                await write(engine)
            told.append(str(raised.value))
        await server.stop()
        with pytest.raises(EngineUnreachableError) as dead:
            await write(engine)
        assert "hunter22" not in " ".join([*told, str(dead.value), engine.name])
        await engine.aclose()
    kept = EngineFlags(big=(secret, "http://other:8000")).specs["big"]
    assert "hunter22" not in kept
    assert "http://other:8000" in kept


@pytest.mark.parametrize("secret", ["a key", None])
async def test_a_login_in_an_address_and_a_key_are_too_much(secret):
    async with FakeServer(ScriptedEngine("x")) as server:
        connecting = OpenAIEngine.connect(
            server.url.replace("//", "//me:hunter22@"), secret=secret, tokenizer=ScriptedTokenizer(), dialect="chatml"
        )
        if secret is None:
            await connecting
        else:
            with pytest.raises(UsageError, match="give one of them") as raised:
                await connecting
            assert "hunter22" not in str(raised.value)


@pytest.mark.parametrize("secret", ["two\nlines", "a\x00b"])
async def test_a_key_that_no_header_can_hold_is_said_without_saying_it(secret):
    with pytest.raises(UsageError, match="--big-key") as raised:
        await OpenAIEngine.connect("http://127.0.0.1:1", secret=secret)
    assert secret not in str(raised.value)


async def test_cancelling_closes_the_connection_and_counts_what_was_written():
    async with rig(pace=0.01) as (server, engine):
        stats = CallStats()
        task = asyncio.create_task(read(engine, 200, stats))
        await until(lambda: stats.produced_tokens >= 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: not server.running)
        assert server.dropped == 1
        assert 5 <= stats.produced_tokens < 200
        assert stats.prompt_tokens == len(PROMPT)


async def test_cancelling_a_batch_ends_all_of_it():
    async with rig(pace=0.01) as (server, engine):
        decoding, stats = Decoding(200, temperature=1.0), CallStats()
        task = asyncio.create_task(engine.complete([PROMPT] * 5, decoding, key="", stats=stats))
        await until(lambda: server.running == 5 and stats.produced_tokens >= 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: not server.running)
        assert server.dropped == 5


async def test_one_that_fails_ends_its_neighbours():
    async with rig(None, Fault("error", after=3), None, pace=0.02) as (server, engine):
        with pytest.raises(EngineServerError):
            await engine.complete([PROMPT] * 3, Decoding(200, temperature=1.0), key="", stats=CallStats())
        await until(lambda: not server.running)


async def test_a_chain_stays_on_one_server_and_moves_when_it_dies():
    scripted = ScriptedEngine(TEXT)
    async with FakeServer(scripted) as one, FakeServer(scripted) as two:
        engine = await OpenAIEngine.connect([one.url, two.url], tokenizer=ScriptedTokenizer(), dialect="chatml")
        one.requests.clear(), two.requests.clear()
        for number in range(16):
            for _ in range(3):
                await engine.complete([PROMPT], Decoding(2), key=f"chain-{number}", stats=CallStats())
        for server, other in ((one, two), (two, one)):
            seen = {headers["X-Session-ID"] for _, headers, _ in server.requests}
            assert seen
            assert seen.isdisjoint({headers["X-Session-ID"] for _, headers, _ in other.requests})
        assert len(one.requests) + len(two.requests) == 48
        await one.stop()
        for number in range(16):
            assert await engine.complete([PROMPT], Decoding(2), key=f"chain-{number}", stats=CallStats())
        await two.stop()
        with pytest.raises(EngineUnreachableError):
            await write(engine)
        await engine.aclose()


@pytest.mark.parametrize("status", [502, 503, 504])
async def test_a_server_that_cannot_serve_is_left_for_one_that_can(status):
    """A dead server behind a proxy says so, each time anew."""
    scripted = ScriptedEngine(TEXT)
    async with FakeServer(scripted) as one, FakeServer(scripted) as two:
        engine = await OpenAIEngine.connect([one.url, two.url], tokenizer=ScriptedTokenizer(), dialect="chatml")
        dead, other = (one, two) if engine.client.replicas.pick("chain").startswith(one.url) else (two, one)
        one.requests.clear(), two.requests.clear()
        dead.faults.extend([Fault("status", status=status)] * 8)
        assert (await write(engine)).finish == "length"
        assert (len(dead.requests), len(other.requests)) == (1, 1)
        await engine.aclose()


async def test_a_stuck_server_is_left_before_its_first_token(monkeypatch):
    """Also when waiting for it took longer than a call that nobody answered may be tried again."""
    monkeypatch.setattr(retries, "RETRY_FOR_S", 0.1)
    scripted = ScriptedEngine(TEXT)
    async with FakeServer(scripted) as one, FakeServer(scripted) as two:
        engine = await OpenAIEngine.connect([one.url, two.url], tokenizer=ScriptedTokenizer(), dialect="chatml")
        stuck = one if engine.client.replicas.pick("chain").startswith(one.url) else two

        async def patience(base, verb):
            return 0.3 if base == stuck.url else 180.0

        monkeypatch.setattr(engine.client, "_first_token_timeout", patience)
        stuck.faults.append(Fault("stall"))
        assert (await write(engine)).finish == "length"
        await engine.aclose()


async def test_replicas_have_to_be_alike():
    async with FakeServer(ScriptedEngine(TEXT)) as one, FakeServer(ScriptedEngine(TEXT, context=9)) as two:
        with pytest.raises(UsageError, match="replicas have to be alike"):
            await OpenAIEngine.connect([one.url, two.url])


async def test_a_chain_whose_server_dies_ends_in_an_error_with_its_trace():
    async with FakeServer(ScriptedEngine("One.\n\nTwo.</think>\n\n7")) as server:
        engine = await OpenAIEngine.connect(server.url, tokenizer=ScriptedTokenizer(), dialect="chatml")
        async with Pair(engine, engine) as pair:
            server.faults.extend([None, Fault("close", after=2)])
            with pytest.raises(EngineServerError) as raised:
                await speculative.asolve("?", "random_switch", pair=pair, switch_chunk=4)
            assert raised.value.trace is not None
            assert raised.value.trace.usage()


def test_addresses():
    assert address("http://host:8000") == address("http://host:8000/v1/") == "http://host:8000/v1"
    assert address("https://host/models/v1") == "https://host/models/v1"
    for wrong in ("ftp://host", "host:8000", "http://", "", "http://[::1", "http://host:port", "http://host:99999"):
        with pytest.raises(UsageError, match="not the address"):
            address(wrong)
    for same in (" http://host:8000 ", "HTTP://host:8000//v1", "http://host:8000/v1//", "hTTp://host:8000//"):
        assert address(same) == "http://host:8000/v1"
    calls = "chat/completions", "completions", "models", "responses"
    for endpoint in (*(f"/v1/{call}" for call in calls), "/chat/completions/", "/generate", "/completion", "/v1//completions"):
        with pytest.raises(UsageError, match=r"give the address up to /v1: http://host:8000/v1$"):
            address(f"http://host:8000{endpoint}")
    with pytest.raises(UsageError):
        Replicas([])
    assert Replicas(["http://user:p@ss@host:1"]).name == "http://host:1/v1"
    assert Replicas(["http://a", "http://b"]).name == "http://a/v1 (and 1 more)"


def test_events_that_come_one_by_one_are_cut_as_those_that_come_together():
    several = [
        b"data: 1\n\n",
        b"data:2\n\n",
        b"data: 3\r\n\r\n",
        b"data: \n\n",
        b": 4\n\n",
        b"data: 5\n",
        b"\n",
        b"data: 6\n\ndata",
        b": 7\n\n",
    ]
    payloads = EventParser()
    found = [payload for data in several for payload in payloads.feed(data)]
    assert found == EventParser().feed(b"".join(several)) == [b"1", b"2", b"3", b"5", b"6", b"7"]


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_events_are_cut_wherever_reads_end(size):
    data = b': ping\n\ndata: {"a": 1}\n\nevent: x\r\ndata: {"b": 2}\r\n\r\ndata: [DONE]\n\n'
    payloads, found = EventParser(), []
    for place in range(0, len(data), size):
        found += payloads.feed(data[place : place + size])
    assert found == [b'{"a": 1}', b'{"b": 2}', b"[DONE]"]


def test_what_a_server_says_becomes_one_short_line():
    assert error_message(b'{"error": {"message": "too\\n long"}}') == "too long"
    assert error_message(b'{"detail": "Not Found"}') == "Not Found"
    assert error_message(b"<html>" + b"x" * 1000).endswith("x…")
    assert error_message(b"\xff") == "�"


async def test_while_a_server_says_nothing_the_user_is_told_and_what_that_raises_ends_the_wait():
    told = []

    def tell(line):
        told.append(line)
        raise EngineError("enough")

    with socket.create_server(("127.0.0.1", 0)) as stuck:
        port = stuck.getsockname()[1]
        with pytest.raises(EngineError, match="enough"):
            await asyncio.to_thread(OpenAIEngine.open, f"http://me:secret@127.0.0.1:{port}", tell=tell)
    assert [line.rpartition(" (")[0] for line in told] == [f"waiting for http://127.0.0.1:{port}"]


async def test_an_answer_that_was_whole_is_whole_however_its_connection_ends():
    """The server is gone after its last event, in the middle of the framing: nothing is missing."""
    events = b'data: {"choices": [{"index": 0, "token_ids": [97, 98], "finish_reason": "length"}]}\n\ndata: [DONE]\n\n'

    async def greet(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        writer.write(b"%x\r\n%b\r\n" % (len(events), events))
        await writer.drain()
        writer.close()

    async with rig() as (_, engine), await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        engine.client.replicas = Replicas([f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"])
        assert (await write(engine, 2)).ids == (97, 98)


@pytest.mark.parametrize("usage", [b"", b'data: {"choices": [], "usage": {"completion_tokens": 2}}\n\n', b'data: {"choices": [], "usa'])
@pytest.mark.parametrize("end", ["close", "abort", "stall"])
@pytest.mark.parametrize("call", [write, read])
async def test_a_text_that_is_whole_is_an_answer_although_the_server_dies_behind_it(usage, end, call):
    """It has said why the text ended: of the text nothing can be missing."""
    events = b'data: {"choices": [{"index": 0, "token_ids": [97, 98], "finish_reason": "length"}]}\n\n' + usage

    async def greet(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        writer.write(b"%x\r\n%b\r\n" % (len(events), events))
        await writer.drain()
        if end == "stall":
            await reader.read()
        writer.transport.abort() if end == "abort" else writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    async with rig(deadlines=BETWEEN) as (_, engine), await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        engine.client.replicas = Replicas([f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"])
        stats = CallStats()
        found = await call(engine, 2, stats)
        assert (found if call is write else found[-1].completion).ids == (97, 98)
        assert stats.produced_tokens == 2


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\nContent-", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"])
@pytest.mark.parametrize("call", [write, read])
async def test_a_replica_that_dies_before_its_first_token_is_left_for_another_and_the_call_counts_once(sent, call):
    async def greet(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(sent)
        await writer.drain()
        await asyncio.sleep(0.02)
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    async with rig() as (other, engine), await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        urls, key = [other.url, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"], 0
        engine.client.replicas = Replicas(urls)
        while engine.client.replicas.pick(str(key)) == other.url:
            key += 1
        stats, decoding = CallStats(), Decoding(20)
        if call is write:
            ((completion,),) = await engine.complete([PROMPT], decoding, key=str(key), stats=stats)
        else:
            completion = [delta async for delta in engine.stream(PROMPT, decoding, key=str(key), stats=stats)][-1].completion
        assert bytes(number & 255 for number in completion.ids).decode() == TEXT[:20]
        assert (stats.requests, stats.prompt_tokens, stats.produced_tokens) == (1, len(PROMPT), 20)
        assert engine.client.replicas.pick(str(key)) == other.url
