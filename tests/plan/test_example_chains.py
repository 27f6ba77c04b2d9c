"""The recorded chains of examples/chains, and what docs/planner.md says of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from speculative.cli import run as command
from speculative.plan.recorded import read_chains
from speculative.trace.trace import Trace

ROOT = Path(__file__).parents[2]
CHAINS = ROOT / "examples" / "chains"
PAGE = (ROOT / "docs" / "planner.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("file", sorted(CHAINS.iterdir()), ids=lambda file: file.stem)
def test_each_file_is_a_whole_trace(file: Path) -> None:
    trace = Trace.load(file)
    assert trace.events[-1].at > 0
    assert trace.ledger.kept > 0
    assert "/" not in "".join(engine.name for engine in trace.started.engines.values())


def test_the_page_counts_them() -> None:
    chains = read_chains(CHAINS)
    kept, calls = [chain.kept for chain in chains], sum(len(chain.calls) for chain in chains)
    assert f"{len(chains)} chains of {min(kept)} to {max(kept)} tokens with {calls} calls" in PAGE
    assert len({chain.method for chain in chains}) == 6


def test_the_page_shows_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["plan", "all", "--trace", str(CHAINS), "--chains", "16"]
    assert command(words) == 0
    shown = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert "$ speculative plan all --trace examples/chains --chains 16\n" + "\n".join(shown) in PAGE


def test_a_layout_without_a_server_leaves_out_what_needs_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["plan", "all", "--trace", str(CHAINS), "--chains", "2", "--layout", "d"]) == 0
    shown = capsys.readouterr().out
    assert "big_only" in shown
    assert "step_verify" not in shown
    assert command(["plan", "step_verify", "--trace", str(CHAINS), "--chains", "2", "--layout", "d"]) == 2
    assert "must have a server for small, got layout d" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["plan", "all", "--trace"], ["replay-load", "--url", "http://127.0.0.1:1"]])
def test_a_folder_that_is_missing_is_told(tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    missing = str(tmp_path / "none")
    assert command([words[0], missing, *words[1:]] if words[0] == "replay-load" else [*words, missing]) == 2
    assert f"trace {missing} must exist" in capsys.readouterr().err


def test_the_file_of_a_damaged_trace_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = next(CHAINS.iterdir())
    (tmp_path / "good.jsonl").write_bytes(good.read_bytes())
    for text in ('{"speculative_trace":3}\n', good.read_text(encoding="utf-8")[:3000], "", '{"speculative_trace":99}\n', "[]\n"):
        (tmp_path / "bad.jsonl").write_text(text, encoding="utf-8")
        assert command(["plan", "all", "--trace", str(tmp_path), "--chains", "1"]) in (1, 2)
        told = capsys.readouterr().err
        assert told.count("bad.jsonl") == 1, told
