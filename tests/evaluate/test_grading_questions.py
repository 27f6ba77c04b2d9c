"""Grading: what the question says about percents, bases, units and unknowns."""

from __future__ import annotations

from typing import Any

import pytest
from boxes import box, math

from speculative.evaluate.grading.grade import grade, vote_key
from speculative.evaluate.grading.units import stem


def test_the_question_counts_for_integers_and_votes_too() -> None:
    asks = "Half of the 40 eggs are sold. What percentage of Mr. Miller's eggs is left?"
    for answer in (r"20\%", "20 percent", "20", "20%", r"20 \text{ percent}", "20 pct"):
        assert grade(box(answer), "20", "integer", question=asks).correct
        assert grade(box(answer), r"20\%", "integer", question=asks).correct
        assert vote_key(answer, "integer", asks) == "20"
    assert not grade(box("0.2"), "20", "integer", question=asks).correct
    assert not grade(box(r"20\%"), "20", "integer", question="20% of the 100 eggs are sold. How many are that?").correct


PERCENTS = [
    "What % of the class is absent?",
    "It cost $50 and now costs $40. By what percent did it fall? Give your answer to the nearest integer.",
    "What was the percent of discount? Express your answer as a whole number.",
    "She pays back $120 for $100. Find the annual interest rate.",
    "At last, what is the rate of interest per year?",
    "The price rose by $x$ percent. What is $x$?",
    r"The price rose by $x\%$. Find the value of $x$.",
    "How many percent of them are red?",
    "What is the overall percentage?",
    "How much did it rise, as a percentage of the first price?",
    "There are two classes. What is the overall pass rate of the school?",
    "Which percentage of the 50 apples is left?",
    "What is the profit, to the nearest tenth of a percent?",
    "Tell me the percentage.",
    "Tell us what percentage of them are boys.",
    "Work out the percentage of boys.",
    "Figure out the percent of boys.",
    "Estimate the percentage.",
    "Evaluate the percentage of boys in a class of 40.",
    "Write the share of boys as a percentage.",
    "Show the percentage of the boys.",
    "Provide the percentage.",
    "I want to know the percentage of boys.",
    "I need the percentage of boys.",
    "Percentage of boys?",
    "Percent of the class that are boys?",
    "Profit percentage?",
    "So the percentage of boys is?",
    "The percentage of boys is what?",
    "The percentage of boys equals how much?",
    "How big is the percentage?",
    "How large a percentage of them are boys?",
    "How high is the percentage of boys?",
    "The boys are ___ % of the class.",
    "The boys are ?% of the class.",
    "The boys are what % of the class?",
    "Would you work out what the percentage is?",
]
NO_PERCENTS = [
    "How many apples are red if 20 percent are green?",
    "How many of the apples are red when twenty percent of them are green?",
    "What is the price after a 20 percent discount?",
    "What is 20 percent of 100?",
    "What is the price with a discount rate of 5 percent?",
    "Find the balance in an account whose annual interest rate is 5%.",
    "She gets 20% off. How much does she pay? Give your answer to the nearest integer.",
    "The price rose by $x$ percent to $y$ dollars. What is $y$?",
    "Express your answer as a whole number.",
    "The percentage of boys is 20, so how many are boys?",
    "Percentage of boys: 20. How many are boys?",
    "If the percentage of boys is 20, how big is the class?",
    "Write 20 percent as a number.",
    "Tell me 20 percent of 100.",
    "How big is a class of which 5 boys are 20 percent?",
]


@math
@pytest.mark.parametrize("kind", ["integer", "math"])
def test_a_percent_that_is_asked_for_may_leave_out_its_sign(kind: Any) -> None:
    for question in PERCENTS:
        for answer in (r"20\%", "20", r"20 \text{ percent}"):
            assert grade(box(answer), "20", kind, question=question).correct, question
            assert grade(box(answer), r"20\%", kind, question=question).correct, question
        assert not grade(box(r"21\%"), "20", kind, question=question).correct
        assert not grade(box("0.2"), "20", kind, question=question).correct
    for question in NO_PERCENTS:
        assert not grade(box(r"20\%"), "20", kind, question=question).correct, question


