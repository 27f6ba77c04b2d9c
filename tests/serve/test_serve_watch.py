"""Alive, ready, and counted."""

import asyncio
import contextlib
import io
import json
import threading

import httpx2
import pytest
from serving import ASK, TEXT, Served, pair, serving

from speculative.errors import EngineUnreachableError, WeightsError
from speculative.pair import Pair
from speculative.serve import health as probe
from speculative.serve import logs
from speculative.serve.app import given
from speculative.serve.server import bind, make
from speculative.settings import Settings
from speculative.testing import ScriptedEngine


def value(text, name):
    return next(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name + " "))


def test_metrics_add_up(served):
    before = served.get("/metrics").text if "speculative_tokens_total" in served.get("/metrics").text else None
    reply = served.post(json={**ASK, "with": ["vote(ballots=2)"], "seed": 1}).json()
    after = served.get("/metrics").text
    for role, usage in reply["speculative"]["usage"].items():
        for fate in ("kept", "discarded", "prompt"):
            name = f'speculative_tokens_total{{fate="{fate}",role="{role}"}}'
            had = value(before, name) if before and name in before else 0
            assert value(after, name) - had == usage[f"{fate}_tokens"]
    assert value(after, "speculative_chains_in_flight") == 0
    assert 'speculative_requests_total{route="/v1/chat/completions",status="200"}' in after
    assert 'speculative_chains_total{finish="stop",method="random_switch"}' in after
    for phase in ("queue", "engines", "total"):
        assert f'speculative_phase_seconds_count{{phase="{phase}"}}' in after
    assert value(after, "speculative_overhead_seconds_count") >= 1


@pytest.mark.parametrize("stream", [False, True])
def test_who_has_a_reply_finds_it_counted(stream):
    """On the same connection, where the next request is there at once."""
    with serving() as served, httpx2.Client(base_url=served.url) as client:
        for count in range(1, 21):
            assert client.post("/v1/chat/completions", json={**ASK, "n": 2, "stream": stream}).status_code == 200
            told = client.get("/metrics").text
            assert value(told, 'speculative_chains_total{finish="stop",method="random_switch"}') == 2 * count
            assert value(told, "speculative_chains_in_flight") == 0


def test_the_overhead_is_told(served):
    for stream in (False, True):
        assert float(served.post(json={**ASK, "stream": stream}).headers["x-speculative-overhead-ms"]) >= 0


def test_streams_are_not_buffered_by_proxies(served):
    headers = served.post(json={**ASK, "stream": True}).headers
    assert headers["x-accel-buffering"] == "no"
    assert headers["cache-control"] == "no-cache"
    assert headers["content-type"].startswith("text/event-stream")


def test_alive_before_ready():
    gate = threading.Event()

    async def slow():
        await asyncio.to_thread(gate.wait)
        return pair()

    with serving(opener=slow) as served:
        try:
            assert served.get("/health").status_code == 200
            for path in ("/ready", "/ping"):
                assert served.get(path).status_code == 503
            reply = served.post()
            assert (reply.status_code, reply.json()["error"]["code"]) == (503, "loading")
            assert served.get("/v1/models").status_code == 200
        finally:
            gate.set()
        served.wait(lambda: served.get("/ready").status_code == 200)
        assert served.post().status_code == 200


def test_a_pair_that_cannot_be_opened_ends_the_service():
    async def broken():
        raise WeightsError("no weights at all")

    settings = Settings(port=0, log_level="error")
    server = make(settings, broken)
    bound = bind(settings)
    server.run(sockets=[bound])
    assert str(server.door.failed) == "no weights at all"


def test_a_bug_while_the_pair_opens_ends_the_service_too():
    async def broken():
        raise ZeroDivisionError("no foreseen kind of failure")

    settings = Settings(port=0, log_level="error")
    bound = bind(settings)
    server = make(settings, broken)
    server.run(sockets=[bound])
    assert isinstance(server.door.failed, ZeroDivisionError)


