"""Grading: where a text states its answer."""

from __future__ import annotations

from typing import Any

import pytest
from boxes import box, math

from speculative.answers import extract_answer, is_correct
from speculative.evaluate.grading.grade import grade, vote_key


def assert_nine(text: str, kind: Any) -> None:
    """Fails unless 9 is the only right answer of a text."""
    assert grade(text, "9", kind).correct, extract_answer(text)
    assert not grade(text, "7", kind).correct


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"first \boxed{1}, then \boxed{2}", "2"),
        (r"\boxed{3}\boxed{5}", "3, 5"),
        (r"$x = \boxed{3}$ or $x = \boxed{5}$.", "3, 5"),
        (r"$m = \boxed{3}$ and $n = \boxed{5}$, so $m + n = \boxed{8}$.", "8"),
        (r"It is \boxed{3}. No, it is \boxed{5}.", "5"),
        ("\\boxed{3}\n\nand\n\n\\boxed{5}", "3, 5"),
        (r"**\boxed{5}**, that is \boxed{5}", "5"),
        (r"\boxed{\boxed{5}}", "5"),
        ("\\boxed{3}\n\\boxed{4}", "4"),
        ("$$\\boxed{3}$$\n\n$$\\boxed{4}$$", "4"),
        ("$\\boxed{3}$ and\n$\\boxed{4}$", "3, 4"),
        (r"\boxed{3} **Final answer** \boxed{4}", "4"),
        (r"\boxed{3} Final answer \boxed{4}", "4"),
        (r"\boxed{3} **Answer:** \boxed{4}", "4"),
        (r"\boxed\frac{1}{2} \boxed\frac{1}{3}", r"\frac{1}{2}, \frac{1}{3}"),
        (r"\boxed{5} and then \boxed{6", None),
        (r"\boxed 42", "42"),
        (r"$\boxed {42}$", "42"),
        ("\\boxed\n{42}", "42"),
        (r"$\boxed\frac{1}{2}$", r"\frac{1}{2}"),
        (r"Put it into \boxed notation.", None),
        (r"\boxed{\left\{ 1, 2 \right.}", r"\left\{ 1, 2 \right."),
        (r"\boxed{\} and \{}", r"\} and \{"),
        (r"\fbox{5}", "5"),
        (r"The answer is 4. Or rather \boxed{5}", "5"),
        (r"\boxed{5}. The answer is 4.", "5"),
        ("The answer is 33.", "33."),
        ("**Answer:** 33", "33"),
        ("The final answer is:\n\n$33$", "$33$"),
        ("The answer is 4.\nNo: the answer is 5.", "5."),
        (r"\boxed{}", ""),
        (r"\boxed{5}" + " and so on" * 3000, "5"),
        ("Final Answer: The final answer is $9$. I hope it is correct.", "$9$."),
        ("The answer is $9$. I hope the answer is correct.", "$9$."),
        ("The answer is\n\\[\n\\frac{1}{2}\n\\]", "\\[\n\\frac{1}{2}\n\\]"),
        ("Final answer: the answer is B", "B"),
        ("The answer is 2.5 cm. It is not 3.", "2.5 cm."),
        ("So.\n#### 18", "18"),
        ("The answer is 18 (eighteen).", "18 (eighteen)."),
        ("The answer is therefore $9$.", "$9$."),
        ("The answer is, thus, $9$.", "$9$."),
        ("The answer is thus: $9$.", "$9$."),
        ("**Final Answer**\n\n9", "9"),
        ("## Final answer\n9 eggs\n", "9 eggs"),
        ("The answer is 9!.", "9!."),
        ("The answer is 9!", "9"),
        ("The answer is $9!$!", "$9!$"),
        (r"So \boxed{200} and then \boxed{255}. He has $10,200 + $255 = $10,455. Final Answer: The final answer is $10,455$.", "$10,455$."),
        ("\\boxed{255}\n\n**Final Answer:** 10,455", "10,455"),
        (r"\boxed{5}. I wonder whether the final answer is 4.", "5"),
        (r"\boxed{5}. The final answer is correct.", "5"),
        (r"\boxed{5}. The final answer is in metres.", "5"),
        ("Final Answer: The volume of $ABCDEFGH$ is 120. I hope it is correct.", "120."),
        ("Final Answer: The largest $n$ is 34.", "34."),
        ("Final Answer: The largest $n$ is $34$.", "$34$."),
        ("The answer is that there are 3 of them.", "that there are 3 of them."),
        ("Final answer: it is not 3.", "it is not 3."),
        ("The correct option is B.", "B."),
        ("The right choice is (B). The other option is worse.", "(B)."),
        ("The best option is a compromise.", None),
        ("#### Step 3", None),
        ("The answer is **9**.", "9."),
        ("**Answer:** **9**.", "9."),
        ("**Answer: 9**.", "9."),
        ("The answer is **$9$**.", "$9$."),
        ("Final answer: **9** apples.", "9 apples."),
        ("The final answer is ***9 apples***. I hope it is correct.", "9 apples."),
        ("The answer is `9`.", "9."),
        ("The answer is __9__.", "9."),
        ("The answer is **9**!", "9"),
        ("The answer is 2**3.", "2**3."),
        ("The answer is $x_1$.", "$x_1$."),
        ("I cannot tell.", None),
        ("", None),
    ],
)
def test_the_answer_is_in_the_last_box(text: str, answer: str | None) -> None:
    verdict = grade(text, "77", "integer")
    assert not verdict.correct
    assert verdict.answer == answer


