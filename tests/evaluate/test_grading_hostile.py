"""Grading hostile text: it ends, is wrong, runs no code, and leaves the next grade right."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import textwrap
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from profiles import quick_cases

from speculative.errors import UsageError
from speculative.evaluate.grading import sandbox as grading_process
from speculative.evaluate.grading.grade import Verdict, check_gold, checker, close, grade, vote_key

if importlib.util.find_spec("math_verify") is None:
    pytest.skip("needs the extra eval", allow_module_level=True)

EXPLOSIVE = {
    "tower": r"10^{10^{10}}",
    "tower of four": r"9^{9^{9^9}}",
    "factorial": r"(10^{10})!",
    "binomial": r"\binom{10^9}{5\cdot 10^8}",
    "power of a sum": r"(x+1)^{100000}",
    "long product": r"\prod_{k=1}^{10^9} k",
}
MALFORMED = {
    "parentheses": "(" * 3000 + "1" + ")" * 3000,
    "digits": "7" * 200_000,
    "digits in the window": "7" * 2000,
    "unclosed boxes": r"\boxed{" * 20_000,
    "nested fractions": r"\frac{" * 300 + "1",
    "nested roots": r"\sqrt{" * 300 + "2" + "}" * 300,
    "nested exponents": "x^{" * 60 + "2" + "}" * 60,
    "signs": "-" * 2000,
    "commas": "1," * 1000,
    "equals signs": "=" * 2000,
    "plus-minus": r"\pm 1" * 300,
    "matrix": r"\begin{pmatrix}" + "1&" * 800 + r"\end{pmatrix}",
    "backslashes": "\\" * 2001,
    "dollars": "$" * 2000,
    "half a character": "\ud800",
    "a null": "\x00",
    "exponent": "1e999999999",
    "far decimal": "10^{-999999}",
    "other digits": "\u0665",
}
RIGHT = (r"\boxed{\frac{3\pi}{18}}", r"\frac{\pi}{6}")


@contextmanager
def hurry(monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    """Less processor time for what will miss any; what is right keeps all of its own."""
    with monkeypatch.context() as patch:
        patch.setattr(grading_process, "SECONDS", 0.2)
        yield


def boxed(answer: str) -> str:
    return f"\\boxed{{{answer}}}"


@pytest.mark.parametrize("answer", quick_cases(EXPLOSIVE.values()), ids=EXPLOSIVE)
def test_an_explosive_answer_is_undecided_and_the_next_grade_is_right(answer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert grade(*RIGHT).correct
    with hurry(monkeypatch):
        verdict = grade(boxed(answer), "5")
    assert (verdict.correct, verdict.undecided) == (False, True)
    assert verdict.why == "not decided in time"
    assert grade(*RIGHT) == Verdict(True, r"\frac{3\pi}{18}", "equal to the gold answer")


@pytest.mark.parametrize("answer", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_answer_is_wrong_and_the_next_grade_is_right(answer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for text, gold, kind in [
        (boxed(answer), r"x^2+\pi", "math"),
        (f"The answer is {answer}", "5", "math"),
        (answer, "5", "math"),
        (boxed(answer), "5", "integer"),
        (boxed(answer), "B", "letter"),
    ]:
        with hurry(monkeypatch):
            assert not grade(text, gold, kind).correct  # type: ignore[arg-type]
    assert grade(*RIGHT).correct


@pytest.mark.slow
def test_the_reader_in_the_caller_takes_little_processor_time() -> None:
    """The system ends the process at ten seconds of processor time; each of these texts once took seconds of its own."""
    program = """
        import resource
        import sys
        sys.path.append("..")
        from test_grading_hostile import EXPLOSIVE, MALFORMED, boxed
        from speculative.evaluate.grading.grade import grade, vote_key
        resource.setrlimit(resource.RLIMIT_CPU, (10, 10))
        deep = ["(" * n + "1" + ")" * n for n in (60, 900)] + ["{" * 900 + "1" + "}" * 900, "[" * 1000, "|" * 2000, r"\\langle" * 400]
        long = ["1 and " * 300, "=1" * 1000, r"\\approx 1" * 200, r"\\text{a}" * 250, r"\\boxed{1} and " * 3000, "answer is " * 3000]
        long += [r"\\boxed " * 25_000, r"\\boxed\\a " * 20_000, "answer is" + " " * 200_000, "1 (" + "one " * 400 + ")", "5" + " of" * 600]
        for answer in [*EXPLOSIVE.values(), *MALFORMED.values(), *deep, *long]:
            for text in (answer, boxed(answer), f"The answer is {answer}"):
                grade(text, "5", "integer"), grade(text, "B", "letter"), vote_key(answer)
        print("done")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, cwd=Path(__file__).parent, check=False
    )
    assert (done.stdout, done.returncode) == ("done\n", 0), done.stderr[-1000:]


