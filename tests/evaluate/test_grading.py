"""Grading: the three kinds, hand-written rows, and official solutions of benchmarks."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from boxes import box, math

from speculative.errors import UsageError
from speculative.evaluate.grading import sandbox as grading_process
from speculative.evaluate.grading.grade import Verdict, box_aime, box_gsm8k, check_gold, grade, grade_async, shuffle_options, vote_key

DATA = Path(__file__).parents[3] / "shared" / "data"
data = pytest.mark.skipif(not DATA.is_dir(), reason="the benchmark problems are not here")


def rows() -> Iterator[tuple[bool, str, str, str, str]]:
    """(right, kind, gold, answer, defect) of each row of grading_rows.txt."""
    kind = about = ""
    for line in Path(__file__).with_name("grading_rows.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            kind, _, about = line[1:].partition("] ")
        elif line and not line.startswith("#"):
            verdict, _, rest = line.partition(" ")
            gold, _, answer = rest.partition(" :: ")
            assert verdict in {"right", "wrong"}
            yield verdict == "right", kind, gold, answer, about


def problems(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DATA / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


@math
def test_the_rows_written_by_hand() -> None:
    judged = [(row, grade(box(row[3]), row[2], row[1])) for row in rows()]
    missed = [(*row, verdict.why) for row, verdict in judged if verdict.correct != row[0]]
    assert len(judged) >= 500
    assert len(missed) <= 0.02 * len(judged), missed
    assert [row for row in missed if not row[0]] == [], "a wrong answer was accepted"
    for _, kind, gold, *_ in rows():
        check_gold(gold, kind)


@math
def test_every_verdict_says_why() -> None:
    assert grade(box("4"), "5") == Verdict(False, "4", "not equal")
    assert grade(box("5"), "5") == Verdict(True, "5", "equal to the gold answer")
    assert grade(box("30+3"), "33").why == "arithmetic left undone"
    assert grade(box(r"5 \text{ cm}"), r"5 \text{ m}").why == "another unit: cm for m"
    assert grade(box("1,2,3"), "1, 2").why == "3 values where 2 are right"


@math
def test_named_coordinates_are_a_point() -> None:
    for answer in (r"x = 3,\; y = 4", r"x=3 \text{ and } y=4", "y=4, x=3", "(x,y)=(3,4)", "(3,4)"):
        for gold in ("(3, 4)", "x=3, y=4", "(x,y) = (3,4)"):
            for asks in ("", "Find the ordered pair $(x,y)$."):
                assert grade(box(answer), gold, question=asks).correct, (answer, gold)
    for answer in ("x=4, y=3", "(4,3)", "x=3, y=5", "x=3", "x=3, x=4", "x=3, y=4, z=5", "x = 3, y = 4 = 5"):
        for gold in ("(3, 4)", "x=3, y=4"):
            assert not grade(box(answer), gold, question="Find the ordered pair $(x,y)$.").correct, (answer, gold)
    assert grade(box("x=3, y=4"), "(4,3)", question="Find $(y, x)$.").correct
    assert grade(box(r"r = 3, \theta = \frac{\pi}{2}"), r"(3, \frac{\pi}{2})", question=r"Find $(r,\theta)$.").correct
    assert grade(box("x=1, y=2 \\text{ or } x=3, y=4"), "(1,2),(3,4)").correct
    assert not grade(box("x=1, y=4 \\text{ or } x=3, y=2"), "(1,2),(3,4)").correct
    assert not grade(box("x=3, y=4"), "[3,4]").correct


def test_an_explicit_choice_behind_a_box_without_one_counts() -> None:
    assert grade("It is $\\boxed{5}$ m.\n\nAnswer: B", "B", "letter").correct
    assert grade("So $x = 5$.\nFinal answer: the answer is $\\mathbf{B}$.", "B", "letter").correct
    assert grade("The answer is B because it is the largest.", "B", "letter").correct
    for text in (
        "The answer is \u201cB\u201d.",
        "The answer is B, because A is wrong.",
        "The correct option is B.",
        "**Final answer**\n\nB",
    ):
        assert grade(text, "B", "letter").correct, text
    for text in (
        "The correct choice is option B.",
        "So, the best choice is option **B) None of these**.",
        "The right option is: B",
        "Option B is correct.",
        "Hence, (B) is the correct answer.",
        "B is correct.",
        "**Option B** is correct.",
        "**B**\n\nBecause A is wrong.",
        "B",
        "**B**",
        "(B)",
        "B.",
        "B. 42",
        "$B$",
        "The answer is B; A is wrong.",
        "The answer is B rather than A.",
        "The answer is B and not A.",
        "The answer is B, not A.",
    ):
        assert grade(text, "B", "letter").correct, text
        assert not grade(text, "A", "letter").correct, text
    for text in (
        "Option B is not correct.",
        "(B) is correct. (A) is correct.",
        "B\n\nA",
        "A man and B",
        "B and A",
        "B; A",
        "A cat",
        "B or A is correct.",
        "b",
    ):
        assert not grade(text, "B", "letter").correct, text
    assert not grade("\\boxed{C}\n\nAnswer: B", "B", "letter").correct
    assert not grade("\\boxed{B} and \\boxed{C}", "B", "letter").correct


@math
def test_a_tolerance_is_for_rounded_decimals_only_and_off_by_default() -> None:
    for answer, gold in (("0.333", r"\frac{1}{3}"), ("6.28", r"2\pi"), (r"2\pi", "6.28"), ("0.67", "0.67")):
        assert grade(box(answer), gold, tolerance=1e-2).correct
    assert not grade(box("0.333"), r"\frac{1}{3}").correct
    assert not grade(box("6.28"), r"2\pi").correct
    assert not grade(box("6.28"), r"2\pi", tolerance=1e-5).correct
    assert not grade(box("334"), "333", tolerance=1e-2).correct
    assert not grade(box(r"\frac{334}{1000}"), r"\frac{1}{3}", tolerance=1e-5).correct


@pytest.mark.parametrize(("gold", "kind"), [("33.5", "integer"), ("", "integer"), ("x", "integer"), ("AB", "letter"), ("", "letter")])
def test_a_bad_gold_is_named(gold: str, kind: Any) -> None:
    with pytest.raises(UsageError, match=f"gold answer {gold!r} cannot be read as {kind}"):
        check_gold(gold, kind)
    assert not grade(box("5"), gold, kind).correct


@math
@pytest.mark.parametrize("gold", ["", " ", r"\frac{1}{", "(1,2", "???", r"\frac{1}{}", "x +", "$", "9" * 5000, "x )(", "](", r"\text{a}]["])
def test_a_bad_mathematical_gold_is_named(gold: str) -> None:
    with pytest.raises(UsageError, match="cannot be read as math"):
        check_gold(gold)
    assert not grade(box("5"), gold).correct


def test_an_unknown_kind_is_named() -> None:
    with pytest.raises(UsageError, match="did you mean 'letter'"):
        grade(box("5"), "5", "letters")  # type: ignore[arg-type]


def test_without_math_verify_the_rest_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "math_verify", None)
    assert grade(box("033"), "33", "integer").correct
    assert grade(box("(B)"), "B", "letter").correct
    check_gold("33", "integer")
    for call in (lambda: grade(box("5"), "5"), lambda: check_gold("5"), grading_process.require):
        with pytest.raises(UsageError, match=r"install the extra eval with: .*\[eval\]"):
            call()


def test_importing_it_is_cheap() -> None:
    program = "import sys, speculative.evaluate.grading.grade; print({'sympy', 'math_verify', 'numpy', 'onnxruntime'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_options_are_shuffled_by_the_question() -> None:
    options = ["oxygen", "boron", "neon", "iron"]
    shown = {}
    for number in range(400):
        choices = shuffle_options(f"question {number}", options)
        assert sorted(choices.options) == sorted(options)
        assert choices.options["ABCD".index(choices.gold)] == "oxygen"
        assert choices == shuffle_options(f"question {number}", options)
        shown[choices.gold] = shown.get(choices.gold, 0) + 1
    assert min(shown.values()) > 70, shown
    # fixed for good: a run is resumed, and compared, with the same letters
    assert shuffle_options("question 0", options).options == ["oxygen", "neon", "boron", "iron"]
    # the order of the data does not matter
    assert shuffle_options("question 7", options[::-1], correct=3) == shuffle_options("question 7", options)


def test_votes_are_counted_by_value() -> None:
    assert vote_key("033", "integer") == vote_key(" 33.0 ", "integer") == "33"
    assert vote_key("m+n = 33", "integer") == vote_key("33 apples", "integer") == "33"
    assert vote_key("9**.") == vote_key("**9**.") == vote_key("`9`.") == vote_key("9") == "9"
    assert vote_key(r"\frac12") == vote_key("0.5") == "1/2"
    assert vote_key(r"(1, \dfrac{2}{3})") == vote_key(r"(1,\frac{2}{3})")
    assert vote_key(r"\text{(B)}", "letter") == vote_key("b", "letter") == "B"
    assert vote_key(r"\mathrm{e}") == vote_key("e") == "e"
    assert vote_key("Evelyn") == vote_key(r"\text{Evelyn}")
    assert vote_key(None) is vote_key("") is vote_key("$$") is None  # an empty box is no vote


def test_adapters_box_answers_of_solutions() -> None:
    assert box_gsm8k("4 + 5 = 9\n#### 9") == "4 + 5 = 9\n\\boxed{9}"
    assert box_gsm8k("no mark") == "no mark"
    assert box_aime(r"$\boxed{5}$ and $x = 6$") == r"$\boxed{5}$ and $x = 6$"
    assert box_aime("$180 + 24 = 204$. -name").endswith("\n\\boxed{204}")
    assert box_aime("no number") == "no number"


@data
def test_official_solutions_of_aime_are_right() -> None:
    missed = [row["id"] for row in problems("aime24") if not grade(box_aime(row["solution"]), row["answer"], "integer").correct]
    assert missed == []


@data
def test_official_solutions_of_gsm8k_are_right() -> None:
    missed = [row["id"] for row in problems("gsm8k") if not grade(box_gsm8k(row["solution"]), row["answer"], "integer").correct]
    assert missed == []


@math
@data
def test_official_solutions_of_math500_are_right() -> None:
    missed = [row["id"] for row in problems("math500") if not grade(row["solution"], row["answer"], question=row["problem"]).correct]
    assert len(missed) <= 2, missed


@math
@data
@pytest.mark.slow
def test_the_golds_of_math500_parse() -> None:
    for row in problems("math500"):
        check_gold(row["answer"])


@math
async def test_the_asynchronous_door() -> None:
    assert (await grade_async(box(r"\frac{\sqrt{4}}{2}"), "1")).correct
    assert not (await grade_async(box("2"), "1")).correct
