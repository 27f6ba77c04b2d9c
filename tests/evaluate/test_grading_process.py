"""The grading process: threads, kills, forks and interruptions."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from test_grading_hostile import EXPLOSIVE, RIGHT, boxed, hurry

from speculative.errors import SpeculativeError
from speculative.evaluate.grading.grade import close, grade, grade_async
from speculative.evaluate.grading.sandbox import WorkerPool, checker

if importlib.util.find_spec("math_verify") is None:
    pytest.skip("needs the extra eval", allow_module_level=True)


def test_any_thread_may_grade() -> None:
    with ThreadPoolExecutor(4) as pool:
        verdicts = list(pool.map(lambda number: grade(boxed(rf"{number}\sqrt{{4}}"), str(2 * (number // 2 * 2))), range(24)))
    assert [verdict.correct for verdict in verdicts] == [number % 2 == 0 for number in range(24)], verdicts


async def test_the_event_loop_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await grade_async(*RIGHT)).correct
    with hurry(monkeypatch):
        late = asyncio.create_task(grade_async(boxed(EXPLOSIVE["tower"]), "5"))
        ticks = 0
        while not late.done():
            await asyncio.sleep(0.001)
            ticks += 1
    assert ticks > 5
    assert not (await late).correct
    assert (await grade_async(*RIGHT)).correct


@pytest.mark.slow
def test_a_killed_process_or_program_is_replaced() -> None:
    assert grade(*RIGHT).correct
    pool: Any = checker._pool
    os.kill(pool.pid, signal.SIGKILL)
    assert grade(*RIGHT).correct
    pool.kill()
    pool._program.wait()
    assert grade(*RIGHT).correct
    close()
    close()
    assert grade(*RIGHT).correct


@pytest.mark.slow
def test_an_interrupted_grade_leaves_no_stale_reply(monkeypatch: pytest.MonkeyPatch) -> None:
    assert grade(*RIGHT).correct
    with monkeypatch.context() as patch:
        patch.setattr(WorkerPool, "_read", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            grade(*RIGHT)
    assert not grade(boxed(r"\pi"), r"\frac{\pi}{6}").correct
    assert grade(*RIGHT).correct


def test_a_reply_after_the_deadline_does_not_disturb_the_next_grade() -> None:
    assert grade(*RIGHT).correct
    with checker.session() as ask:
        assert ask("equal", "x", "x").yes
        pool: Any = checker._pool
        pool.kill_worker()
    assert pool.pid == 0
    pool.kill_worker()
    assert grade(*RIGHT).correct


@pytest.mark.slow
def test_a_forked_process_has_its_own() -> None:
    assert grade(*RIGHT).correct
    program = """
        import os
        from speculative.evaluate.grading.grade import grade
        assert grade(r"\\boxed{x+x}", "2x").correct
        child = os.fork()
        right = grade(r"\\boxed{x+x}", "2x").correct and not grade(r"\\boxed{x}", "2x").correct
        if not child:
            os._exit(0 if right else 1)
        assert right and os.waitpid(child, 0)[1] == 0
    """
    subprocess.run([sys.executable, "-W", "error", "-c", textwrap.dedent(program)], check=True, timeout=60)


def test_a_program_that_does_not_start_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    close()
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(SpeculativeError, match="the grading process cannot start"):
        grade(*RIGHT)
    monkeypatch.undo()
    assert grade(*RIGHT).correct


EXITS = {
    "at once": "",
    "in a thread's grade": "threading.Thread(target=grade, args=(tower, '5'), daemon=True).start(); time.sleep(0.3)",
    "on an error": "raise SystemExit(0)",
}


@pytest.mark.slow
@pytest.mark.parametrize("last", EXITS.values(), ids=EXITS)
def test_the_interpreter_exits_and_nothing_stays(last: str) -> None:
    program = f"""
        import threading, time
        from speculative.evaluate.grading.grade import grade
        from speculative.evaluate.grading.sandbox import checker
        tower = r"\\boxed{{10^{{10^{{10}}}}}}"
        assert grade(r"\\boxed{{x+x}}", "2x").correct
        print(checker._pool._program.pid, checker._pool.pid, flush=True)
        {last}
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr == ""
    assert_gone(done.stdout)


def test_the_death_of_the_caller_ends_all() -> None:
    program = """
        import os, signal
        from speculative.evaluate.grading.grade import grade
        from speculative.evaluate.grading.sandbox import checker
        assert grade(r"\\boxed{x+x}", "2x").correct
        print(checker._pool._program.pid, checker._pool.pid, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60, check=False)
    assert_gone(done.stdout)


def assert_gone(pids: str) -> None:
    until = time.monotonic() + 20
    for pid in pids.split():
        while Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2]:
            assert time.monotonic() < until, f"process {pid} is still there"
            time.sleep(0.05)


@pytest.mark.slow
def test_a_main_module_without_a_guard_may_grade(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text('from speculative.evaluate.grading.grade import grade\nprint(grade(r"\\boxed{x+x}", "2x").correct)\n')
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "True\n"


@pytest.mark.slow
def test_grades_from_threads_do_not_wait_on_each_other_for_ever() -> None:
    assert grade(*RIGHT).correct
    verdicts: dict[int, bool] = {}

    def work(index: int) -> None:
        verdicts[index] = grade(boxed(EXPLOSIVE["tower"]), "5").correct if index == 1 else grade(*RIGHT).correct

    threads = [threading.Thread(target=work, args=(index,)) for index in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert verdicts == {0: True, 1: False, 2: True, 3: True, 4: True, 5: True}
