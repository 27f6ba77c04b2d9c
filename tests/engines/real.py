"""What the tests against real servers share: where their Pythons are, what they count, and a door in front of one that breaks."""

import asyncio
import contextlib
import importlib.util
import json
import os
import shutil
import signal
import time
from collections import deque
from functools import partial
from pathlib import Path
from urllib.request import urlopen

import aiohttp
import pytest
from aiohttp import web
from easy import easy_problems

import speculative
from speculative.engines.base import CallStats, Decoding
from speculative.engines.http.engine import OpenAIEngine
from speculative.engines.http.protocols.vllm import VllmProtocol
from speculative.engines.llamacpp.launch import LlamaLaunch
from speculative.engines.options import EngineOptions
from speculative.engines.vllm import guard
from speculative.pair import Pair
from speculative.problem import Message
from speculative.prompts import encode_parts, find_dialect
from speculative.trace.usage import Usage

SHIPPED = Path(speculative.__file__).parent / "bundled"
SCRIPTS = Path(__file__).parents[2] / "scripts"
ARGS = "--max-model-len 8192 --dtype float32 --enforce-eager --no-enable-chunked-prefill --max-num-batched-tokens 8192"
ARGS += " --scheduling-policy priority"
"""Without chunked prefill: the CPU build dies of a seeded call whose prompt is computed in parts ("CPU Generator does not use offset")."""

