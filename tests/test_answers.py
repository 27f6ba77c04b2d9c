"""Spellings by which votes count answers. The grader's tests cover the rest of `answers`."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from profiles import quick_cases

from speculative import answers
from speculative.answers import MOST_BOXES, WINDOW, extract_answer, extract_boxed, is_correct, normalize_answer


@pytest.mark.parametrize(
    "alike",
    [
        ("33", "033", " 33. ", "33.0", "$33$", r"\text{33}", r"\mathbf{33}", "+33", "66/2"),
        ("1/2", "0.5", ".50", r"\frac12", r"\dfrac{1}{2}", r"\tfrac 1 2", r"$\frac{2}{4}$", "½"),
        ("-5", r"\(-5\)", "\u22125", r"-\,5"),
        ("1000", "1,000", r"1{,}000", "10^3", r"1 \times 10^{3}"),
        ("B", "(B)", r"\text{B}", r"\text{(B)}", r"(\text{B})", r"\textbf{(B)}"),
        (r"(1,\frac{2}{3})", r"\left( 1, \dfrac 23 \right)"),
        (r"2\sqrt{3}", r"2 \sqrt3", "2√3"),
        ("Evelyn", r"\text{Evelyn}", "Evelyn."),
        ("e", r"\mathrm{e}", r"\operatorname{e}"),
        (r"2e^2", r"2\mathrm{e}^2", r"2\text{e}^2"),
    ],
    ids=lambda alike: alike[0],
)
def test_spellings_of_one_answer_are_one_vote(alike):
    assert {normalize_answer(answer) for answer in alike} == {normalize_answer(alike[0])}


@pytest.mark.parametrize(
    ("one", "other"),
    [("33", "-33"), ("0.3333", "1/3"), ("14/5", "1 4/5"), ("12", "21"), ("(1,2)", "1,2"), ("f(x)", "fx"), ("(x)+5", "(x)+7"), ("r", "R")],
)
def test_other_answers_are_other_ballots(one, other):
    assert normalize_answer(one) != normalize_answer(other)


@pytest.mark.parametrize("nothing", ["", "  ", "$$", r"\text{}", "."])
def test_an_empty_answer_has_no_vote(nothing):
    assert normalize_answer(nothing) == ""


@given(st.text())
@example("9" * 5000)
@example("9" * 2000 + "e999")
@example("1/0")
@example("\\text{" * 3000)
@example("\\frac" * 3000)
@example(", " * 3000 + "and")
@example("\ud800")
def test_any_text_has_a_vote(text):
    assert normalize_answer(text) == normalize_answer(text[-WINDOW:])


@pytest.mark.parametrize(
    ("found", "answer", "holds"),
    [
        ("174", "174", True),
        (" 1,174. ", "1174", True),
        ("0174", "174", True),
        ("-5", "-5", True),
        (None, "174", False),
        ("17", "174", False),
        ("1745", "174", False),
        ("", "174", False),
        ("174 beads", "174", False),
        ("-174", "174", False),
    ],
)
def test_a_box_is_right_if_it_holds_the_number(found, answer, holds):
    assert is_correct(found, answer) == holds


BOXES = {
    "bare": r"\boxed ",
    "bare commands": r"\boxed\a ",
    "nested": r"\boxed{",
    "equal": r"\boxed{3} ",
    "unlike": "".join(rf"\boxed{{{number}}} and " for number in range(1000)),
    "over lines": "\\boxed{3}\n",
    "blanks": r"\boxed{3}" + " " * WINDOW,
    "commas": r"\boxed{3}" + "," * WINDOW + "x",
    "half a command": "\\box",
    "the word": "box",
    "braces": r"\boxed{" + "{}" * WINDOW,
}


@pytest.mark.parametrize("piece", quick_cases(BOXES.values(), 3), ids=BOXES)
@pytest.mark.parametrize("end", ["", r"\boxed{4}", r"\boxed{4", "}" * WINDOW])
def test_a_text_of_boxes_is_read_once(piece, end, monkeypatch):
    """Reading it quadratically would take hours; what is normalized is bounded."""
    normalized = []
    monkeypatch.setattr(answers, "normalize_answer", lambda content: normalized.append(content) or content)
    text = piece * (400_000 // len(piece)) + end
    for answer in (extract_answer(text), extract_boxed(text)):
        assert answer is None or len(answer) < answers.LONGEST_BOX + WINDOW
    assert len(normalized) <= 2 * MOST_BOXES
    assert sum(map(len, normalized)) <= 2 * WINDOW


@pytest.mark.parametrize("blanks", ["answer is", "answer", "final answer:", "####", "The correct option is"])
def test_an_announced_answer_that_never_comes_is_read_once(blanks):
    assert extract_answer(blanks + " " * 500_000) is None
    assert extract_answer((blanks + "\n") * 50_000) != ""


def test_a_box_that_does_not_end_in_sight_is_no_answer():
    assert extract_boxed(r"\boxed{" + "7" * WINDOW + "}") == "7" * WINDOW
    assert extract_boxed(r"\boxed{" + "7" * answers.LONGEST_BOX + "}") is None


def test_boxes_without_end_in_one_sentence_are_a_bounded_list():
    text = " and ".join(rf"\boxed{{{number}}}" for number in range(1000))
    assert extract_boxed(text) == ", ".join(map(str, range(1000 - MOST_BOXES, 1000)))
