"""A forked process solves problems, with an event loop and engines of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from easy import EASY

START = """
import asyncio, multiprocessing, sys
from speculative import Pair, asolve, solve

"""
START += f"P = {EASY!r}\n"
RUN = """
if __name__ == "__main__":
    before = solve(P, "small_only").text
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map_async(work, [1, 2]).get(120) == [before, before]
    assert solve(P, "small_only").text == before
"""
SOLVE = "def work(number): return solve(P, 'small_only').text\n"
ASOLVE = "def work(number): return asyncio.run(asolve(P, 'small_only')).text\n"
OWN_PAIR = "def work(number): return solve(P, 'small_only', pair=Pair.open()).text\n"
ERROR = """
def work(number): return solve(P, "nope")

if __name__ == "__main__":
    solve(P, "small_only")
    with multiprocessing.get_context("fork").Pool(1) as pool:
        try:
            pool.map_async(work, [1]).get(120)
        except Exception as error:
            print(type(error).__name__, error.closest)
"""
OPENED_BEFORE = """
import os

if __name__ == "__main__":
    pair = Pair.open()
    solve(P, "small_only", pair=pair)
    child = os.fork()
    if not child:
        try:
            solve(P, "small_only", pair=pair)
        except Exception as error:
            print(type(error).__name__, error, flush=True)
        os._exit(0)
    os.waitpid(child, 0)
    print(solve(P, "small_only", pair=pair).finish_reason)
"""


def run(script: str, tmp_path: Path) -> str:
    file = tmp_path / "script.py"
    file.write_text(START + script, encoding="utf-8")
    done = subprocess.run([sys.executable, str(file)], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("work", [SOLVE, ASOLVE, OWN_PAIR])
def test_a_forked_process_solves_after_its_parent_has(work: str, tmp_path: Path) -> None:
    run(work + RUN, tmp_path)


@pytest.mark.slow
def test_an_error_of_a_forked_process_reaches_its_parent(tmp_path: Path) -> None:
    assert run(ERROR, tmp_path).startswith("UnknownNameError")


@pytest.mark.slow
def test_an_engine_of_the_parent_says_that_it_cannot_run_in_a_forked_process(tmp_path: Path) -> None:
    refusal, ended = run(OPENED_BEFORE, tmp_path).splitlines()
    assert refusal.startswith("EngineClosedError bundled:small: the engine cannot run in a forked process; open it there")
    assert ended == "stop"