def test_an_integer_is_found_in_a_sentence() -> None:
    assert grade("The answer is 33.", "033", "integer").correct
    assert grade("Answer: $33$", "33", "integer").correct
    assert not grade("The answer is not 33", "33", "integer").correct
    assert not grade("I have 33", "33", "integer").correct


def test_phrases_that_say_an_integer() -> None:
    for text in (
        "The answer is 18 (eighteen).",
        "The answer is approximately 18.",
        "The answer is therefore $18$.",
        "**Final Answer**\n\n18",
    ):
        assert grade(text, "18", "integer").correct, text
    assert not grade("The answer is 17 (eighteen).", "18", "integer").correct
    assert not grade("The answer is not about 18.", "18", "integer").correct


@pytest.mark.parametrize("kind", ["integer", "math"])
@pytest.mark.parametrize(
    "text",
    [
        "#### 9",
        "####9",
        "#### **9**",
        "#### *9*",
        "#### `9`",
        "#### __9__",
        "#### $9$",
        "#### $$9$$",
        "#### \\(9\\)",
        "#### \\[9\\]",
        "#### **$9$**",
        "#### $\\mathbf{9}$",
        "#### \u20ac9",
        "#### $9",
        "#### \\$9",
        "#### x = 9",
        "#### $x = 9$",
        "#### 9 apples",
        "#### **9 apples**",
        "#### **9** apples",
        "#### 9.0",
        "#### (9)",
        "#### <b>9</b>",
        "**#### 9**",
        "  #### 9",
        "> #### 9",
        "##### 9",
        "####: 9",
        "#### Answer: 9",
        "#### **Answer:** 9",
        "#### Final answer\n\n9",
        "So it is nine.\n\n#### 9\n",
        "#### 1. Count\n3*3\n#### 2. Sum\n\n#### 9",
        "#### 9\n\n#### 2. A remark\nnone",
        "The answer should be 9.",
        "The answer would be 9.",
        "The answer must be **9**.",
        "The answer has to be 9.",
        "The answer was 9.",
        "The answer's 9.",
        "The answer equals 9.",
        "The answer comes out to be 9.",
        "The answer turns out to be 9.",
        "Answer = 9",
        "Answer = **9**.",
        "The answer is **9**, since 3*3=9.",
        "The answer is 9, because 3*3=9.",
        "The answer is **9** because 3*3=9.",
        "The answer is <b>9</b>.",
        "The answer is <strong>9</strong>.",
        "The answer is \u201c9\u201d.",
        'The answer is "9".',
        "<answer>9</answer>",
        "<answer>\n9\n</answer>",
        "\\boxed{8}\n\nWait, final answer: 9",
    ],
)
def test_wrappings_of_an_answer(text: str, kind: Any) -> None:
    if kind == "math":
        pytest.importorskip("math_verify")
    assert_nine(text, kind)