@math
def test_a_rate_is_a_percent_or_a_part_of_one() -> None:
    asks = "Find the annual interest rate."
    assert grade(box(r"5\%"), "0.05", question=asks).correct
    assert grade(box("0.05"), r"5\%", question=asks).correct
    assert not grade(box(r"5\%"), "0.5", question=asks).correct


@math
def test_the_base_of_a_figure_is_no_number_base() -> None:
    asks = "What is the area of a triangle with the base 6 cm and height 8 cm?"
    assert grade(box(r"24 \text{ cm}^2"), "24", question=asks).correct
    for question in ("The area has the base 8 units.", "A prism stands on the base 8 and has the height 3. What is its volume?"):
        assert grade(box("1,024"), "1024", question=question).correct
        assert not grade(box("1024_8"), "1024", question=question).correct
    for question in (
        "What is it in base 8?",
        "Write the base-8 representation.",
        "What is the base $8$ numeral?",
        "Convert it to base eight.",
    ):
        assert grade(box("1024_8"), "1024", question=question).correct
        assert grade(box("1,024"), "1024", question=question).correct
        assert grade(box("1024"), "1024_8", question=question).correct
        assert not grade(box("1024_{10}"), "1024_8", question=question).correct
        assert not grade(box("1024_9"), "1024", question=question).correct
        assert not grade(box(r"1024 \text{ cm}"), "1024_8", question=question).correct
        assert vote_key("1024_8", "math", question) == vote_key("1024", "math", question) == "1024"


@pytest.mark.parametrize(
    "alike",
    [("box", "boxes"), ("cherry", "Cherries"), ("cookie", "cookies"), ("tomato", "tomatoes"), ("shoe", "shoes"), ("glass", "glasses")],
)
def test_singular_and_plural_have_one_stem(alike: tuple[str, str]) -> None:
    assert stem(alike[0]) == stem(alike[1])


@math
def test_words_of_the_question_are_units() -> None:
    asks = "There are 50 wombats. How many dozens of wombats does she see, and how many more wombats does he see?"
    assert grade(box("5 dozens"), "5", question=asks).correct
    assert grade(box("5 more wombats"), "5", question=asks).correct
    assert grade(box("5 wombats"), "5", "integer", question=asks).correct
    assert not grade(box("5 fewer wombats"), "5", question=asks).correct
    assert not grade(box("5 xyz"), "5", question="What is $xyz$?").correct
    assert grade(box("42 times"), "42", question="How many times does it ring?").correct
    assert grade(box("AB"), "AB_{12}", question="Write it in base 12.").correct
    assert not grade(box("5 dozens"), "5", question="There are 5 dozens of wombats. How many wombats are there?").correct
    assert not grade(box("5 fewer"), "5", question="He has fewer wombats. How many wombats has she?").correct


@math
def test_words_behind_a_percent_or_a_number_may_not_contradict() -> None:
    asks = "By what percent did it change?"
    assert grade(box(r"20\% \text{ decrease}"), "20", question=asks).correct
    assert grade(box(r"20\% \text{ decrease}"), "20", "integer", question=asks).correct
    assert grade(box(r"20\% \text{ decrease}"), r"20\% \text{ reduction}", question=asks).correct
    assert not grade(box(r"20\% \text{ decrease}"), r"20\% \text{ increase}", question=asks).correct
    assert not grade(box(r"20\% \text{ of nothing}"), "20", question=asks).correct
    assert not grade(box(r"3 \pmod{7}"), r"3 \pmod{5}").correct
    assert grade(box(r"3 \pmod{5}"), r"3 \pmod{5}").correct
    assert not grade(box("5 (cm)"), r"5\text{ m}").correct
    assert not grade(box("5 (wrong)"), "5").correct
    assert grade(box(r"\text{twenty-one apples}"), "21", "integer", question="How many apples?").correct
    assert grade(box(r"\text{two hundred and five}"), "205").correct
    assert grade(box(r"\text{one thousand and one nights}"), "1001", question="How many nights?").correct
    assert not grade(box(r"\text{two hundred or five}"), "205").correct
    assert not grade(box(r"\text{two thirds}"), "2").correct
    assert not grade(box("one-to-one"), "1").correct


