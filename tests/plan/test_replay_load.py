"""Recorded chains as a load on a server."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

import speculative
from speculative.cli import run as command
from speculative.errors import UsageError
from speculative.pair import Pair
from speculative.plan.recorded import chains_of, read_chains
from speculative.plan.replay_load import LoadTest, find_model
from speculative.testing import ScriptedEngine
from speculative.testing.fake_server import FakeServer, Fault

TEXT = "One.\n\nTwo is longer.\n\nThree.\n\nFour.</think>\n\nThe answer is \\boxed{4}."


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "traces").mkdir()
    for method in ("big_only", "step_verify"):
        result = speculative.solve("How many?", method, pair=Pair(ScriptedEngine(TEXT), ScriptedEngine(TEXT)), seed=1)
        result.trace.save(tmp_path / "traces" / f"{method}.jsonl")
    return tmp_path


def endless(seen: str, seed: int) -> str:
    return "abc " * 4000


async def test_every_recorded_call_is_made_with_its_tokens(folder: Path) -> None:
    chains = read_chains(folder)
    async with FakeServer(ScriptedEngine(endless)) as server:
        assert await find_model(server.url) == "fake"
        result = await LoadTest({"big": server.url}, {"big": "fake"}, {}).run(chains, 2)
        asked = [body for path, _, body in server.requests if path == "/v1/completions"]
    calls = [call for chain in chains for call in chain.calls]
    assert result.calls == len(asked) == len(calls)
    assert not result.errors
    assert result.tokens == sum(max(1, call.tokens) for call in calls)
    assert sorted(body["max_tokens"] for body in asked) == sorted(max(1, call.tokens) for call in calls)
    assert sorted(len(body["prompt"].split()) for body in asked) == sorted(call.prompt for call in calls)
    assert all(body["ignore_eos"] for body in asked)


async def test_the_prompts_of_a_chain_share_their_beginning(folder: Path) -> None:
    (chain,) = [chain for chain in read_chains(folder) if chain.method == "step_verify"]
    async with FakeServer(ScriptedEngine(endless)) as server:
        await LoadTest({"big": server.url}, {"big": "fake"}, {}, ignore_eos=False).run([chain], 1)
        prompts = sorted((body["prompt"] for path, _, body in server.requests if path == "/v1/completions"), key=len)
    assert all(longer.startswith(shorter) for shorter, longer in pairwise(prompts))


async def test_roles_have_servers_of_their_own_and_keys(folder: Path) -> None:
    chains = read_chains(folder)
    async with FakeServer(ScriptedEngine(endless), key="sk-big") as big, FakeServer(ScriptedEngine(endless)) as small:
        urls, models = {"big": big.url, "small": small.url}, {"big": "fake", "small": "fake"}
        result = await LoadTest(urls, models, {"big": "sk-big"}).run(chains, 3)
        assert not result.errors
        assert big.requests
        assert small.requests
        refused = await LoadTest(urls, models, {}).run(chains, 2)
    assert set(refused.errors) == {"HTTP 401"}


async def test_failures_are_counted_and_end_nothing(folder: Path) -> None:
    chains = read_chains(folder)
    async with FakeServer(ScriptedEngine(endless)) as server:
        server.faults.extend([Fault("status", status=500), Fault("close"), Fault("garbage")])
        result = await LoadTest({"big": server.url}, {"big": "fake"}, {}).run(chains, 2)
    assert sum(result.errors.values()) == 3
    assert result.calls == sum(len(chain.calls) for chain in chains) - 3


@asynccontextmanager
async def answering(body: bytes) -> AsyncIterator[str]:
    """Runs a server that answers each completion with the same bytes."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=body, content_type="text/event-stream")

    app = web.Application()
    app.router.add_post("/v1/completions", answer)
    async with TestServer(app) as server:
        yield str(server.make_url("/v1"))


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'data: {"error": {"message": "no room"}}\n\n', "error in a stream"),
        (b'{"choices": [{"text": "all at once"}]}', "no event of a stream"),
        (b"data: [DONE]\n\n", "no event of a stream"),
        (b"data: {\n\n", "DecodeError"),
    ],
)
async def test_answers_without_tokens_are_failures(folder: Path, body: bytes, kind: str) -> None:
    chains = read_chains(folder)
    async with answering(body) as url:
        result = await LoadTest({"big": url}, {"big": "m"}, {}).run(chains, 2)
    assert set(result.errors) == {kind}
    assert (result.calls, result.tokens) == (0, 0)


