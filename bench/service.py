"""Measures the cost of the service: a paced load directly, through a bare pass-through, and through the service.

    python bench/service.py [--json FILE] [--quick] [--against FOLDER]

Four processes: a fake model server with a set pace, a pass-through (uvicorn and aiohttp, bytes untouched), the service with
engines over HTTP on that server, and the clients. CPU is that of the middle process, from /proc, over a whole load,
including the start and end of requests. About five minutes; figures are medians of repeats.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from operator import sub, truediv
from pathlib import Path
from typing import Any

import aiohttp

LOADS = ((1, 50.0, 4.0, 1), (16, 50.0, 3.0, 3), (64, 50.0, 12.0, 5), (256, 10.0, 6.0, 1))
"""Chains at once, tokens a second of each, seconds that they write for, and how often it is measured."""
APART = 0.2
"""Seconds in which 16 chains begin in the load that measures the first token apart: as they do where each writes for three seconds."""
PATHS = ("direct", "bare", "service")
WIDTH = 3
END = (1 << 26) + 4
PROMPT = list(range(21070400, 21070420))


def thinking(tokens: int) -> str:
    """A text of so many tokens; no two steps of it are equal."""
    return "".join(f"{number:03d}" if number % 20 else "\n\n." for number in range(1, tokens + 1))


# ---- the processes in the middle ------------------------------------------------------------------------------------


async def fake(port: int, tokens: int, pace: float) -> None:
    from speculative.testing import ScriptedEngine
    from speculative.testing.fake_server import FakeServer

    server = FakeServer(ScriptedEngine(f"{thinking(tokens)}</think>\n\n4<|im_end|>", width=WIDTH), pace=pace)
    await server.start(port)
    await asyncio.Event().wait()


def passing(port: int, upstream: str) -> None:
    import uvicorn

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        if scope["method"] == "GET":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body"})
            return
        body = (await receive())["body"]
        if "session" not in state:
            state["session"] = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        async with state["session"].post(upstream, data=body, headers={"content-type": "application/json"}) as response:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
            async for piece in response.content.iter_any():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body"})

    state: dict[str, aiohttp.ClientSession] = {}
    uvicorn.run(app, port=port, log_level="error", access_log=False, lifespan="off")


def service(port: int, upstream: str, small: str = "", tokenizes: bool = False) -> None:
    """Serves a pair on a model server, or on one for each model.

    `tokenizes`: each text goes through a real tokenizer first, so that it costs as much as with a real model.
    """
    from speculative.engines.http.engine import OpenAIEngine
    from speculative.engines.local import BundledEngine
    from speculative.pair import Pair
    from speculative.serve.server import serve
    from speculative.settings import Settings
    from speculative.testing import ScriptedTokenizer

    class TokenizedFirst(ScriptedTokenizer):
        def encode(self, text: str) -> list[int]:
            real.encode(text)
            return super().encode(text)

    async def open_pair() -> Pair:
        big = await OpenAIEngine.connect(upstream, tokenizer=tokenizer, dialect="chatml")
        return Pair(big, await OpenAIEngine.connect(small, tokenizer=tokenizer, dialect="chatml") if small else big)

    real = BundledEngine.open("big").tokenizer
    tokenizer = TokenizedFirst(WIDTH) if tokenizes else ScriptedTokenizer(WIDTH)
    serve(Settings(port=port, max_chains=1024, log_level="warning"), open_pair)


# ---- the clients ----------------------------------------------------------------------------------------------------


def asks(path: str, tokens: int) -> tuple[str, dict[str, Any]]:
    """The route and the body of one chain."""
    if path == "service":
        messages = [{"role": "user", "content": "2 + 2?"}]
        return "/v1/chat/completions", {
            "model": "speculative/big_only",
            "messages": messages,
            "stream": True,
            "max_tokens": 4 * tokens + 64,
        }
    rest = {"temperature": 0.6, "top_p": 0.95, "top_k": 0, "seed": 1, "n": 1, "stop": [], "stop_token_ids": [END]}
    return "/v1/completions", {"prompt": PROMPT, "stream": True, "max_tokens": tokens + 8, "return_token_ids": True, **rest}


async def chain(session: aiohttp.ClientSession, base: str, path: str, tokens: int) -> tuple[float, float, bool]:
    """Seconds to the first token, in all, and whether the stream came to its end."""
    route, body = asks(path, tokens)
    began, first, tail = time.perf_counter(), 0.0, b""
    async with session.post(base + route, json=body) as response:
        async for piece in response.content.iter_any():
            if not first and (b'"token_ids"' in piece or b'"reasoning"' in piece):
                first = time.perf_counter() - began
            tail = (tail + piece)[-40:]
    return first, time.perf_counter() - began, tail.endswith(b"data: [DONE]\n\n") and first > 0


async def load(base: str, path: str, chains: int, tokens: int, spread: float) -> list[tuple[float, float, bool]]:
    """All chains, begun evenly over one token's time, as a real load is."""

    async def later(number: int) -> tuple[float, float, bool]:
        await asyncio.sleep(spread * number / chains)
        return await chain(session, base, path, tokens)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(600)) as session:
        return list(await asyncio.gather(*(later(number) for number in range(chains))))


