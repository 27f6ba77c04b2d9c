"""`speculative replay-load`: replays traces as a load on other servers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import Group, Parameter

from speculative.cli._flags import parse_count
from speculative.cli._output import write_json, write_line
from speculative.cli._signals import run_interruptible
from speculative.engines.http.replicas import address
from speculative.errors import EngineError, UsageError
from speculative.plan.forecast import MAX_CHAINS
from speculative.plan.recorded import RecordedChain, chains_of, read_chains
from speculative.plan.replay_load import LoadResult, LoadTest, find_model
from speculative.redaction import read_secret

SERVERS = Group("Servers", sort_key=1)
LOAD = Group("Load", sort_key=2)


def replay_load(
    folder: Annotated[Path, Parameter(help="a trace, or a folder of traces such as a run folder")],
    /,
    *,
    url: Annotated[str, Parameter(help="address of a server with /v1; it gets the calls of roles without one", group=SERVERS)],
    small_url: Annotated[str | None, Parameter(help="the server that gets the calls of the small model", group=SERVERS)] = None,
    method: Annotated[str, Parameter(help="the method whose chains are replayed, or `all`", group=LOAD)] = "all",
    chains: Annotated[
        int, Parameter(converter=parse_count, help="chains at once, chosen at random; they are repeated if fewer are recorded", group=LOAD)
    ] = 16,
    ignore_eos: Annotated[bool, Parameter(help="ask for texts of full length, as vLLM and SGLang can", group=LOAD)] = True,
    json: Annotated[bool, Parameter(help="print JSON", negative=(), show_default=False)] = False,
) -> int:
    """Replay traces as a load on servers with the OpenAI API.

    Calls have the tokens, the shared prefixes and the waits of the recorded ones; their texts are made up. Keys come from
    SPECULATIVE_BIG_KEY, SPECULATIVE_SMALL_KEY or SPECULATIVE_KEY.
    """
    if chains > MAX_CHAINS:
        raise UsageError(f"--chains must be from 1 to {MAX_CHAINS}, got {chains}")
    urls = {"big": address(url)} | ({"small": address(small_url)} if small_url else {})
    recorded = chains_of(read_chains(folder), method, folder)
    found = {role: read_secret(f"SPECULATIVE_{role.upper()}_KEY") or read_secret("SPECULATIVE_KEY") for role in urls}
    keys = {role: key for role, key in found.items() if key}
    result = run_interruptible(_load(recorded, urls, keys, chains, ignore_eos=ignore_eos))
    if json:
        write_json(msgspec.to_builtins(result))
    else:
        speed = f"{result.tokens} tokens in {result.wall_s:.2f} s: {result.tokens_s:.1f} tokens/s"
        write_line(f"{result.chains} chains, {result.calls} calls, {speed}")
        write_line(f"a chain: {result.latency_s:.2f} s, 95 of 100 below {result.slow_s:.2f} s; a first token: {result.first_token_s:.3f} s")
    if result.errors:
        told = ", ".join(f"{count} x {kind}" for kind, count in result.errors.items())
        raise EngineError(f"{sum(result.errors.values())} calls failed ({told}); look into the server's log")
    return 0


async def _load(recorded: list[RecordedChain], urls: dict[str, str], keys: dict[str, str], chains: int, *, ignore_eos: bool) -> LoadResult:
    models = {role: await find_model(url, keys.get(role)) for role, url in urls.items()}
    return await LoadTest(urls, models, keys, ignore_eos=ignore_eos).run(recorded, chains)