ENVIRONMENT = {"VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "1"}
"""One thread and one GiB of cache a server: two of them run beside the tests on two cores."""

PROBLEMS = [json.loads(line) for line in (SHIPPED / "problems.jsonl").read_text().splitlines()]
PROBLEMS[:12] = [{"id": one.id, "problem": one.problem, "answer": one.answer} for one in easy_problems(12)]
"""Those of the task, but a dozen with short chains comes first."""


def built(name):
    """The Python that scripts/NAME.sh builds: what its variable names (`VLLM_CPU`: it or its folder), else the script's own."""
    variable = name.upper().replace("-", "_")
    named = Path(os.environ.get(variable) or Path.home() / ".cache" / "speculative" / name).expanduser()
    python = named / "bin" / "python" if named.is_dir() else named
    if python.is_file() and os.access(python, os.X_OK):
        return str(python)
    need(False, f"there is no Python with that server at {python}; {variable}=$(scripts/{name}.sh) names one")
    raise AssertionError("skipped or failed")


def need(there, what):
    """Skips the test where something is not there; in CI it fails."""
    if not there:
        (pytest.fail if os.environ.get("CI", "").lower() in ("1", "true") else pytest.skip)(what)


LLAMA_ARGS = "--cache-type-k f32 --cache-type-v f32 --threads 1"
"""Keys and values in 32 bits, as the weights of scripts/gguf_file.py are: greedy text is to be the same."""


def gguf(name):
    """A file that scripts/gguf.sh collects, in the folder that GGUF_FOLDER names, else in the script's own."""
    folder = Path(os.environ.get("GGUF_FOLDER") or Path.home() / ".cache" / "speculative" / "gguf").expanduser()
    need(importlib.util.find_spec("xllamacpp") or shutil.which("llama-server"), "llama.cpp's server is missing; install the extra llama")
    need((folder / f"{name}.gguf").is_file(), f"{folder} has no {name}.gguf; GGUF_FOLDER=$(scripts/gguf.sh) names a folder that has it")
    return folder / f"{name}.gguf"


def llama_launch(name, args=""):
    """How a GGUF file is served for these tests."""
    return LlamaLaunch(str(gguf(name)), args=f"{LLAMA_ARGS} {args}", deadline=120)


def prompt(engine, text):
    return encode_parts(engine.tokenizer, find_dialect("bundled").prompt([Message("user", text)], ""))


def metric(url, name, kind="vllm", **labels):
    """A server's own count: the sum over the lines of that name that have the labels. A name that it does not know is an error."""
    with urlopen(url.removesuffix("/v1") + "/metrics") as page:
        lines = page.read().decode().splitlines()
    found = [line for line in lines if line.startswith((f"{kind}:{name}{{", f"{kind}:{name} "))]
    assert found, f"no {kind}:{name} at {url}"
    wanted = [f'{label}="{value}"' for label, value in labels.items()]
    return sum(float(line.rpartition(" ")[2]) for line in found if all(label in line for label in wanted))


COUNTED = {
    "requests": "request_success_total",
    "prompt_tokens": "prompt_tokens_total",
    "cached_tokens": "prompt_tokens_cached_total",
    "produced_tokens": "generation_tokens_total",
}
"""What a role's usage says, and what its server counts."""


def counts(servers):
    return {role: {field: metric(one.url, name) for field, name in COUNTED.items()} for role, one in servers.items()}


async def counted(servers, before, usage, fields=tuple(COUNTED), *, exact=True):
    """Both servers have counted since `before` what the usage says of their roles: not a call or a token more or less.

    The tokens of a scored text are a part of the server's prompt. Unless `exact`, a server may have counted less: a call that was cancelled
    may not have reached it.
    """
    spent = {role: usage.get(role, Usage()) for role in servers}
    said = {role: {field: getattr(spent[role], field) for field in fields} for role in servers}
    for role in said:
        if "prompt_tokens" in fields:
            said[role]["prompt_tokens"] += spent[role].scored_tokens

    def grown():
        now = counts(servers)
        return {role: {field: now[role][field] - before[role][field] for field in fields} for role in servers}

    def agrees(now):
        return now == said if exact else all(now[role][field] <= said[role][field] for role in said for field in fields)

    with contextlib.suppress(TimeoutError):  # a server may count a moment after it has answered
        await until(lambda: agrees(grown()), 20)
    assert agrees(now := grown()), f"the servers counted {now}, the usage says {said}"


def idle(servers):
    """Whether no server that lives has work."""
    living = [one.url for one in servers.values() if one.process.poll() is None]
    return all(metric(url, name) == 0 for url in living for name in ("num_requests_running", "num_requests_waiting"))


async def quiet(servers):
    """Waits until the servers have no work and get none for a second: a chain is between two calls for less."""

    def still():
        before = counts(servers)
        time.sleep(1)
        return idle(servers) and counts(servers) == before

    await until(still)


async def until(condition, seconds=60.0):
    async with asyncio.timeout(seconds):
        while not await asyncio.to_thread(condition):  # noqa: ASYNC110 (a server's counters have no events)
            await asyncio.sleep(0.1)


async def connected(url, role, kind=OpenAIEngine):
    return await kind.connect(url, tokenizer=str(SHIPPED / role))


async def streamed_as_completed(engine):
    """A stream gives what `complete` gives, cut in the same place."""
    prefix = prompt(engine, PROBLEMS[3]["problem"])
    for decoding in (Decoding(64, stop=("\n\n",), logprobs=True), Decoding(64, temperature=0.8, seed=7), Decoding(1), Decoding(3)):
        ((whole,),) = await engine.complete([prefix], decoding, key="", stats=CallStats())
        deltas = [delta async for delta in engine.stream(prefix, decoding, key="", stats=CallStats())]
        assert deltas[-1].completion == whole
        assert tuple(number for delta in deltas for number in delta.ids) == whole.ids
        text = engine.tokenizer.to_bytes(whole.ids)
        if decoding.stop:
            assert whole.finish == "stop"
            assert b"\n\n" in text
            assert b"\n\n" not in engine.tokenizer.to_bytes(whole.ids[:-1])
        else:
            assert len(whole.ids) <= decoding.max_tokens


async def tower_as_in_this_process(servers):
    """A pair with a tower on both servers as small writes what the same models write in this process, and counts it alike."""
    urls, tokenizers = [servers[role].url for role in ("small", "big")], {role: str(SHIPPED / role) for role in ("small", "big")}
    options = ",".join(f"{role}_tokenizer={folder}" for role, folder in tokenizers.items())
    tower = f"random_switch({','.join(urls)},switch_chunk=4,{options})"
    take_over = str(SCRIPTS.parent / "examples" / "methods" / "take_over.py")
    big = {"big": EngineOptions(tokenizer=tokenizers["big"])}
    async with (
        await Pair.connect(urls[1], tower, options=big) as served,
        await Pair.connect(small="random_switch(bundled:small,bundled:big,switch_chunk=4)") as local,
    ):
        for method, params in (("random_switch", {"switch_chunk": 9}), (take_over, {"doubt": "="})):
            run = partial(speculative.asolve, PROBLEMS[2]["problem"], method, temperature=0, seed=3, max_tokens=600, **params)
            theirs, ours = await run(pair=served), await run(pair=local)
            assert theirs.answer
            assert (theirs.reasoning, theirs.text, theirs.finish_reason) == (ours.reasoning, ours.text, ours.finish_reason)
            assert {"small/small", "small/big"} <= set(theirs.usage)
            for role, usage in theirs.usage.items():
                assert usage.kept_tokens == ours.usage[role].kept_tokens > 0, role
                if method == "random_switch":  # the other one closes streams: what a server wrote meanwhile hangs on clocks
                    assert (usage.requests, usage.produced_tokens) == (ours.usage[role].requests, ours.usage[role].produced_tokens), role


async def final_answers(problems, served, local):
    """At temperature 0, by method: the problems with another answer than the bundled pair's, with both; and the bundled pair's answers."""
    gate = asyncio.Semaphore(12)

    async def answer(problem, method, engines):
        async with gate:
            result = await speculative.asolve(problem["problem"], method, pair=engines, temperature=0, seed=1, max_tokens=600)
        return result.answer

    for method in ("big_only", "random_switch"):
        theirs = await asyncio.gather(*(answer(problem, method, served) for problem in problems))
        ours = await asyncio.gather(*(answer(problem, method, local) for problem in problems))
        both = zip(problems, theirs, ours, strict=True)
        yield method, [(problem["id"], one, other) for problem, one, other in both if one != other], ours


class Endless(OpenAIEngine):
    """Its model may end no text: a chain is as long as a test wants it, whatever the model would say."""

    def __init__(self, *settings):
        super().__init__(*settings)
        self._protocol = EndlessWire(self.server.model)


class EndlessWire(VllmProtocol):
    def body(self, job, decoding, every):
        return {**super().body(job, decoding, every), "min_tokens": job.max_tokens}


@contextlib.asynccontextmanager
async def company(running, role):
    """Other work for a server, so much of it that what is asked beside takes minutes and comes as it is written.

    Alone, a call has a thousand tokens in a second, and a busy server may tell of them in a few pieces, seconds later.
    """
    engine, stats = await connected(running.url, role, Endless), CallStats()
    prefixes = [prompt(engine, PROBLEMS[0]["problem"])] * 24
    work = asyncio.create_task(engine.complete(prefixes, Decoding(7000, temperature=1.0), key="", stats=stats))
    try:
        await until(lambda: stats.produced_tokens > 24 or work.done())
        yield
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)  # the server may have been ended
        await engine.aclose()