def cpu(pid: int) -> float:
    """Seconds that a process has computed."""
    return sum(int((task / "schedstat").read_text().split()[0]) for task in Path(f"/proc/{pid}/task").iterdir()) / 1e9


def memory(pid: int) -> float:
    """Its largest resident size so far, MiB."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


class Process:
    """One of the processes, alive inside a `with`."""

    def __init__(self, role: str, port: int, *more: object, source: str = "") -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._environment = {**os.environ, "PYTHONPATH": source} if source else None
        self._command = [sys.executable, str(Path(__file__).resolve()), "--as", role, str(port), *map(str, more)]

    def __enter__(self) -> Process:
        self.process = subprocess.Popen(self._command, env=self._environment)
        self.pid = self.process.pid
        asyncio.run(self._up())
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait()

    async def _up(self) -> None:
        route = "/ready" if {"service", "tokenizing"} & set(self._command) else "/health"
        async with aiohttp.ClientSession() as session:
            for _ in range(600):
                try:
                    async with session.get(self.url + route) as response:
                        if response.status == 200:
                            return
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(0.05)
        raise RuntimeError(f"{self._command} does not come up")


def measured(chains: int, rate: float, seconds: float, repeats: int, port: int) -> dict[str, list[dict[str, float]]]:
    """One load on all three paths, in turns."""
    tokens = int(rate * seconds)
    found: dict[str, list[dict[str, float]]] = {path: [] for path in PATHS}
    with (
        Process("fake", port, tokens, 1 / rate) as model,
        Process("passing", port + 1, f"{model.url}/v1/completions") as bare,
        Process("service", port + 2, f"{model.url}/v1") as ours,
    ):
        middles = dict(zip(PATHS, (model, bare, ours), strict=True))
        for path, middle in middles.items():  # a first time, which does not count
            asyncio.run(load(middle.url, path, min(chains, 16), min(tokens, 20), 1 / rate))
        for _ in range(repeats):
            for path, middle in middles.items():
                found[path].append(figures(middle, path, chains, rate, tokens))
                apart = asyncio.run(load(middle.url, path, chains, 20, APART)) if chains == 16 else []
                found[path][-1]["first_apart_ms"] = 1000 * statistics.median([first for first, _, _ in apart] or [0.0])
    return found


def figures(middle: Process, path: str, chains: int, rate: float, tokens: int) -> dict[str, float]:
    """The figures of one load on one path."""
    before, began = cpu(middle.pid), time.perf_counter()
    done = asyncio.run(load(middle.url, path, chains, tokens, 1 / rate))
    wall, spent = time.perf_counter() - began, cpu(middle.pid) - before
    times = sorted(seconds for _, seconds, _ in done)
    return {
        "tokens_s": chains * tokens / wall,
        "first_ms": 1000 * statistics.median(first for first, _, _ in done),
        "first_worst_ms": 1000 * max(first for first, _, _ in done),
        "cpu_us_token": 1e6 * spent / (chains * tokens),
        "memory_mib": memory(middle.pid),
        "slowest": times[-1] / statistics.median(times),
        "lost": sum(not whole for _, _, whole in done),
    }


def compared(runs: dict[str, list[dict[str, float]]], field: str, path: str, ours: Callable[[float, float], float]) -> float:
    """The median, over the repeats, of the service's figure held against that of another path."""
    pairs = zip(runs["service"], runs[path], strict=True)
    return statistics.median(ours(mine[field], other[field]) for mine, other in pairs)


