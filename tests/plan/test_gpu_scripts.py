"""The scripts for GPU hosts, rehearsed on fake servers and on the bundled pair."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Coroutine, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from speculative.engines.http.engine import OpenAIEngine
from speculative.pair import Pair
from speculative.testing import ScriptedEngine, ScriptedTokenizer
from speculative.testing.fake_server import FakeServer
from speculative.trace.events import Accepted, Rejected

GPU = Path(__file__).parents[2] / "bench" / "gpu"


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(GPU))
    import table

    yield table
    for name in ("table", "forced", "raw"):
        sys.modules.pop(name, None)


def endless(seen: str, seed: int) -> str:
    return "".join(f"{place:x} " for place in range(len(seen) % 7, 3000))


@pytest.mark.slow
async def test_every_method_runs_on_two_servers_with_forced_decisions(table: ModuleType) -> None:
    async with FakeServer(ScriptedEngine(endless)) as big, FakeServer(ScriptedEngine(endless)) as small:
        big.scale_out = True
        engines = [await OpenAIEngine.connect(one.url, tokenizer=ScriptedTokenizer(), dialect="chatml") for one in (big, small)]
        async with Pair(*engines) as pair:
            for method in table.methods(0.8).values():
                row = await table.measure(pair, method, 3, 200, 2)
                assert row["kept"] >= 3 * 150
                assert row["tokens_s"] > 0
            scored = sum(path == "/inference/v1/generate" for path, _, _ in big.requests)
            assert scored >= 3 * 3 * 3  # three methods that score, three chains, at least three steps
            swing = await table.measure_swing(pair, table.methods(0.8), 100, 4)
            assert all(swing[name]["mean_s"] > 0 for name in ("auto", "big_only", table.PIPED))


async def test_bare_calls_are_those_of_the_method(table: ModuleType) -> None:
    async with FakeServer(ScriptedEngine(endless)) as big, FakeServer(ScriptedEngine(endless)) as small:
        big.scale_out = True
        engines = [await OpenAIEngine.connect(one.url, tokenizer=ScriptedTokenizer(), dialect="chatml") for one in (big, small)]
        async with Pair(*engines) as pair:

            async def calls(work: Coroutine[Any, Any, Any]) -> tuple[int, int, int]:
                """Counts scores, steps that big writes, and drafts."""
                big.requests.clear()
                small.requests.clear()
                await work
                scores = sum(path.endswith("generate") for path, _, _ in big.requests)
                steps = [sum(body.get("max_tokens") == 50 for _, _, body in server.requests) for server in (big, small)]
                return scores, *steps

            bare = await calls(table.measure_raw(pair, 1, 300, 0.5))
            method = await calls(table.measure(pair, table.methods(0.5)[table.PIPED], 1, 300, 2))
    assert bare == method
    assert bare[0] == 6
    assert bare[1] > 0


def test_the_rows_of_the_bars_come_first_and_none_comes_twice(table: ModuleType) -> None:
    rows = table.plan_rows(["c", "a", "f", "e-mps"], [1, 16, 64, 256], [*table.methods(0.8)])
    assert rows[:4] == [("c", "big_only", 1), ("c", "raw_loop", 1), ("c", table.PIPED, 1), ("c", "auto", 1)]
    assert {row for row in rows if row[0] == "a"} == {("a", "big_only", load) for load in (1, 16, 64, 256)}
    assert max(place for place, row in enumerate(rows) if row[0] == "a") < 15
    assert len(rows) == len(set(rows)) == 3 * 8 * 4 + 4 + 4 + 1


async def test_single_calls_are_timed_once(table: ModuleType, tmp_path: Path) -> None:
    out = tmp_path / "calls"
    await table.measure_calls(ScriptedEngine(endless), out, {1024})
    rows = table.read_rows(out)
    assert [row["prefix"] for row in rows] == [4096, 16384]
    assert all(set(row) == {"prefix", "cold_ms", "cached_ms", "judge_ms", "score_ms"} for row in rows)


def test_the_verdicts_of_a_chain_are_those_that_the_planner_draws(table: ModuleType) -> None:
    from random import Random

    import speculative

    method = table.methods(0.8)["likelihood_verify"]
    pair = Pair(ScriptedEngine(endless), ScriptedEngine(endless))
    speculative.solve("?", method, pair=pair, seed=1, max_tokens=100)  # an earlier chain leaves nothing in the method
    result = speculative.solve("?", method, pair=pair, seed=3, max_tokens=600)
    verdicts = [isinstance(event, Accepted) for event in result.trace.walk() if isinstance(event, Accepted | Rejected)]
    random = Random(3)
    drawn = [random.random() < 0.8 for _ in verdicts]
    assert len(verdicts) > 5
    assert verdicts[:-1] == drawn[:-1]


@pytest.mark.slow
def test_the_same_command_continues_and_writes_the_page(table: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, pair = (
        tmp_path / "rows.jsonl",
        ["--big", "bundled:big", "--small", "bundled:small", "--layouts", "c", "--steps", "1", "--burst", "2"],
    )
    assert table.main([str(out), *pair, "--chains", "1", "--seconds", "0"]) == 3
    assert not out.exists()
    assert table.main([str(out), *pair, "--chains", "1"]) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert {row["method"] for row in rows} == {*table.methods(0.8), "swing"}  # bare calls need servers
    assert table.main([str(out), *pair, "--chains", "1"]) == 0
    assert len(out.read_text().splitlines()) == len(rows)
    page = tmp_path / "page.md"
    page.write_text(f"before\n{table.BEGIN}{table.END}\nafter\n")
    assert table.main([str(out), "--page", str(page)]) == 0
    assert page.read_text().count("| c |") == len(rows) - 1
    assert "a burst of 2 beside them" in page.read_text()
    assert page.read_text().endswith("after\n")


def test_rows_are_held_against_the_bars(table: ModuleType) -> None:
    def row(layout: str, method: str, chains: int, rate: float) -> dict[str, Any]:
        return {"layout": layout, "method": method, "chains": chains, "tokens_s": rate, "cpu_us_token": 50.0}

    rows = [row("c", table.PIPED, 1, 97), row("c", "raw_loop", 1, 100), row("c", "auto", 1, 90), row("c", table.PIPED, 16, 1300)]
    rows += [row("a", "big_only", 16, 1000), row("c", "big_only", 64, 3000), {"layout": "c", "method": "swing", "chains": 1}]
    calls = [{"prefix": size, "score_ms": 30.0, "judge_ms": 40.0} for size in (1024, 4096)]
    told = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.bars(rows, calls).splitlines()[3:]]
    assert told == [
        ["piped steps over bare calls, 1 chain", "0.97", "0.97", "kept"],
        ["piped steps over two replicas of big, 16 chains", "1.30", "1.4", "missed"],
        ["auto over the best of its ways, 1 chains", "0.93", "0.97", "missed"],
        ["a score over a judgement behind 4,096 tokens", "0.75", "1", "kept"],
        ["our CPU, us a token of big_only, 64 chains", "50.00", "45", "missed"],
    ]
    assert table.bars([], []) == ""


def test_a_layout_with_two_big_servers_needs_both(table: ModuleType) -> None:
    assert table.servers("f", ["one", "two"], "small") == (["one", "two"], "small")
    assert table.servers("e-mps", ["one", "two"], "small") == (["two"], "small")
    assert table.servers("c", ["one", "two"], "small") == (["one"], "small")
    with pytest.raises(SystemExit, match="needs a second --big"):
        table.servers("a", ["one"], "small")


def test_the_shell_script_can_be_parsed() -> None:
    subprocess.run(["bash", "-n", str(GPU / "run.sh")], check=True, timeout=20)


SERVER = """
import asyncio, sys
sys.path.insert(0, {sources!r})
from pathlib import Path
from speculative.engines.tokenizers import loader
from speculative.testing import ScriptedEngine
from speculative.testing.fake_server import FakeServer
flags = dict(zip(sys.argv[1::1], sys.argv[2::1]))

