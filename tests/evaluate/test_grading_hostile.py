"""Grading strangers' text: it ends, it is wrong, the next grade is right, nothing is run, and nothing is left behind."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from speculative.errors import UsageError
from speculative.evaluate.grading import sandbox as grading_process
from speculative.evaluate.grading.grade import check_gold, close, grade, vote_key

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
    """A shorter deadline for what will miss any; what is right keeps all of its own, however busy the machine is."""
    with monkeypatch.context() as patch:
        patch.setattr(grading_process, "DEADLINE", 1.0)
        yield


def boxed(answer: str) -> str:
    return f"\\boxed{{{answer}}}"


@pytest.mark.parametrize("answer", EXPLOSIVE.values(), ids=EXPLOSIVE)
def test_what_explodes_is_wrong_in_time_and_the_next_grade_is_right(answer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert grade(*RIGHT).correct
    with hurry(monkeypatch):
        began = time.monotonic()
        verdict = grade(boxed(answer), "5")
        assert time.monotonic() - began < 5
    assert not verdict.correct
    assert verdict.why == "not decided in time"
    assert grade(*RIGHT).correct


@pytest.mark.parametrize("answer", MALFORMED.values(), ids=MALFORMED)
def test_what_is_malformed_is_wrong_and_the_next_grade_is_right(answer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for text, gold, kind in [
        (boxed(answer), r"x^2+\pi", "math"),
        (f"The answer is {answer}", "5", "math"),
        (answer, "5", "math"),
        (boxed(answer), "5", "integer"),
        (boxed(answer), "B", "letter"),
    ]:
        with hurry(monkeypatch):
            began = time.monotonic()
            assert not grade(text, gold, kind).correct  # type: ignore[arg-type]
            assert time.monotonic() - began < 5
    assert grade(*RIGHT).correct


def test_with_the_first_start_it_stays_under_five_seconds() -> None:
    close()
    began = time.monotonic()
    assert grade(*RIGHT).correct
    start = time.monotonic() - began
    close()
    began = time.monotonic()
    assert not grade(boxed(EXPLOSIVE["tower"]), "5").correct
    assert time.monotonic() - began < 5 + max(0, 2 * start - 4)  # a start of two seconds is that of a machine out of breath


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


def test_what_is_nested_without_end_is_counted_and_refused_as_text() -> None:
    deep = "[" * 1000 + "1" + "]" * 1000
    assert vote_key(deep) == deep
    assert grade(boxed(deep), "5").why == "cannot be read"
    with pytest.raises(UsageError, match="cannot be read as math"):
        check_gold(deep)


def test_memory_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    close()
    monkeypatch.setattr(grading_process, "MEMORY", 120 << 20)
    verdict = grade(boxed(r"2^{3^{19}}"), "x")
    assert (verdict.correct, verdict.why) == (False, "cannot be compared (MemoryError)")
    assert grade(*RIGHT).correct
    close()