@math
@pytest.mark.parametrize("kind", ["math", "integer"])
@pytest.mark.parametrize(
    "text",
    [
        "The answer is 9, not 7.",
        "The answer is 9 not 7.",
        "The answer is 9, and not 7.",
        "The answer is 9 (not 7).",
        "The answer is 9 rather than 7.",
        "The answer is 9, rather than 7.",
        "The answer is 9 instead of 7.",
        "The answer is **9**, not **7**.",
        "The answer is $9$, not $7$.",
        "The answer is 9 apples, not 7.",
        r"The answer is \(9\), not \(7\).",
        "The answer is x = 9, not 7.",
        "x = 9",
        "9 apples",
        "The answer is 9, assuming all apples are kept.",
        "The answer is 9, I think.",
        "The answer is 9, for the reason above.",
        "The answer is 9, where I took 7 away.",
        "The answer is 9 (apples).",
        "The answer is 9 (rounded).",
        "The answer is 9 (see above)",
        "The answer is 9 (rounded from 9.2).",
        "The answer is $9$ dollars, assuming no tax.",
        "The answer is $9, assuming no tax.",
        "9",
        "**9**",
        "$9$",
        "$$9$$",
        "\\(9\\)",
        "9.",
        "`9`",
        " 9\n",
        "$9.00",
        "The answer is nine.",
        "Answer: nine apples",
        "Answer\n======\n\n9",
        "Answer\n------\n9",
        r"\boxed{\text{nine}}",
        r"\boxed{nine}",
        r"\boxed{\text{The answer is } 9}",
        r"\boxed{\text{The answer is 9}}",
        r"\boxed{\text{Answer: }9}",
        r"\boxed{9 \pmod{100}}",
    ],
)
def test_a_remark_behind_an_answer_does_not_change_it(text: str, kind: Any) -> None:
    assert_nine(text, kind)


@math
@pytest.mark.parametrize("kind", ["math", "integer"])
@pytest.mark.parametrize(
    "text",
    [
        "The answer is 9 or 7.",
        "The answer is 9, or 7.",
        "The answer is 9, maybe 7.",
        "The answer is 9, but it could be 7.",
        "The answer is 9, I think, or 7.",
        "The answer is 9 (or 7).",
        "The answer is 9, wrong.",
        "The answer is 9, minus 2.",
        "The answer is 9 (seven).",
        "The answer is 9, if x is even, and otherwise 7.",
        "The answer is 9, and 7.",
        "The answer is 9, five, and 7.",
        "The answer is 9, seven.",
        "The answer is 9, i, -9.",
        "The answer is 9, sqrt(7).",
        "The answer is 9, divided by 2.",
        "The answer is 9, rather 7.",
        "The answer is 9, sorry, seven.",
        "The answer is 9, I mean 7.",
        "The answer is 9, giving 7.",
        "The answer is 9 feet, 7 inches.",
        "The answer is 9 or 7, not 5.",
        "The answer is 9 (in base 12).",
        "The answer is not 9, I think.",
        "I see 9",
        "9 7",
    ],
)
def test_a_second_answer_or_a_doubt_is_no_remark(text: str, kind: Any) -> None:
    assert not grade(text, "9", kind).correct, extract_answer(text)


@pytest.mark.parametrize(
    "text",
    ["#### Step 9", "#### 9. Conclusion\nDone.", "#### 9) Sum", "#### **9.** Sum of all", "#### $f$ is even", "The answer might be 9."],
)
def test_a_heading_or_a_guess_is_no_answer(text: str) -> None:
    assert extract_answer(text) is None


@math
def test_half_of_an_answer_in_several_boxes_is_wrong() -> None:
    text = r"The solutions are $\boxed{3}$ and $\boxed{5}$."
    assert grade(text, "3, 5").correct
    assert not grade(text, "5").correct
    assert not grade(text, "5", "integer").correct


@math
@pytest.mark.parametrize("kind", ["math", "integer"])
@pytest.mark.parametrize("two", ["$1$2$", "$1$2", "$1$$2$", "1$$2", r"\(1\)2", r"\(1\)\(2\)", r"\(1\) \(2\)", r"1\(2\)", "$1$ $2$"])
def test_two_formulas_side_by_side_are_no_number(two: str, kind: Any) -> None:
    for text in (two, box(two), f"The answer is {two}."):
        assert not grade(text, "12", kind).correct
    assert vote_key(two, kind) != "12"
    assert not is_correct(two, "12")


@pytest.mark.parametrize(
    ("half", "value"), [(r"5$\frac12$", "11/2"), ("10$^2$", "100"), ("$-$5", "-5"), ("$$12$$", "12"), (r"\[12\]", "12")]
)
def test_a_formula_beside_a_number_is_a_part_of_it(half: str, value: str) -> None:
    assert vote_key(half) == value