@math
def test_a_side_that_the_question_asks_for_is_a_value() -> None:
    for asks in ("If $x=21$, what is $2x$?", "Find the value of $2x$.", "Compute 2x."):
        assert grade(box("2x=42"), "42", question=asks).correct, asks
        assert grade(box("2x=42"), "42", "integer", question=asks).correct, asks
    assert not grade(box("2x=42"), "42", question="If $2x=84$, what is $x$?").correct


LEFT_TO_SOLVE = [
    ("2x = 42", "42", "If $2x=84$, what is $x$?"),
    ("e^x = 3", "3", "Solve for x."),
    ("e^x = 3", "3", "Find $x$."),
    ("x^2 = 9", "9", "For what values of $x$ is it zero?"),
    (r"2\theta = 42", "42", r"Find $\theta$."),
    (r"\sin x = 1", "1", "Find $x$."),
    ("|x| = 3", "3", "Find all $x$."),
    ("42 = 2x", "42", "What is x?"),
    ("|x| = 3", "3", ""),
    (r"\log x = 2", "2", ""),
    (r"\ln x = 2", "2", ""),
    ("e^x = 3", "3", ""),
    ("2ix = 3", "3", ""),
    ("3x = 12 = 12", "12", ""),
    ("x = 4 \\implies 2x = 8", "8", ""),
]
VALUES = [
    ("2r = 10", "10", "Find the diameter of the circle."),
    ("r^2 = 25", "25", "Find the square of the radius."),
    ("p^2 = 49", "49", "What is the square of p?"),
    ("2n = 42", "42", "Find twice the number n."),
    ("2x + 1 = 7", "7", "Compute $1+2x$."),
    ("2x + 1 = 7", "7", "Solve for x and compute $1+2x$."),
    ("100 r = 42", "42", r"Find the value of $100\cdot r$."),
    ("42 = 100r", "42", r"Find the value of $100\cdot r$."),
    ("4s = 20", "20", "What is the perimeter of the square?"),
    (r"3x = 12 \implies x = 4", "4", ""),
    (r"3x = 12 \Rightarrow x = 4", "4", "Find $x$."),
    ("n! = 120", "120", "Find n!"),
    ("n! = 120", "120", "Find $n!$."),
    (r"\sin x = 1", "1", "Find sin x."),
    (r"\sin A = 1", "1", ""),
    ("f'(2) = 5", "5", ""),
    (r"\phi(12) = 4", "4", ""),
    ("|z| = 5", "5", ""),
    ("|x| = 3", "3", "What is the absolute value of x?"),
    ("x = 4", "4", "Solve for x."),
]


@math
@pytest.mark.parametrize("kind", ["math", "integer"])
def test_an_equation_of_the_asked_unknown_is_left_to_solve(kind: Any) -> None:
    assert [row for row in LEFT_TO_SOLVE if grade(box(row[0]), row[1], kind, question=row[2]).correct] == []
    assert [row for row in VALUES if not grade(box(row[0]), row[1], kind, question=row[2]).correct] == []


@math
def test_a_bare_word_is_a_unit_where_the_question_counts_it() -> None:
    assert not grade(box("42 wombat"), "42").correct
    assert grade(box("42 wombat"), "42", question="How many wombat does she see?").correct


@math
def test_the_question_settles_percents_and_bases() -> None:
    asks = "By what percent does the area decrease?"
    assert grade(box(r"10\%"), "10", question=asks).correct
    assert grade(box("10"), r"10\%", question=asks).correct
    assert not grade(box("0.1"), "10", question=asks).correct
    assert not grade(box(r"10\%"), "10", question="A discount of 10\\% is given. How many dollars?").correct
    base = "Express your answer in base $8$."
    assert grade(box("52"), "52_8", question=base).correct
    assert grade(box("52_8"), "52", question=base).correct
    assert not grade(box("52_9"), "52_8", question=base).correct
    assert not grade(box("42_{10}"), "52_8", question=base).correct
    assert grade(box("4343"), "4343_6", question="What is the base six equivalent of $999_{10}$?").correct
