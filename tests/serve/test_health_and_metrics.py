"""Alive, ready, and counted."""

import asyncio
import contextlib
import io
import json
import re
import resource
import socket
import subprocess
import sys
import threading

import httpx2
import pytest
from serving import ASK, TEXT, Served, pair, serving
from waiting import until

from speculative.errors import EngineUnreachableError, WeightsError
from speculative.pair import Pair
from speculative.redaction import Redactor
from speculative.serve import health, logs
from speculative.serve.app import opened as opened_pair
from speculative.serve.server import bind, make_server
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
def test_a_reply_is_counted_before_it_ends(stream):
    """On the same connection, where the next request is there at once."""
    with serving() as served, httpx2.Client(base_url=served.url, verify=False) as client:
        for count in range(1, 21):
            assert client.post("/v1/chat/completions", json={**ASK, "n": 2, "stream": stream}).status_code == 200
            told = client.get("/metrics").text
            assert value(told, 'speculative_chains_total{finish="stop",method="random_switch"}') == 2 * count
            assert value(told, "speculative_chains_in_flight") == 0


def test_replies_have_an_overhead_header(served):
    for stream in (False, True):
        assert float(served.post(json={**ASK, "stream": stream}).headers["x-speculative-overhead-ms"]) >= 0


def test_streams_are_not_buffered_by_proxies(served):
    headers = served.post(json={**ASK, "stream": True}).headers
    assert headers["x-accel-buffering"] == "no"
    assert headers["cache-control"] == "no-cache"
    assert headers["content-type"].startswith("text/event-stream")


def test_health_answers_while_the_models_load():
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
    server = make_server(settings, broken)
    bound = bind(settings)
    server.run(sockets=[bound])
    assert str(server.state.failure) == "no weights at all"


def test_a_bug_while_the_pair_opens_ends_the_service_too():
    async def broken():
        raise ZeroDivisionError("no foreseen kind of failure")

    settings = Settings(port=0, log_level="error")
    bound = bind(settings)
    server = make_server(settings, broken)
    server.run(sockets=[bound])
    assert isinstance(server.state.failure, ZeroDivisionError)


async def test_an_engine_that_does_not_answer_is_not_ready(monkeypatch):
    served = make_server(Settings(), None).state
    async with opened(served, pair(delay=1000)):
        with monkeypatch.context() as patch:
            patch.setattr(health, "PROBE_TIMEOUT_S", 0.05)
            assert await served.readiness() == ("the big model does not answer", "")
    served = make_server(Settings(), None).state
    async with opened(served, pair()):
        assert await served.readiness() == ("", "")
        served.close()
        assert await served.readiness() == ("the service is shutting down", "")


@contextlib.asynccontextmanager
async def opened(state, engines):
    state._open_pair = opened_pair(engines)
    async with state.open():
        await until(lambda: state.loaded)
        yield engines


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
async def test_probes_at_once_and_soon_after_share_one_call(away, monkeypatch):
    monkeypatch.setattr(health, "PROBE_INTERVAL_S", 1000.0)
    engines = Pair(Away(TEXT, name="B"), ScriptedEngine(TEXT, name="S"))
    engines["big"].away = away
    served = make_server(Settings(), None).state
    async with opened(served, engines):
        first = asyncio.create_task(served.readiness())
        await asyncio.sleep(0)
        hasty = asyncio.create_task(served.readiness())
        await asyncio.sleep(0)
        first.cancel()  # whoever asked first may go away
        told = await asyncio.gather(*(served.readiness() for _ in range(5)), hasty)
        told.append(await served.readiness())
        assert told == [("the big model does not answer" if away else "", "")] * 7
        assert engines["big"].asked == 1


async def test_the_log_has_one_line_for_each_change_of_readiness(monkeypatch):
    monkeypatch.setattr(health, "PROBE_INTERVAL_S", 0.0)
    out = io.StringIO()
    handler = logs.set_up("info", Redactor(), out)
    try:
        engines = Pair(Away(TEXT, name="B"), ScriptedEngine(TEXT, name="S"))
        served = make_server(Settings(), None).state
        async with opened(served, engines):
            for engines["big"].away in (True, True, False, False, True, True):
                await served.readiness()
    finally:
        logs.take_down(handler)
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    told = [(line["event"], line["engine"]) for line in lines if "engine" in line]
    silent, back = ("a model does not answer", "B"), ("a model answers again", "B")
    assert told == [silent, back, silent]
    assert sum("10.1.2.3" in line.get("reason", "") for line in lines) == 2