def against(source: str, port: int, chains: int = 64, rate: float = 50.0, seconds: float = 5.0, repeats: int = 3) -> None:
    """Prints the CPU a token and the first token of this version and of another one, in turns, against the pass-through."""
    tokens = int(rate * seconds)
    with (
        Process("fake", port, tokens, 1 / rate) as model,
        Process("passing", port + 1, f"{model.url}/v1/completions") as bare,
        Process("service", port + 2, f"{model.url}/v1", source=source) as before,
        Process("service", port + 3, f"{model.url}/v1") as now,
    ):
        for path, middle in (("bare", bare), ("service", before), ("service", now)):  # a first time, which does not count
            asyncio.run(load(middle.url, path, 16, 20, 1 / rate))
        found: dict[str, list[float]] = {"before": [], "now": []}
        later: dict[str, list[float]] = {"before": [], "now": []}
        lost = {"before": 0.0, "now": 0.0}
        for _ in range(repeats):
            usual = figures(bare, "bare", chains, rate, tokens)["cpu_us_token"]
            for name, middle in (("before", before), ("now", now)):
                run = figures(middle, "service", chains, rate, tokens)
                found[name].append(run["cpu_us_token"] / usual)
                lost[name] += run["lost"]
        for _ in range(5 * repeats):
            usual = first_ms(bare, "bare", rate)
            for name, middle in (("before", before), ("now", now)):
                later[name].append(first_ms(middle, "service", rate) - usual)
        for name, ratios in found.items():
            print(f"{name}: {statistics.median(ratios):.2f} times the pass-through ({min(ratios):.2f} to {max(ratios):.2f})")
        for name, waits in later.items():
            low, median, high = statistics.quantiles(waits, n=4)
            print(f"{name}: first token {median:.1f} ms later at 16 chains ({low:.1f} to {high:.1f}, quartiles)")
            print(f"{name}: {lost[name]:.0f} chains lost")
        print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


def first_ms(middle: Process, path: str, rate: float) -> float:
    """The time to the first token of 16 chains that all begin within the time of one token."""
    done = asyncio.run(load(middle.url, path, 16, 3, 1 / rate))
    if not all(whole for _, _, whole in done):  # their times are no times to a first token
        raise RuntimeError(f"{middle.url} lost a chain; look into its output")
    return 1000 * statistics.median(first for first, _, _ in done)


def per_call(port: int, chains: int = 64, tokens: int = 640) -> dict[str, float]:
    """CPU of the service for each call to a model, where chunks of 16 tokens change hands and nobody listens."""

    async def whole(session: aiohttp.ClientSession, base: str) -> int:
        params = {"big_share": 0.5, "switch_chunk": 16}
        body = {
            "model": "speculative/random_switch",
            "params": params,
            "messages": [{"role": "user", "content": "2 + 2?"}],
            "max_tokens": 4 * tokens + 64,
        }
        async with session.post(f"{base}/v1/chat/completions", json=body) as response:
            found = await response.json()
            return sum(usage["requests"] for usage in found["speculative"]["usage"].values())

    async def all_of_them(base: str) -> int:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(600)) as session:
            return sum(await asyncio.gather(*(whole(session, base) for _ in range(chains))))

    with Process("fake", port, tokens, 0.0) as model, Process("service", port + 1, f"{model.url}/v1") as ours:
        asyncio.run(all_of_them(ours.url))
        before = cpu(ours.pid)
        calls = asyncio.run(all_of_them(ours.url))
        return {"calls": calls, "cpu_ms_call": 1000 * (cpu(ours.pid) - before) / calls}