@contextlib.asynccontextmanager
async def through_doors(servers, kind=OpenAIEngine):
    """The pair with a door in front of each server."""
    async with contextlib.AsyncExitStack() as stack:
        doors = {role: await stack.enter_async_context(Door(one.url)) for role, one in servers.items()}
        engines = [await connected(door.url, role, kind) for role, door in doors.items()]
        yield await stack.enter_async_context(Pair(*engines)), doors


def group(running):
    """Signals go to the server and its workers, not to what guards them."""
    return guard.process_tree(running.process.pid)[1]


@contextlib.contextmanager
def stopped(running):
    os.killpg(group(running), signal.SIGSTOP)
    try:
        yield
    finally:
        os.killpg(group(running), signal.SIGCONT)


class Door:
    """Passes everything on to a server, but breaks the calls that `faults` tells: None passes one on, a fault's name breaks one.

    `500`, `429`, `429 later`, `503`, `garbage`, `closed` come instead of an answer; `half` and `cut` in the middle of a real one.
    `broken` counts the broken ones; `bodies` are the calls that came, read from JSON.
    """

    def __init__(self, url):
        self._target = url.removesuffix("/v1")
        self.faults = deque()
        self.broken = 0
        self.bodies = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self._port}/v1"

    async def __aenter__(self):
        self._session = aiohttp.ClientSession()
        app = web.Application(client_max_size=1 << 26)
        app.router.add_route("*", "/{path:.*}", self._pass)
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self._port = int(site.name.rpartition(":")[2])
        return self

    async def __aexit__(self, *_):
        await self._runner.cleanup()
        await self._session.close()

    async def _pass(self, request):
        fault = self.faults.popleft() if request.path == "/v1/completions" and self.faults else None
        self.broken += fault is not None
        if request.path == "/v1/completions":
            self.bodies.append(await request.json())
        match fault:
            case "500" | "503" | "429":
                return web.json_response({"error": {"message": "broken on purpose"}}, status=int(fault))
            case "429 later":
                return web.json_response({"error": {"message": "not now"}}, status=429, headers={"Retry-After": "0.1"})
            case "garbage":
                return web.Response(body=b"data: <html>\xff\xfe</html>\n\n", content_type="text/event-stream")
            case "closed":
                request.transport.abort()
                return web.Response()
        async with self._session.request(
            request.method, self._target + request.path_qs, data=await request.read(), headers={"Content-Type": "application/json"}
        ) as theirs:
            ours = web.StreamResponse(status=theirs.status, headers={"Content-Type": theirs.headers["Content-Type"]})
            await ours.prepare(request)
            async for chunk in theirs.content.iter_any():
                if fault == "half":
                    await ours.write(chunk[: len(chunk) // 2] + b"\n\n")
                elif fault == "cut":
                    await ours.write(chunk.partition(b"\n\n")[0] + b"\n\n")
                    await asyncio.sleep(0.05)  # what was sent arrives before the end does
                    request.transport.abort()
                else:
                    await ours.write(chunk)
                    continue
                return ours
            await ours.write_eof()
            return ours