async def test_a_server_may_close_each_connection_without_a_word(folder: Path) -> None:
    event = b'data: {"choices": [{"text": "a"}], "usage": {"completion_tokens": 1}}\n\n'
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n%s" % (len(event), event)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handlers.append(asyncio.current_task())
        head = await reader.readuntil(b"\r\n\r\n")
        (size,) = re.findall(rb"Content-Length: (\d+)", head)
        await reader.readexactly(int(size))
        writer.write(answer)
        await writer.drain()
        await asyncio.sleep(0.02)  # as llama.cpp: it closes after the client took the connection back
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    handlers: list[asyncio.Task[None] | None] = []
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        result = await LoadTest({"big": url}, {"big": "m"}, {}).run(read_chains(folder), 2)
        await asyncio.gather(*filter(None, handlers))
    assert not result.errors
    assert result.calls == result.tokens == sum(len(chain.calls) for chain in read_chains(folder))


async def test_fewer_chains_than_recorded_ones_are_of_several_methods(folder: Path) -> None:
    chains = [chain for chain in read_chains(folder) for _ in range(20)]
    async with FakeServer(ScriptedEngine(endless)) as server:
        result = await LoadTest({"big": server.url}, {"big": "fake"}, {}).run(chains, 10)
    sizes = {len(chain.calls) for chain in chains}
    assert len(sizes) == 2
    assert result.calls % 10  # ten chains of one method would have ten times its calls
    assert result.slow_s <= result.wall_s


def test_chains_of_one_method_are_chosen(folder: Path) -> None:
    recorded = read_chains(folder)
    assert [chain.method for chain in chains_of(recorded, "big_only", folder)] == ["big_only"]
    assert len(chains_of(recorded, "all", folder)) == 2
    with pytest.raises(UsageError, match="must hold chains of cascade, got big_only, step_verify"):
        chains_of(recorded, "cascade", folder)


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--url", "127.0.0.1:8000"], "is not the address of a server; give one like http://"),
        (["--url", "http://127.0.0.1:1/v1/chat/completions"], "is the address of a single call"),
        (["--url", "http://127.0.0.1:1", "--chains", "100000000"], "--chains must be from 1 to 100000, got 100000000"),
        (["--url", "http://127.0.0.1:1", "--method", "cascade"], "must hold chains of cascade"),
    ],
)
def test_what_cannot_be_replayed_is_refused(folder: Path, flags: list[str], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["replay-load", str(folder), *flags]) == 2
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize("flags", [["--url", "http://127.0.0.1:1/v1"], ["--url", "http://127.0.0.1:1/v1", "--chains", "0"]])
def test_a_missing_server_or_a_bad_flag_is_one_line(folder: Path, flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["replay-load", str(folder), *flags]) in (1, 2)
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "Traceback" not in told


def test_the_command_prints_what_it_measured(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import threading

    ready, stop, found = threading.Event(), threading.Event(), list[str]()

    async def serve() -> None:
        async with FakeServer(ScriptedEngine(endless)) as server:
            found.append(server.url)
            ready.set()
            await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert ready.wait(20)
        assert command(["replay-load", str(folder), "--url", found[0], "--chains", "3", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["chains"] == 3
        assert command(["replay-load", str(folder), "--url", found[0], "--chains", "1"]) == 0
        assert "1 chains" in capsys.readouterr().out
    finally:
        stop.set()
        thread.join()