def large_requests(port: int) -> dict[str, float]:
    """Measures how much large requests add to the longest wait for `/health` and to the longest gap of a stream.

    The stream comes from a model server of its own, and the client has encoded its bodies before: only the service is shared.
    """
    prompt = "The quick brown fox jumps over 13 lazy dogs. " * 4_500  # 200 kB
    messages = [{"role": "user", "content": prompt}]
    large = [{"model": "speculative/big_only", "messages": messages, "max_tokens": 8} for _ in range(30)]
    large.append({**large[0], "messages": [{"role": "user", "content": prompt * 20}]})
    large.append({**large[0], **{f"field{number}": number for number in range(300_000)}})

    async def watched(base: str, bodies: list[dict[str, Any]]) -> tuple[float, float]:
        """Seconds of the slowest `/health` and of the longest gap, while the bodies are answered (at least two seconds)."""
        waits, gaps = [0.0], [0.0]
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(600)) as session:

            async def ask(body: bytes) -> None:
                async with session.post(f"{base}/v1/chat/completions", data=body, headers={"content-type": "application/json"}) as response:
                    await response.read()

            async def stream() -> None:
                route, body = asks("service", 2000)
                async with session.post(base + route, json={**body, "model": "speculative/small_only"}) as response:
                    last = 0.0
                    async for _ in response.content.iter_any():
                        now = time.perf_counter()
                        gaps.append(now - last if last else 0.0)
                        last = now

            async def health() -> None:
                while True:
                    began = time.perf_counter()
                    async with session.get(f"{base}/health") as response:
                        await response.read()
                    waits.append(time.perf_counter() - began)
                    await asyncio.sleep(0.01)

            encoded = [json.dumps(body).encode() for body in bodies]
            watchers = [asyncio.create_task(stream()), asyncio.create_task(health())]
            await asyncio.gather(*map(ask, encoded), asyncio.sleep(2))
            for watcher in watchers:
                watcher.cancel()
            await asyncio.gather(*watchers, return_exceptions=True)
        return max(waits), max(gaps)

    with (
        Process("fake", port, 4000, 0.02) as model,
        Process("fake", port + 2, 4000, 0.02) as other,
        Process("tokenizing", port + 1, f"{model.url}/v1", f"{other.url}/v1") as ours,
    ):
        usual, busy = (asyncio.run(watched(ours.url, bodies)) for bodies in ([], large))
    return {name: 1000 * (busy[place] - usual[place]) for place, name in enumerate(("health_ms", "gap_ms"))}


def bars(found: dict[str, Any]) -> list[tuple[str, float, float]]:
    """The bars: name, value, the most that it may be."""
    loads = found["loads"]
    each = [run for paths in loads.values() for run in paths["service"]]
    return [
        ("CPU for each call to a model, ms", found["calls"]["cpu_ms_call"], 1.0),
        ("CPU a token at 64 chains, times the pass-through's", compared(loads["64"], "cpu_us_token", "bare", truediv), 3.0),
        ("first token later at 16 chains, ms", compared(loads["16"], "first_apart_ms", "direct", sub), 5.0),
        ("the same, all begun within one token's time, ms", compared(loads["16"], "first_ms", "direct", sub), 5.0),
        ("chains lost", sum(run["lost"] for run in each), 0.0),
        ("slowest chain, times the median", max(run["slowest"] for run in each), 2.0),
        ("longest wait for /health under large requests, more than usual, ms", found["large"]["health_ms"], 250.0),
        ("longest gap of a stream under large requests, more than usual, ms", found["large"]["gap_ms"], 250.0),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="two seconds a load, and once")
    parser.add_argument("--port", type=int, default=18700, help="first of a range of free ports")
    parser.add_argument("--against", metavar="FOLDER", help="compare the CPU a token with that of another version's `src` folder, in turns")
    arguments = parser.parse_args()
    if arguments.against:
        against(arguments.against, arguments.port, **({"seconds": 2.0, "repeats": 1} if arguments.quick else {}))
        return
    found: dict[str, Any] = {"command": sys.argv, "loads": {}}
    print(
        f"{'chains':>6} {'path':8}{'tokens/s':>10}{'first ms':>10}{'worst ms':>10}{'CPU us/token':>14}{'MiB':>7}{'slowest':>9}{'lost':>6}"
    )
    for place, (chains, rate, seconds, repeats) in enumerate(LOADS):
        seconds, repeats = (2.0, 1) if arguments.quick else (seconds, repeats)
        paths = found["loads"][str(chains)] = measured(chains, rate, seconds, repeats, arguments.port + 10 * place)
        for path, runs in paths.items():
            v = {field: statistics.median(run[field] for run in runs) for field in runs[0]}
            row = (
                f"{v['tokens_s']:>10.0f}{v['first_ms']:>10.1f}{v['first_worst_ms']:>10.1f}{v['cpu_us_token']:>14.1f}{v['memory_mib']:>7.0f}"
            )
            print(f"{chains:>6} {path:8}{row}{v['slowest']:>9.2f}{v['lost']:>6.0f}", flush=True)
    found["calls"] = per_call(arguments.port + 90)
    found["large"] = large_requests(arguments.port + 95)
    print(f"\n{'bar':72}{'value':>9}{'most':>7}")
    for name, value, most in bars(found):
        print(f"{name:72}{value:>9.2f}{most:>7.1f}  {'ok' if value <= most else 'MISSED'}")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--as"]:
        role, port, *more = sys.argv[2:]
        if role == "fake":
            asyncio.run(fake(int(port), int(more[0]), float(more[1])))
        elif role == "passing":
            passing(int(port), more[0])
        else:
            service(int(port), *more, tokenizes=role == "tokenizing")
    else:
        main()