async def test_an_engine_that_does_not_answer_is_not_ready(monkeypatch):
    monkeypatch.setattr(probe, "PATIENCE", 0.05)
    served = make(Settings(), None).door
    async with opened(served, pair(delay=5)):
        assert await served.unready() == ("the big model does not answer", "")
    served = make(Settings(), None).door
    async with opened(served, pair()):
        assert await served.unready() == ("", "")
        served.admission.close()
        assert await served.unready() == ("the service is shutting down", "")


@contextlib.asynccontextmanager
async def opened(door, engines):
    door._opener = given(engines)
    async with door.open():
        await until(lambda: door._pair)
        yield engines


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  what is waited for has no event
            await asyncio.sleep(0)


class Away(ScriptedEngine):
    """An engine whose server is away, until it is there."""

    away, asked = True, 0

    async def complete(self, *given, **named):
        self.asked += 1
        await asyncio.sleep(0.01)
        if self.away:
            raise EngineUnreachableError(f"http://10.1.2.3:8000 refused the connection, {self.asked}")
        return await super().complete(*given, **named)


@pytest.mark.parametrize("away", [True, False])
async def test_probes_at_once_and_soon_after_share_one_call(away):
    engines = Pair(Away(TEXT, name="B"), ScriptedEngine(TEXT, name="S"))
    engines["big"].away = away
    served = make(Settings(), None).door
    async with opened(served, engines):
        first = asyncio.create_task(served.unready())
        await asyncio.sleep(0)
        hasty = asyncio.create_task(served.unready())
        await asyncio.sleep(0)
        first.cancel()  # whoever asked first may go away
        told = await asyncio.gather(*(served.unready() for _ in range(5)), hasty)
        told.append(await served.unready())
        assert told == [("the big model does not answer" if away else "", "")] * 7
        assert engines["big"].asked == 1


async def test_the_log_says_why_and_only_what_is_new(monkeypatch):
    monkeypatch.setattr(probe, "BELIEVED", 0.0)
    out = io.StringIO()
    handler = logs.set_up("info", logs.Scrubber(), out)
    try:
        engines = Pair(Away(TEXT, name="B"), ScriptedEngine(TEXT, name="S"))
        served = make(Settings(), None).door
        async with opened(served, engines):
            for engines["big"].away in (True, True, False, False, True, True):
                await served.unready()
    finally:
        logs.take_down(handler)
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    told = [(line["event"], line["engine"]) for line in lines if "engine" in line]
    silent, back = ("a model does not answer", "B"), ("a model answers again", "B")
    assert told == [silent, back, silent]
    assert sum("10.1.2.3" in line.get("told", "") for line in lines) == 2


async def test_a_probe_under_way_ends_with_the_service():
    served = make(Settings(), None).door
    async with opened(served, pair(delay=60)) as engines:
        asked = asyncio.create_task(served.unready())
        await until(lambda: engines["big"].running)
    assert not engines["big"].running
    with pytest.raises(asyncio.CancelledError):
        await asked


def test_ready_tells_strangers_no_address():
    engines = Pair(Away(TEXT, name="B"), ScriptedEngine(TEXT, name="S"))
    with serving(engines) as served:
        for path in ("/ready", "/ping"):
            reply = served.get(path)
            assert (reply.status_code, reply.json()["reason"]) == (503, "the big model does not answer")


async def test_a_failure_to_open_tells_strangers_no_address():
    async def opener():
        raise EngineUnreachableError("http://10.1.2.3:8000 refused the connection")

    served = make(Settings(), opener).door
    async with served.open():
        await until(lambda: served.failed)
        assert await served.unready() == ("the models cannot be opened; the log says why", "")


def test_two_services_in_one_process_count_apart():
    with serving() as one, serving() as other:
        one.post()
        assert "speculative_chains_total{" in one.get("/metrics").text
        assert "speculative_chains_total{" not in other.get("/metrics").text
        assert isinstance(other, Served)


def test_a_port_that_is_taken():
    from speculative.errors import UsageError

    with serving() as served, pytest.raises(UsageError, match=f"port {served.port}"):
        bind(Settings(port=served.port))
    with pytest.raises(UsageError, match="host 'no such host'"):
        bind(Settings(host="no such host"))
