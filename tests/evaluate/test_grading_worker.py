"""The comparison itself, in this process."""

from __future__ import annotations

import importlib.util

import pytest

if importlib.util.find_spec("math_verify") is None:
    pytest.skip("needs the extra eval", allow_module_level=True)

from speculative.evaluate.grading.worker import equal, reply, tree, unfinished


@pytest.mark.parametrize("latex", ["30+3", r"3 \cdot 11", r"10+8+2\pi", "x+1+2", r"2^{3}\cdot 5", r"\frac{30+3}{2}", r"\sqrt{30+3}"])
def test_arithmetic_left_undone_is_seen(latex: str) -> None:
    assert unfinished(tree(latex))


@pytest.mark.parametrize(
    "latex", ["33", "x+3", r"18+2\pi", r"\frac{2\sqrt{3}}{6}", r"3 \cdot 10^{5} \pi", r"-\frac{35}{9}", "6-5i", "2^{10}"]
)
def test_a_finished_expression_has_no_arithmetic_left(latex: str) -> None:
    assert not unfinished(tree(latex))


@pytest.mark.parametrize(
    ("gold", "answer", "same"),
    [
        (r"\frac{1}{\sqrt{2}}", r"\frac{\sqrt{2}}{2}", True),
        (r"\sqrt{2}", r"\frac{141421356237309504880}{100000000000000000000}", False),
        (r"10^{-20}\sqrt{2}", r"10^{-20}\sqrt{3}", False),
        (r"\frac{1+i}{2}", r"\frac{i}{1+i}", True),
        ("y=2x+3", "2y-4x=6", True),
        ("y=2x+3", "2y-4x=7", False),
        (r"x \le y", r"y \ge x", True),
        ("x", "y", False),
        ("r", "R", False),
    ],
)
def test_equal_answers(gold: str, answer: str, same: bool) -> None:
    assert equal(gold, answer)[0] == same


def test_replies_are_plain() -> None:
    assert reply(["equal", "x+x", "2x"]) == {"yes": True, "why": ""}
    assert reply(["equal", "x", "3x"]) == {"yes": False, "why": "not equal"}
    assert reply(["equal", "x", ")("])["why"].startswith("cannot be compared")
    assert reply(["parses", r"\frac{1}{2}"]) == {"yes": True}
    assert not reply(["parses", r"\frac{1}{"])["yes"]
