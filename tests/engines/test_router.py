"""A real router in front of two replicas: chains stay on their replica, and a replica that dies costs no chain.

It runs where VLLM_ROUTER names the program of the package vllm-router.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp
import pytest

import speculative
from speculative.engines.http.engine import OpenAIEngine
from speculative.engines.vllm.launch import free_port
from speculative.pair import Pair
from speculative.testing import ScriptedEngine, ScriptedTokenizer
from speculative.testing.fake_server import FakeServer

ROUTER = os.environ.get("VLLM_ROUTER", "")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not ROUTER, reason="VLLM_ROUTER names no router")]
TEXT = "".join(f"Step {place} goes on.\n\n" for place in range(8)) + "Done.</think>"


def thinking(seen: str, seed: int) -> str:
    written = seen.rpartition("<think>\n")[2]
    if "</think>" in written:
        return "The answer is \\boxed{42}.<|im_end|>"
    return TEXT[len(written) :] if TEXT.startswith(written) else TEXT


@contextmanager
def router(*workers: str) -> Iterator[str]:
    port, metrics = free_port(), free_port()
    words = [ROUTER, "--host", "127.0.0.1", "--port", str(port), "--prometheus-port", str(metrics), "--policy", "consistent_hash"]
    words += ["--health-check-interval-secs", "1", "--health-failure-threshold", "1", "--worker-urls", *workers]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(20)


async def answers(url: str) -> None:
    async with aiohttp.ClientSession() as session:
        for _ in range(600):
            try:
                async with session.get(f"{url}/models") as reply:
                    if reply.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.1)
    pytest.fail("the router does not answer")


async def solve(pair: Pair, seed: int) -> speculative.Result:
    return await speculative.asolve("How many?", "random_switch", pair=pair, seed=seed, unit="step")


def sessions(server: FakeServer) -> set[str]:
    asked = [{name.lower(): value for name, value in headers.items()} for path, headers, _ in server.requests if path == "/v1/completions"]
    return {headers["x-session-id"] for headers in asked if "x-session-id" in headers}


async def test_chains_stay_on_their_replica_and_outlive_one() -> None:
    async with FakeServer(ScriptedEngine(thinking)) as first, FakeServer(ScriptedEngine(thinking)) as second:
        with router(*(server.url.removesuffix("/v1") for server in (first, second))) as url:
            await answers(url)
            engine = await OpenAIEngine.connect(url, tokenizer=ScriptedTokenizer(), dialect="chatml")
            async with Pair(engine, engine) as pair:
                found = await asyncio.gather(*(solve(pair, seed) for seed in range(12)))
                assert all(result.answer == "42" and "Step 7" in result.reasoning for result in found)
                assert sessions(first)
                assert sessions(second)
                assert not sessions(first) & sessions(second)
                await second.stop()
                found = await asyncio.gather(*(solve(pair, seed) for seed in range(12, 20)))
                assert all(result.answer == "42" and "Step 7" in result.reasoning for result in found)
