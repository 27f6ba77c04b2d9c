"""Measures how many tokens a second one process can drive: its processor time for a token, at the pace of GPUs.

    python bench/drive.py [--chains 1,64,256] [--tokens 200]

Two fake vLLM servers in processes of their own write at the pace of a 32B and a 1.5B on an H200 for that number of chains (the profile
`h200-32b-1.5b`). `heard`: a listener gets every token, as in a stream of the service. Processor time hardly depends on other work on the
machine; wall time does, and is not told.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent / "gpu"))

from forced import ForcedLikelihoodVerify

from speculative.engines.http.engine import OpenAIEngine
from speculative.methods.base import Method
from speculative.methods.big_only import BigOnly
from speculative.methods.random_switch import RandomSwitch
from speculative.pair import Pair
from speculative.plan.costs import step_costs
from speculative.plan.profile import load_profile
from speculative.problem import Problem, Sampling
from speculative.runner import run
from speculative.testing import ScriptedTokenizer

SERVER = """
import asyncio, sys
from speculative.testing import ScriptedEngine
from speculative.testing.fake_server import FakeServer
text = "".join(f"{place:x} " for place in range(3000))

async def main():
    server = FakeServer(ScriptedEngine(lambda seen, seed: text, width=3), pace=float(sys.argv[1]))
    server.scale_out = True
    await server.start()
    print(server.url, flush=True)
    await asyncio.to_thread(sys.stdin.read)
asyncio.run(main())
"""
METHODS: dict[str, Method] = {
    "big_only": BigOnly(sequential_scale=0, answer_by="big"),
    "random_switch": RandomSwitch(big_share=0.2, switch_chunk=16),  # pyright: ignore[reportCallIssue]
    "likelihood_verify,pipeline=accept": ForcedLikelihoodVerify(step_tokens=50, pipeline="accept"),
}


def serve(pace: float) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", SERVER, str(pace)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


async def measure(urls: list[str], method: Method, chains: int, tokens: int, *, heard: bool) -> tuple[float, int]:
    """Returns microseconds of processor time for a token, and the tokens."""
    engines = [await OpenAIEngine.connect(url, tokenizer=ScriptedTokenizer(3), dialect="chatml") for url in urls]
    listener: Any = (lambda _: None) if heard else None
    async with Pair(*engines) as pair:

        async def chain(seed: int) -> int:
            problem = Problem.of(f"Case {seed}?", seed=seed, max_tokens=tokens + 16, answer_tokens=16, sampling=Sampling(0.6, 0.95))
            result = await run(problem, method, pair, listener)
            return sum(usage.produced_tokens for usage in result.usage.values())

        await chain(0)
        before = time.process_time()
        produced = sum(await asyncio.gather(*(chain(seed) for seed in range(chains))))
        return 1e6 * (time.process_time() - before) / produced, produced


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chains", default="1,64,256")
    parser.add_argument("--tokens", type=int, default=200)
    options = parser.parse_args()
    profile = load_profile("h200-32b-1.5b")
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print("| method | chains | heard | us a token | tokens/s of one process |\n|---|---:|---|---:|---:|")
    for chains in map(int, options.chains.split(",")):
        paces = [step_costs(profile.server(role)).decode(min(chains, 256), chains * 400) for role in ("big", "small")]
        servers = [serve(pace) for pace in paces]
        try:
            urls = [server.stdout.readline().strip() for server in servers if server.stdout]
            for name, method in METHODS.items():
                for heard in (False, True):
                    cost, _ = asyncio.run(measure(urls, method, chains, options.tokens, heard=heard))
                    print(f"| {name} | {chains} | {'yes' if heard else 'no'} | {cost:.0f} | {1e6 / cost:,.0f} |", flush=True)
        finally:
            for server in servers:
                server.kill()
                server.wait()
    print(f"load of the machine: {os.getloadavg()[0]:.1f} at the end")
    return 0


if __name__ == "__main__":
    sys.exit(main())