class Stand(ScriptedEngine):
    tokenizer = loader.read(Path(flags["--model"]) / "tokenizer.json")
    async def complete(self, prefixes, decoding, *, key, stats):
        from speculative.engines.base import Completion
        ids = [self.tokenizer.encode("and so on ")[place % 3] for place in range(decoding.max_tokens)]
        values, likely = tuple(-0.5 for _ in ids), tuple(((one, -0.5),) for one in ids)
        chosen = tuple(-1.0 for _ in decoding.choices)
        return [[Completion(tuple(ids), "length", None, values, likely, chosen)] * decoding.n for _ in prefixes]
    async def score(self, prefixes, continuations, *, key, stats, top=0):
        from speculative.engines.base import Scores
        return [Scores([-0.5] * len(one)) for one in continuations]

async def main():
    server = FakeServer(Stand(""), model=flags["--served-model-name"], source=flags["--model"])
    server.scale_out = True
    await server.start(int(flags["--port"]))
    await asyncio.sleep(120)
asyncio.run(main())
"""


@pytest.mark.slow
def test_the_shell_script_starts_servers_measures_and_continues(tmp_path: Path) -> None:
    """The whole script, on stand-ins for vLLM that end by themselves."""
    import os
    import tarfile

    import speculative

    sources = Path(speculative.__file__).parents[1]
    site = tmp_path / "site" / "vllm" / "entrypoints" / "openai"
    site.mkdir(parents=True)
    for folder in (site, site.parent, site.parent.parent):
        (folder / "__init__.py").touch()
    (site / "api_server.py").write_text(SERVER.format(sources=str(sources)))
    for name in ("a", "b"):
        (tmp_path / "carry" / name).mkdir(parents=True)
    with tarfile.open(tmp_path / "carry" / "a" / "site-vllm.tar.xz", "w:xz") as archive:
        archive.add(tmp_path / "site", ".")
    with tarfile.open(tmp_path / "carry" / "a" / "models.tar.xz", "w:xz") as archive:
        for name in ("32b", "1.5b"):
            archive.add(sources / "speculative" / "bundled" / "small" / "tokenizer.json", f"models/{name}/tokenizer.json")
    with tarfile.open(tmp_path / "carry" / "b" / "psite.tar.xz", "w:xz") as archive:
        archive.add(sources / "speculative" / "__init__.py", "speculative_is_here.py")
    environment = {
        **os.environ,
        "G": str(tmp_path / "g"),
        "OUT": str(tmp_path / "out"),
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
    }
    (tmp_path / "g" / "psite").mkdir(parents=True)
    (tmp_path / "g" / "psite" / "speculative").symlink_to(sources / "speculative")
    from speculative.engines.vllm.launch import free_port

    more = {"LOADS": "1,2", "STEPS": "1", "PORTS": " ".join(str(free_port()) for _ in range(3))}
    for _ in range(2):
        words = ["bash", str(GPU / "run.sh"), str(tmp_path / "carry"), "100"]
        done = subprocess.run(words, env=environment | more, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        rows = [json.loads(line) for line in (tmp_path / "out" / "table.jsonl").read_text().splitlines()]
        assert {row["layout"] for row in rows} == {"a", "c", "f", "e-mps"}
        assert len(rows) == 2 * (3 * 8 + 1) + 2 + 1