def test_an_undecided_answer_is_tried_once_more_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stranger's load, a killed process: the second try has the answer. The limit is of the first try only."""
    limits = iter([0.01, 3.0])
    real = type(checker).session

    def session(self: object) -> object:
        monkeypatch.setattr(grading_process, "SECONDS", next(limits))
        return real(self)  # type: ignore[arg-type]

    monkeypatch.setattr(type(checker), "session", session)
    verdict = grade(boxed(r"\prod_{k=1}^{40} (1 + \frac{x}{k}) - \prod_{k=1}^{40} (1 + \frac{x}{k})"), "0")
    assert not verdict.undecided
    assert list(limits) == []


@pytest.mark.slow
def test_a_grade_is_decided_by_processor_time_and_not_by_the_clock() -> None:
    """The working process is stopped for longer than its limit of processor time: the verdict waits for it."""
    close()
    program = """
        import os, signal, threading, time
        from speculative.evaluate.grading import sandbox as grading_process
        from speculative.evaluate.grading.grade import checker, grade
        assert grade(r"\\boxed{x+x}", "2x").correct
        grading_process.SECONDS = 0.2
        pid = checker._pool.pid
        os.kill(pid, signal.SIGSTOP)
        threading.Timer(1.0, os.kill, (pid, signal.SIGCONT)).start()
        print(grade(r"\\boxed{y+y}", "2y"))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True)
    assert "correct=True" in done.stdout


@pytest.mark.parametrize("code", ["__import__('os').system('touch {}')", "open('{}', 'w')", "().__class__.__base__ or open('{}','w')"])
@pytest.mark.parametrize("form", ["{}", r"\text{{{}}}", "1+1 if {} else 2", "${}$", "f({})", r"\operatorname{{{}}}(1)"])
def test_no_text_is_run_as_code(code: str, form: str, tmp_path: Path) -> None:
    target = tmp_path / "made"
    assert not grade(boxed(form.format(code.format(target))), "5").correct
    assert not grade(form.format(code.format(target)), "5", "integer").correct
    assert not target.exists()


def test_a_hostile_gold_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with hurry(monkeypatch), pytest.raises(UsageError, match="cannot be read as math"):
        check_gold("x^{" * 200 + "2" + "}" * 200)


def test_deeply_nested_text_is_refused() -> None:
    deep = "[" * 1000 + "1" + "]" * 1000
    assert vote_key(deep) == deep
    assert grade(boxed(deep), "5").why == "cannot be read"
    with pytest.raises(UsageError, match="cannot be read as math"):
        check_gold(deep)


@pytest.mark.slow
def test_memory_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    close()
    monkeypatch.setattr(grading_process, "MEMORY", 120 << 20)
    verdict = grade(boxed(r"2^{3^{19}}"), "x")
    assert (verdict.correct, verdict.undecided, verdict.why) == (False, True, "cannot be compared (MemoryError)")
    assert grade(*RIGHT).correct
    close()