async def test_a_probe_under_way_ends_with_the_service():
    served = make_server(Settings(), None).state
    async with opened(served, pair(delay=60)) as engines:
        asked = asyncio.create_task(served.readiness())
        await until(lambda: engines["big"].running)
    assert not engines["big"].running
    with pytest.raises(asyncio.CancelledError):
        await asked


def test_readiness_shows_no_address():
    engines = Pair(Away(TEXT, name="B"), ScriptedEngine(TEXT, name="S"))
    with serving(engines) as served:
        for path in ("/ready", "/ping"):
            reply = served.get(path)
            assert (reply.status_code, reply.json()["reason"]) == (503, "the big model does not answer")


async def test_a_failure_to_open_shows_no_address():
    async def opener():
        raise EngineUnreachableError("http://10.1.2.3:8000 refused the connection")

    served = make_server(Settings(), opener).state
    async with served.open():
        await until(lambda: served.failure)
        assert await served.readiness() == ("the models cannot be opened; the log says why", "")


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


PAGES = ["/", "/page/live.js", "/health", "/ready", "/ping", "/metrics", "/docs", "/openapi.json", "/v1/models", "/v1/methods", "/models"]


@pytest.mark.parametrize("path", [*PAGES, "/methods", "/v1/models/speculative", "/v1/models/nothing"])
def test_every_page_can_be_asked_by_head(served, path):
    with httpx2.Client(base_url=served.url, verify=False) as client:
        got, head = client.get(path), client.head(path)
    assert (head.status_code, head.content) == (got.status_code, b"")
    assert head.headers["content-type"] == got.headers["content-type"]
    assert path in ("/metrics", "/v1/models/nothing") or head.headers["content-length"] == got.headers["content-length"]


def test_head_needs_the_key_that_get_needs():
    with serving(api_key="a-key-of-the-service") as served, httpx2.Client(base_url=served.url) as client:
        for path in PAGES:
            assert client.head(path).status_code == client.get(path).status_code, path
        assert client.head("/v1/models").status_code == 401


def test_the_schema_lists_each_page_once(served):
    assert not any("head" in operations for operations in served.get("/openapi.json").json()["paths"].values())


def test_the_page_about_the_api_loads_nothing(served):
    page = served.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert not re.search(r"<script|<link|src=|@import|url\(|https?:", page.text)
    assert re.findall(r'href="([^"]+)"', page.text) == ["openapi.json"]
    for told in ("POST /v1/chat/completions", "thinking_budget", "GET /v1/models/{model}", "Too many chains are running"):
        assert told in page.text
    assert "(<code>degrade</code>)" in page.text
    assert "`" not in page.text
    assert "An engine does not answer." in page.text


def test_routes_work_without_v1(served):
    for path, body in (("/chat/completions", ASK), ("/completions", {"prompt": "2 + 2?"})):
        assert served.post(path, body).status_code == 200
    assert served.get("/models").json() == served.get("/v1/models").json()
    listed = {model["id"] for model in served.get("/v1/models").json()["data"]}
    assert "speculative/big_only" in listed
    assert not {"speculative/placeholder", "speculative/vote"} & listed
    assert served.get("/models/speculative/big_only").json() == served.get("/v1/models/speculative/big_only").json()
    assert '"/chat/completions"' not in served.get("/openapi.json").text


@pytest.mark.slow
def test_connections_leave_file_descriptors_for_the_models(tmp_path):
    """More clients than descriptors connect while the models load: one line in the log, and the service gets ready."""
    limit = 128
    command = [sys.executable, "-m", "speculative", "serve", "--port", "0"]

    def few():
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))

    with (
        contextlib.ExitStack() as stack,
        subprocess.Popen(command, cwd=tmp_path, preexec_fn=few, stderr=subprocess.PIPE, text=True) as service,
    ):
        lines = (json.loads(line) for line in service.stderr)
        url = next(line["url"] for line in lines if line["event"] == "listening").removesuffix("/v1")
        for _ in range(limit + 30):
            with contextlib.suppress(ConnectionError):
                stack.enter_context(socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))))
        events = []
        while "ready" not in events:
            events.append(next(lines)["event"])
        stack.close()
        while True:
            with contextlib.suppress(httpx2.HTTPError):
                if httpx2.get(f"{url}/ready", verify=False).status_code == 200:
                    break
        service.terminate()
        events += [line["event"] for line in lines]
    assert events.count("too many connections") == 1
    assert service.returncode == 0
    assert set(events) <= {"too many connections", "ready", "draining", "stopped"}
