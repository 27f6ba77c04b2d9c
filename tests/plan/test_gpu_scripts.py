"""The scripts for GPU hosts, rehearsed on fake servers and on the bundled pair."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

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
    for name in ("table", "forced"):
        sys.modules.pop(name, None)


def endless(seen: str, seed: int) -> str:
    return "".join(f"{place:x} " for place in range(len(seen) % 7, 3000))


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
        assert scored >= 2 * 3 * 3  # two methods that score, three chains, at least three steps


def test_the_verdicts_of_a_chain_are_those_that_the_planner_draws(table: ModuleType) -> None:
    from random import Random

    import speculative

    method = table.methods(0.8)["likelihood_verify"]
    result = speculative.solve("?", method, pair=Pair(ScriptedEngine(endless), ScriptedEngine(endless)), seed=3, max_tokens=600)
    verdicts = [isinstance(event, Accepted) for event in result.trace.walk() if isinstance(event, Accepted | Rejected)]
    random = Random(3)
    drawn = [random.random() < 0.8 for _ in verdicts]
    assert len(verdicts) > 5
    assert verdicts[:-1] == drawn[:-1]


def test_the_same_command_continues_and_writes_the_page(table: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, pair = tmp_path / "rows.jsonl", ["--big", "bundled:big", "--small", "bundled:small", "--layouts", "c", "--steps", "1"]
    assert table.main([str(out), *pair, "--chains", "1", "--seconds", "0"]) == 3
    assert not out.exists()
    assert table.main([str(out), *pair, "--chains", "1"]) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert {row["method"] for row in rows} == set(table.methods(0.8))
    assert table.main([str(out), *pair, "--chains", "1"]) == 0
    assert len(out.read_text().splitlines()) == len(rows)
    page = tmp_path / "page.md"
    page.write_text(f"before\n{table.BEGIN}{table.END}\nafter\n")
    assert table.main([str(out), "--page", str(page)]) == 0
    assert page.read_text().count("| c |") == len(rows)
    assert page.read_text().endswith("after\n")


def test_a_layout_with_two_big_servers_needs_both(table: ModuleType) -> None:
    assert table.servers("f", ["one", "two"], "small") == (["one", "two"], "small")
    assert table.servers("e-mps", ["one", "two"], "small") == (["two"], "small")
    assert table.servers("c", ["one", "two"], "small") == (["one"], "small")
    with pytest.raises(SystemExit, match="needs a second --big"):
        table.servers("a", ["one"], "small")


def test_the_shell_script_can_be_parsed() -> None:
    subprocess.run(["bash", "-n", str(GPU / "run.sh")], check=True, timeout=20)
