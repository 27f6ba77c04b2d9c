"""Alive, ready, and counted."""

import asyncio
import threading

import pytest
from serving import ASK, Served, pair, serving

from speculative.errors import BadWeights
from speculative.serve.server import bind, make
from speculative.settings import Settings


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
        raise BadWeights("no weights at all")

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
    from speculative.serve import door

    monkeypatch.setattr(door, "PROBE", 0.05)
    served = make(Settings(), None).door
    served._pair = pair(delay=5)
    assert "big model does not answer" in (await served.unready())[0]
    served._pair = pair()
    assert await served.unready() == ("", "")
    served.admission.close()
    assert await served.unready() == ("the service is shutting down", "")


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
